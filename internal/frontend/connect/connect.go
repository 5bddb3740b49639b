// Package connect answers clients of the Connect protocol (https://connectrpc.com/docs/protocol),
// version 1: unary calls by POST and GET, and streams. Binary messages pass as they are, JSON
// messages are converted. It is not for plain JSON clients: package rest is.
package connect

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
)

const (
	unaryTypes  = "application/proto, application/json"
	streamTypes = "application/connect+proto, application/connect+json"
)

// Handler serves the Connect protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: opts.WithDefaults()}
}

// Serve answers one request by the table and notes in info what happened. A failure is answered
// with a Connect error. A request that is not Connect is answered with 405 or 415.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) {
	info.Protocol = frontend.Connect.String()
	kind, ok := parseType(r.Header.Get("Content-Type"))
	if ok && kind.stream {
		h.serveStream(w, r, t, info, kind)
		return
	}
	x := &unary{opts: &h.opts, w: w, r: r, info: info, get: r.Method == http.MethodGet, json: kind.json}
	x.body.Reset(w, r)
	if err := x.serve(t, ok); err != nil {
		x.refuse(w, r, relay.AsError(err))
	}
}

// WriteError answers a request with an error. It looks at the headers only, so the RPC need not
// exist. A stream gets the error in the last envelope, and any other request gets it as JSON with
// the HTTP status of the error. A stream that is not a POST gets the answer that Serve gives it.
func WriteError(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
	opts := new(frontend.Options)
	if k, ok := parseType(r.Header.Get("Content-Type")); ok && k.stream {
		p := &stream{opts: opts}
		if wrong := p.accept(r, k); wrong != nil {
			frontend.HTTPError(w, r, new(frontend.Info), wrong)
			return
		}
		frontend.LeaveBody(w, r)
		p.Refuse(w, nil, err)
		return
	}
	frontend.LeaveBody(w, r)
	x := &unary{opts: opts, w: w, r: r, info: new(frontend.Info), get: r.Method == http.MethodGet}
	x.fail(nil, err)
}

// kind is a content type.
type kind struct{ stream, json bool }

// parseType reads a content type. ok is false for one that is not Connect's, or has a charset that
// JSON cannot have.
func parseType(value string) (k kind, ok bool) {
	name, parameters, _ := strings.Cut(value, ";")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "application/proto":
		return kind{}, true
	case "application/json":
		return kind{json: true}, utf8Only(parameters)
	case "application/connect+proto":
		return kind{stream: true}, true
	case "application/connect+json":
		return kind{stream: true, json: true}, utf8Only(parameters)
	default:
		return kind{}, false
	}
}

func utf8Only(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, "charset") && !strings.EqualFold(strings.Trim(value, `"`), "utf-8") && !strings.EqualFold(value, "utf8") {
			return false
		}
	}
	return true
}

// checkVersion refuses unknown versions of the protocol. A client may leave the version out.
func checkVersion(version string) error {
	if version != "" && version != "1" {
		return frontend.Errorf(codes.InvalidArgument, "Connect-Protocol-Version %.20q is not supported; supported: 1", version)
	}
	return nil
}

// lookup finds the method of a request. It must be in the schema: a unary method and a stream look
// different in Connect.
func lookup(t *frontend.Table, r *http.Request, info *frontend.Info) (*frontend.Method, error) {
	m, err := t.Lookup(r.URL.Path, false)
	if err != nil {
		return nil, err
	}
	info.Method = m
	return m, nil
}

// coding is the compression that a header names.
func coding(name, accept string) (envelope.Coding, error) {
	c, ok := envelope.ParseCoding(strings.ToLower(strings.TrimSpace(name)))
	if !ok {
		return c, frontend.Errorf(codes.Unimplemented, "messages compressed by %.50q are not supported; supported: %s", name, envelope.Supported).
			WithHeader(accept, envelope.Supported)
	}
	return c, nil
}
