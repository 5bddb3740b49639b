// Package grpc answers gRPC clients over HTTP/2 and HTTP/3. Messages pass as they are: they are
// decoded only for clients that speak JSON (application/grpc+json). It is not a gRPC server: the
// methods are those of the table.
package grpc

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
)

const (
	contentType = "application/grpc"
	supported   = "application/grpc, application/grpc+proto, application/grpc+json"
)

// Handler serves the gRPC protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: opts.WithDefaults()}
}

// Serve answers one request by the table and notes in info what happened. A failure is answered
// with a gRPC status. A request that is not gRPC is answered with 405, 415 or 505.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) {
	info.Protocol = frontend.GRPC.String()
	p := &protocol{opts: &h.opts}
	if wrong := p.accept(r); wrong != nil {
		frontend.HTTPError(w, r, info, wrong)
		return
	}
	x := &relay.Exchange{Options: &h.opts, W: w, R: r, Info: info, Protocol: p, JSON: p.contentType == contentType+"+json"}
	if err := p.prepare(x, t); err != nil {
		e := relay.AsError(err)
		info.Fail(e)
		p.Refuse(w, nil, e)
		return
	}
	x.Serve()
}

// WriteError answers a request with an error. It looks at the headers only, so the RPC need not
// exist. A request that is not gRPC gets the answer that Serve gives it.
func WriteError(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
	p := &protocol{opts: new(frontend.Options)}
	if wrong := p.accept(r); wrong != nil {
		frontend.HTTPError(w, r, new(frontend.Info), wrong)
		return
	}
	p.Refuse(w, nil, err)
}

// parseType returns what follows application/grpc in the content type: "", "+proto" or "+json".
func parseType(value string) (subtype string, ok bool) {
	value, _, _ = strings.Cut(value, ";")
	value = strings.ToLower(strings.TrimSpace(value))
	subtype, ok = strings.CutPrefix(value, contentType)
	return subtype, ok && (subtype == "" || subtype == "+proto" || subtype == "+json")
}

// protocol is the answering side of one request.
type protocol struct {
	opts        *frontend.Options
	contentType string
	response    envelope.Coding
}

// accept takes the request, or returns what is wrong with it on the level of HTTP.
func (p *protocol) accept(r *http.Request) *frontend.Error {
	subtype, ok := parseType(r.Header.Get("Content-Type"))
	switch {
	case r.ProtoMajor < 2:
		return frontend.Errorf(codes.Unknown, "gRPC needs HTTP/2 or HTTP/3; gRPC-Web and Connect do not").
			WithHTTP(http.StatusHTTPVersionNotSupported)
	case r.Method != http.MethodPost:
		return frontend.OnlyPOST(r.Method, http.MethodPost)
	case !ok:
		return frontend.UnsupportedType(r.Header.Get("Content-Type"), supported)
	}
	p.contentType = contentType + subtype
	return nil
}

// prepare finds the method and settles the compression.
func (p *protocol) prepare(x *relay.Exchange, t *frontend.Table) error {
	if err := p.opts.CheckCrossSite(x.R); err != nil {
		return err
	}
	m, err := t.Lookup(x.R.URL.Path, !x.JSON)
	if err != nil {
		return err
	}
	x.Method, x.Info.Method = m, m
	var ok bool
	name := x.R.Header.Get("Grpc-Encoding")
	if x.Request, ok = envelope.ParseCoding(name); !ok {
		return frontend.Errorf(codes.Unimplemented, "messages compressed by %.50q are not supported; supported: %s", name, envelope.Supported).
			WithHeader("Grpc-Accept-Encoding", envelope.Supported)
	}
	// Answers are compressed only for a client that compresses its requests. All clients accept
	// gzip, but it costs more than most of them gain.
	if x.Request != envelope.Identity && envelope.Accepted(x.R.Header["Grpc-Accept-Encoding"]) == x.Request {
		x.Response = x.Request
		p.response = x.Request
	}
	return nil
}

// Name implements relay.Protocol.
func (p *protocol) Name() frontend.Protocol { return frontend.GRPC }

// Header implements relay.Protocol.
func (p *protocol) Header(h http.Header) {
	h["Content-Type"] = []string{p.contentType}
	if p.response != envelope.Identity {
		h["Grpc-Encoding"] = []string{p.response.String()}
	}
}

// End implements relay.Protocol: the status is in the trailers.
func (p *protocol) End(dst []byte, h http.Header, trailer metadata.MD, err *frontend.Error) []byte {
	p.opts.WriteTrailer(h, trailer)
	frontend.GRPCStatus(err, func(name, value string) {
		h[http.TrailerPrefix+http.CanonicalHeaderKey(name)] = []string{value}
	})
	return dst
}

// Refuse implements relay.Protocol. An answer that is only an error has header and trailers in one
// block ("Trailers-Only").
func (p *protocol) Refuse(w http.ResponseWriter, trailer metadata.MD, err *frontend.Error) {
	h := w.Header()
	for key, values := range err.Header {
		h[key] = values
	}
	p.opts.WriteTrailerHeader(h, trailer)
	h["Content-Type"] = []string{p.contentType}
	frontend.GRPCStatus(err, func(name, value string) { h[http.CanonicalHeaderKey(name)] = []string{value} })
	w.WriteHeader(http.StatusOK)
}
