package rest

import (
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// serveStream answers a method with one message there and many back.
func (x *exchange) serveStream() error {
	f, err := x.chooseFraming()
	if err != nil {
		return err
	}
	wire, err := x.requestWire()
	if err != nil {
		return err
	}
	call, err := x.start()
	if err != nil {
		frontend.PutBuffer(wire)
		return err
	}
	defer call.Close()
	defer x.opts.WatchClient(x.r, call.Close)()
	_ = call.Send(wire)
	return x.writeStream(call, f, nil)
}

// writeStream writes the response messages of a call, framed, as they come.
func (x *exchange) writeStream(call *frontend.Call, f framing, override func(error) error) error {
	x.info.Framing = f.name()
	defer x.opts.Drain.BoundWrites(x.w, x.opts.CloseDelay)()
	p := newPump(x, call, f, false)
	defer p.stop()
	return p.run(&httpSink{x: x, call: call, f: f, rc: http.NewResponseController(x.w)}, override)
}

// httpSink writes a stream to a response body.
type httpSink struct {
	x    *exchange
	call *frontend.Call
	f    framing
	rc   *http.ResponseController

	bounded bool // writes have a deadline because the server stops
}

// bound has what is written from now on obey the deadline that BoundWrites has set, which the server's own idle timeout replaces
// with each write.
func (s *httpSink) bound() {
	if s.bounded {
		return
	}
	select {
	case <-s.x.opts.Drain.Done():
		s.bounded = true
		_ = s.rc.SetWriteDeadline(frontend.WriteDeadline(s.x.opts.CloseDelay))
	default:
	}
}

func (s *httpSink) open(with opening) {
	h := s.x.w.Header()
	s.x.opts.WriteHeader(h, with.header)
	contentType := with.kind
	if contentType == "" {
		contentType = s.f.mediaType()
	}
	h["Content-Type"] = []string{contentType}
	if s.f != (raw{}) {
		h.Add("Vary", "Accept")
	}
	if _, ok := h["Cache-Control"]; !ok && s.f.heartbeat() != "" {
		h["Cache-Control"] = []string{"no-cache"} // As the HTML standard asks of event streams.
	}
	h["X-Accel-Buffering"] = []string{"no"} // For an nginx in front, which would collect the messages.
	s.x.w.WriteHeader(http.StatusOK)
}

func (s *httpSink) opened() bool { return false }

func (s *httpSink) write(batch []byte, _ []int) error {
	if s.x.r.Method == http.MethodHead {
		return errNoBody
	}
	s.bound()
	if _, err := s.x.w.Write(batch); err != nil {
		return err
	}
	return s.flush()
}

func (s *httpSink) flush() error {
	// A writer that cannot flush has no buffer, or is a test's.
	if err := s.rc.Flush(); err != nil && !isUnsupported(err) {
		return err
	}
	return nil
}

func (s *httpSink) beats() bool { return s.f.heartbeat() != "" }

func (s *httpSink) beat() error { return s.write([]byte(s.f.heartbeat()), nil) }

func (s *httpSink) finish(err *frontend.Error) {
	tail := frontend.GetBuffer(0)
	defer frontend.PutBuffer(tail)
	if err == nil {
		*tail = s.f.appendEnd(*tail, s.x.info.Received)
	} else {
		out, ok := s.f.appendError(*tail, err)
		if !ok {
			// What came before is flushed, and the client must see that the rest is missing.
			panic(http.ErrAbortHandler)
		}
		*tail = out
	}
	if s.x.r.Method == http.MethodHead {
		return
	}
	s.bound()
	if len(*tail) > 0 {
		_, _ = s.x.w.Write(*tail) // Nobody is left to tell when the client is gone.
	}
	if frontend.WantsTrailers(s.x.r.Header) {
		s.x.opts.WriteTrailer(s.x.w.Header(), s.call.Trailer())
	}
}
