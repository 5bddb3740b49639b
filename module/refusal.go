package module

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// refusalWriter stands between a `with` block and the client. What a block writes instead of making
// the call reaches REST callers as it is. The clients of the RPC protocols could not read it, so
// its status becomes an error, and its body is dropped.
//
// The block calls enter before it makes the call. From there on everything passes. When the block
// has returned without an error, finish tells what it has decided. After a panic nothing needs to
// be called.
//
// An answer that is one in the client's protocol passes at any time, because it is from a cache.
type refusalWriter struct {
	caddyhttp.ResponseWriterWrapper

	protocol frontend.Protocol
	// passing says that writes go to the client. Otherwise they are kept from it.
	passing bool
	// begun says that something was sent to the client.
	begun bool
	// refused is what the block has answered, if that was kept from the client.
	refused *frontend.Error
	// status is the one that was sent to the client. 0: none, or 200 by the server.
	status int
}

func newRefusalWriter(w http.ResponseWriter, c *frontend.Policed) *refusalWriter {
	return &refusalWriter{
		ResponseWriterWrapper: caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		protocol:              c.Protocol,
		passing:               c.Protocol == frontend.REST,
	}
}

// enter is called when the block calls its next handler. It reports whether the call may be made:
// not if the block has answered already.
func (w *refusalWriter) enter() bool {
	if w.begun || w.refused != nil {
		return false
	}
	w.passing = true
	return true
}

// finish returns the error that the client has to be answered with, or nil if there is nothing to
// do: the call was made, or the block has answered. The response header then has no field that
// describes the body of the block, or that the error has as well.
func (w *refusalWriter) finish() *frontend.Error {
	if w.passing {
		return nil
	}
	if w.refused == nil {
		w.refused = frontend.Errorf(codes.Unknown, "the policy ended the call without an answer")
	}
	clearRefused(w.Header(), w.refused)
	return w.refused
}

// WriteHeader implements http.ResponseWriter. Informational answers are kept from RPC clients:
// nothing in their protocols says what they mean, and some clients take them for the answer.
func (w *refusalWriter) WriteHeader(status int) {
	switch final := status < 100 || status > 199 || status == http.StatusSwitchingProtocols; {
	case w.passing:
		if final && !w.begun {
			w.begun, w.status = true, status
		}
		w.ResponseWriter.WriteHeader(status)
	case w.refused != nil || !final:
	case w.answers(status):
		w.passing, w.begun = true, true
		w.ResponseWriter.WriteHeader(status)
	default:
		w.refused = frontend.Refusal(status, "", w.Header())
	}
}

// answers reports whether an answer of the status, with the header as it is, is one in the client's
// protocol. 304 is the answer of a cache to a Connect GET that asked whether its copy is still
// good.
func (w *refusalWriter) answers(status int) bool {
	if status == http.StatusNotModified {
		return w.protocol == frontend.Connect
	}
	return status >= 200 && status <= 299 && w.protocol.AnswersAs(w.Header().Get("Content-Type"))
}

// Write implements http.ResponseWriter.
func (w *refusalWriter) Write(p []byte) (int, error) {
	if w.open() {
		return w.ResponseWriter.Write(p)
	}
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom.
func (w *refusalWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.open() {
		return w.ResponseWriterWrapper.ReadFrom(src)
	}
	return io.Copy(io.Discard, src)
}

// open is called when a body is written. It reports whether the body goes to the client.
func (w *refusalWriter) open() bool {
	if !w.begun && w.refused == nil {
		if w.passing {
			w.begun = true // The server writes 200.
		} else {
			w.WriteHeader(http.StatusOK)
		}
	}
	return w.passing
}

// FlushError is called by http.ResponseController.
func (w *refusalWriter) FlushError() error {
	if !w.passing {
		return nil
	}
	w.begun = true // The server writes 200 unless there is a status.
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker. A block cannot take over the connection of an RPC.
func (w *refusalWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.passing {
		return nil, nil, fmt.Errorf("taking over the connection of a %s call: %w", w.protocol, http.ErrNotSupported)
	}
	w.begun = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// refusalOf turns an error of a Caddy handler into one that the client may see. The text of such an
// error may be internal, so the client sees the name of its HTTP status instead. An error that
// contains one of the gateway's is that one. h is the header of the response, which the error
// will be written to. It loses what finish removes.
func refusalOf(err error, h http.Header) *frontend.Error {
	var e *frontend.Error
	if !errors.As(err, &e) {
		e = frontend.Refusal(statusOf(err), "", h).WithCause(err)
	}
	clearRefused(h, e)
	return e
}

// statusOf is the HTTP status that Caddy gives an error.
func statusOf(err error) int {
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.StatusCode != 0 {
		return he.StatusCode
	}
	return http.StatusInternalServerError
}

// clearRefused prepares a response header for an error that is written in place of another answer.
// It removes the fields about the body of that answer, trailers, and what belongs to a protocol. It
// removes the fields that are equal in the error, too, because they come back with it.
func clearRefused(h http.Header, e *frontend.Error) {
	for name, values := range h {
		if aboutBody(name) || slices.Equal(values, e.Header[name]) {
			delete(h, name)
		}
	}
}

func aboutBody(name string) bool {
	switch name {
	case "Content-Security-Policy", "Content-Security-Policy-Report-Only":
		return false
	case "Accept-Ranges", "Etag", "Last-Modified", "Transfer-Encoding", "Trailer":
		return true
	}
	return strings.HasPrefix(name, "Content-") || strings.HasPrefix(name, "Grpc-") || strings.HasPrefix(name, "Connect-") ||
		strings.HasPrefix(name, http.TrailerPrefix)
}
