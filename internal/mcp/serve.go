package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Handles reports whether a path is the handler's.
func (h *Handler) Handles(path string) bool {
	return path == h.cfg.Path || len(h.cfg.Authorization) > 0 && path == h.metadataPath()
}

// Serve answers a request for one of the handler's paths. source returns what tools are made of.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, source func(context.Context) Source) {
	if r.URL.Path != h.cfg.Path {
		frontend.LeaveBody(w, r)
		h.serveMetadata(w, r)
		return
	}
	body := frontend.NewBody(w, r)
	if err := h.admit(r); err != nil {
		body.Leave()
		refuse(w, err)
		return
	}
	raw, err := body.ReadAll(r.ContentLength, h.opts.MaxRequestSize)
	if errors.Is(err, frontend.ErrTooLarge) {
		err = h.tooLarge()
	} else if err != nil {
		e := frontend.AsError(body.Error(err))
		err = &refusal{status: e.HTTP(), message: e.Status.GetMessage()}
	}
	if err == nil {
		err = acceptable(*raw)
	}
	if err != nil {
		body.Leave()
		refuse(w, err)
		return
	}
	// The buffer is not given back: what the SDK has decoded may point into it.
	x := &exchange{h: h, r: r, began: body.Began(), box: h.toolbox(source(r.Context()))}
	x.serve(w, *raw)
}

// serve lets the SDK answer, and sends its answer. The SDK has returned by then, and so has the
// tool call: it waits for its goroutines.
func (x *exchange) serve(w http.ResponseWriter, body []byte) {
	r := x.r.WithContext(context.WithValue(x.r.Context(), exchangeKey{}, x))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	answer := newRecorder()
	x.h.sdk.ServeHTTP(answer, r)
	if x.panicked != nil {
		panic(x.panicked) // In the goroutine of the request, where the server deals with it.
	}
	h := w.Header()
	for name, values := range x.header {
		if !aboutBody(name) {
			h[name] = values
		}
	}
	if x.denied != nil && len(x.h.cfg.Authorization) > 0 {
		refuse(w, x.h.challenge(x.r, x.denied))
		return
	}
	for name, values := range answer.header {
		if name != "Connection" { // That belongs to the server.
			h[name] = values
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(answer.body.Len())}
	w.WriteHeader(answer.status())
	_, _ = w.Write(answer.body.Bytes()) // If the client has left, nobody needs to know.
}

// admit refuses requests before anything of the body is read.
func (h *Handler) admit(r *http.Request) error {
	if err := h.checkOrigin(r); err != nil {
		return err
	}
	if r.Method != http.MethodPost {
		return &refusal{
			status: http.StatusMethodNotAllowed, message: "expected POST: there are no sessions, and the server sends nothing by itself",
			header: http.Header{"Allow": {http.MethodPost}},
		}
	}
	if len(h.cfg.Authorization) > 0 && r.Header.Get("Authorization") == "" {
		return h.challenge(r, nil)
	}
	if r.ContentLength > h.opts.MaxRequestSize {
		return h.tooLarge()
	}
	return nil
}

func (h *Handler) tooLarge() *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("the request body is larger than %d bytes", h.opts.MaxRequestSize)}
}

// checkOrigin refuses pages of other sites, by the rules of all protocols. It also refuses a page
// that has made the browser believe that this computer is the page's own host (DNS rebinding).
// Such a request comes to a loopback address, but its host has another name.
func (h *Handler) checkOrigin(r *http.Request) error {
	if err := h.opts.CheckCrossSite(r); err != nil {
		return &refusal{status: http.StatusForbidden, message: frontend.AsError(err).Status.GetMessage()}
	}
	origin := r.Header.Get("Origin")
	if origin == "" || !cameByLoopback(r) || isLoopback(r.Host) {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && isLoopback(u.Host) {
		return nil
	}
	if h.opts.Origins != nil {
		if ok, _ := h.opts.Origins.Allows(origin); ok {
			return nil
		}
	}
	return &refusal{status: http.StatusForbidden, message: fmt.Sprintf("pages of %.200s may not call a loopback address under another name", origin)}
}

func cameByLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr != nil && isLoopback(addr.String())
}

// isLoopback reports whether a host, with or without a port, can only be this computer.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// acceptable refuses batches. Each call of one would run at the same time, so one request could
// start many thousands. The revisions since 2025-06-18 have no batches.
func acceptable(body []byte) error {
	if text := bytes.TrimLeft(body, " \t\r\n"); len(text) > 0 && text[0] == '[' {
		return &refusal{status: http.StatusBadRequest, message: "expected one message: batches are not supported"}
	}
	return nil
}

// refusal is an answer on the level of HTTP.
type refusal struct {
	status  int
	message string
	header  http.Header
}

// Error implements error.
func (e *refusal) Error() string { return e.message }

// invalidRequest is the code of JSON-RPC for a request that is none.
const invalidRequest = -32600

// refuse answers with an error of JSON-RPC that belongs to no request.
func refuse(w http.ResponseWriter, err error) {
	e := &refusal{status: http.StatusInternalServerError, message: err.Error()}
	_ = errors.As(err, &e)
	var body struct {
		Version string `json:"jsonrpc"`
		Error   struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Version, body.Error.Code, body.Error.Message = "2.0", invalidRequest, e.message
	raw, _ := json.Marshal(&body)
	h := w.Header()
	for name, values := range e.header {
		h[name] = values
	}
	h["Content-Type"] = []string{"application/json"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Content-Length"] = []string{strconv.Itoa(len(raw))}
	w.WriteHeader(e.status)
	_, _ = w.Write(raw) // If the client has left, nobody needs to know.
}
