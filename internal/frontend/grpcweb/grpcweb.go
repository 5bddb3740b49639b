// Package grpcweb answers gRPC-Web clients, binary and text, over any version of HTTP. Messages
// pass as they are, as with gRPC. It does not send CORS headers, which browsers need for pages of
// other origins: package cors sends them.
package grpcweb

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
	typeBinary = "application/grpc-web"
	typeText   = "application/grpc-web-text"
	supported  = "application/grpc-web+proto, application/grpc-web+json, application/grpc-web-text+proto"
)

// Handler serves the gRPC-Web protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: opts.WithDefaults()}
}

// Serve answers one request by the table and notes in info what happened. A failure is answered
// with a trailer frame. A request that is not gRPC-Web is answered with 405 or 415.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) {
	info.Protocol = frontend.GRPCWeb.String()
	p := &protocol{opts: &h.opts}
	kind, wrong := p.accept(r)
	if wrong != nil {
		frontend.HTTPError(w, r, info, wrong)
		return
	}
	x := &relay.Exchange{Options: &h.opts, W: w, R: r, Info: info, Protocol: p, JSON: kind.json}
	if kind.text {
		body := frontend.NewBody(w, r)
		x.Source = &textSource{textReader{src: body}, body}
	}
	if p.text {
		x.Encode = appendText
	}
	if err := p.prepare(x, t); err != nil {
		e := relay.AsError(err)
		info.Fail(e)
		frontend.LeaveBody(w, r)
		p.Refuse(w, nil, e)
		return
	}
	x.Serve()
}

// WriteError answers a request with an error. It looks at the headers only, so the RPC need not
// exist. A request that is not gRPC-Web gets the answer that Serve gives it.
func WriteError(w http.ResponseWriter, r *http.Request, err *frontend.Error) {
	p := &protocol{opts: new(frontend.Options)}
	if _, wrong := p.accept(r); wrong != nil {
		frontend.HTTPError(w, r, new(frontend.Info), wrong)
		return
	}
	frontend.LeaveBody(w, r)
	p.Refuse(w, nil, err)
}

// kind is a content type.
type kind struct {
	// name is the content type of binary answers to such a request.
	name       string
	text, json bool
}

func parseType(value string) (kind, bool) {
	value, _, _ = strings.Cut(value, ";")
	value = strings.ToLower(strings.TrimSpace(value))
	switch value {
	case typeBinary, typeBinary + "+proto":
		return kind{name: typeBinary + "+proto"}, true
	case typeBinary + "+json":
		return kind{name: value, json: true}, true
	case typeText, typeText + "+proto":
		return kind{name: typeBinary + "+proto", text: true}, true
	default:
		return kind{}, false
	}
}

// wantsText reports whether the answer must be text. Clients that send text want text, unless
// Accept has only the binary type.
func wantsText(k kind, accept []string) bool {
	all := strings.ToLower(strings.Join(accept, ","))
	text := strings.Contains(all, typeText)
	binary := strings.Contains(strings.ReplaceAll(all, typeText, ""), typeBinary)
	if k.json {
		return false
	}
	return text && !binary || k.text && (text || !binary)
}

// protocol is the answering side of one request.
type protocol struct {
	opts        *frontend.Options
	contentType string
	text        bool
	response    envelope.Coding
}

// accept takes the request, or returns what is wrong with it on the level of HTTP.
func (p *protocol) accept(r *http.Request) (kind, *frontend.Error) {
	k, ok := parseType(r.Header.Get("Content-Type"))
	switch {
	case r.Method != http.MethodPost:
		return k, frontend.OnlyPOST(r.Method, http.MethodPost)
	case !ok:
		return k, frontend.UnsupportedType(r.Header.Get("Content-Type"), supported)
	}
	p.contentType = k.name
	// Accept decides, not the content type: a page that cannot read binary streams may still send
	// binary requests.
	if wantsText(k, r.Header["Accept"]) {
		p.contentType = typeText + "+proto"
		p.text = true
	}
	return k, nil
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
	p.response = envelope.Accepted(x.R.Header["Grpc-Accept-Encoding"])
	x.Response = p.response
	return nil
}

// Name implements relay.Protocol.
func (p *protocol) Name() frontend.Protocol { return frontend.GRPCWeb }

// Header implements relay.Protocol.
func (p *protocol) Header(h http.Header) {
	h["Content-Type"] = []string{p.contentType}
	if p.response != envelope.Identity {
		h["Grpc-Encoding"] = []string{p.response.String()}
	}
	// An nginx in front would collect the messages.
	h["X-Accel-Buffering"] = []string{"no"}
}

// End implements relay.Protocol. The trailers are a frame of the body: HTTP/1.1 header lines with
// names in lower case.
func (p *protocol) End(dst []byte, _ http.Header, trailer metadata.MD, err *frontend.Error) []byte {
	start := len(dst)
	dst = envelope.Begin(dst)
	line := func(name, value string) {
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, value...)
		dst = append(dst, "\r\n"...)
	}
	frontend.GRPCStatus(err, line)
	p.opts.VisitMetadata(trailer, func(name string, values []string) {
		for _, v := range values {
			line(strings.ToLower(name), v)
		}
	})
	envelope.Finish(dst, start, envelope.WebTrailers)
	return dst
}

// Refuse implements relay.Protocol. The trailers are in the body here as well. Scripts of other
// origins could not see them in the header.
func (p *protocol) Refuse(w http.ResponseWriter, trailer metadata.MD, err *frontend.Error) {
	h := w.Header()
	for key, values := range err.Header {
		h[key] = values
	}
	p.Header(h)
	w.WriteHeader(http.StatusOK)
	body := p.End(nil, h, trailer, err)
	if p.text {
		body = appendText(nil, body)
	}
	_, _ = w.Write(body) // If the client has left, nobody needs to know.
}
