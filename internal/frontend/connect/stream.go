package connect

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
)

// serveStream answers a request whose messages are in envelopes.
func (h *Handler) serveStream(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info, k kind) {
	p := &stream{opts: &h.opts}
	if wrong := p.accept(r, k); wrong != nil {
		frontend.HTTPError(w, r, info, wrong)
		return
	}
	x := &relay.Exchange{Options: &h.opts, W: w, R: r, Info: info, Protocol: p, JSON: k.json}
	err := p.prepare(x, t)
	if err == nil && !x.Method.StreamDesc.ClientStreams && !x.Method.StreamDesc.ServerStreams {
		frontend.HTTPError(w, r, info, frontend.UnsupportedType(r.Header.Get("Content-Type"), unaryTypes))
		return
	}
	if err != nil {
		e := relay.AsError(err)
		info.Fail(e)
		frontend.LeaveBody(w, r)
		p.Refuse(w, nil, e)
		return
	}
	x.Serve()
}

// stream is the answering side of one request.
type stream struct {
	opts        *frontend.Options
	contentType string
	response    envelope.Coding
}

// accept takes the request, or returns what is wrong with it on the level of HTTP.
func (p *stream) accept(r *http.Request, k kind) *frontend.Error {
	if r.Method != http.MethodPost {
		return frontend.OnlyPOST(r.Method, http.MethodPost)
	}
	p.contentType = "application/connect+proto"
	if k.json {
		p.contentType = "application/connect+json"
	}
	return nil
}

// prepare finds the method and settles the compression.
func (p *stream) prepare(x *relay.Exchange, t *frontend.Table) error {
	if err := p.opts.CheckCrossSite(x.R); err != nil {
		return err
	}
	m, err := lookup(t, x.R, x.Info)
	if err != nil {
		return err
	}
	x.Method = m
	if x.JSON && (m.Request == nil || m.Response == nil) {
		return frontend.Errorf(codes.Unimplemented, "the method has no JSON form")
	}
	if err := checkVersion(x.R.Header.Get("Connect-Protocol-Version")); err != nil {
		return err
	}
	if x.Request, err = coding(x.R.Header.Get("Connect-Content-Encoding"), "Connect-Accept-Encoding"); err != nil {
		return err
	}
	p.response = envelope.Accepted(x.R.Header["Connect-Accept-Encoding"])
	x.Response = p.response
	return nil
}

// Name implements relay.Protocol.
func (p *stream) Name() frontend.Protocol { return frontend.Connect }

// Header implements relay.Protocol.
func (p *stream) Header(h http.Header) {
	h["Content-Type"] = []string{p.contentType}
	if p.response != envelope.Identity {
		h["Connect-Content-Encoding"] = []string{p.response.String()}
	}
	// An nginx in front would collect the messages.
	h["X-Accel-Buffering"] = []string{"no"}
}

// End implements relay.Protocol: the last envelope has the error and the trailers in JSON.
func (p *stream) End(dst []byte, _ http.Header, trailer metadata.MD, err *frontend.Error) []byte {
	start := len(dst)
	dst = append(envelope.Begin(dst), '{')
	if err != nil {
		dst = append(dst, `"error":`...)
		dst = appendError(dst, err)
	}
	dst = p.appendMetadata(dst, trailer, err != nil)
	dst = append(dst, '}')
	return envelope.Seal(dst, start, envelope.ConnectEnd, p.response)
}

func (p *stream) appendMetadata(dst []byte, md metadata.MD, comma bool) []byte {
	first := true
	p.opts.VisitMetadata(md, func(name string, values []string) {
		switch {
		case !first:
			dst = append(dst, ',')
		case comma:
			dst = append(dst, `,"metadata":{`...)
		default:
			dst = append(dst, `"metadata":{`...)
		}
		first = false
		dst = frontend.AppendJSONString(dst, strings.ToLower(name))
		dst = append(dst, ":["...)
		for i, v := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = frontend.AppendJSONString(dst, v)
		}
		dst = append(dst, ']')
	})
	if !first {
		dst = append(dst, '}')
	}
	return dst
}

// Refuse implements relay.Protocol.
func (p *stream) Refuse(w http.ResponseWriter, trailer metadata.MD, err *frontend.Error) {
	h := w.Header()
	for key, values := range err.Header {
		h[key] = values
	}
	p.Header(h)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(p.End(nil, h, trailer, err)) // If the client has left, nobody needs to know.
}
