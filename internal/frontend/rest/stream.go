package rest

import (
	"net/http"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/stream"
)

// serveStream answers a method that takes one message and answers with many.
func (x *exchange) serveStream() error {
	f, err := x.chooseFraming()
	if err != nil {
		return err
	}
	wire, err := x.requestWire()
	if err != nil {
		return err
	}
	call, err := x.opts.Open(x.r.Context(), x.method, x.settings(), wire, x.info)
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.watch(call.Close)()
	return x.writeStream(call, f, nil)
}

// writeStream writes the response messages of a call, framed, as they come.
func (x *exchange) writeStream(call *frontend.Call, f framing, explain func(error) error) error {
	x.info.Framing = f.name()
	x.wrapMessages()
	defer x.opts.Drain.BoundWrites(x.w, x.opts.CloseDelay)()
	quiet := x.opts.Heartbeat
	if !f.early() {
		quiet = 0
	}
	beat := f.heartbeat(x.opts)
	q := stream.New(stream.Settings{
		Source: call,
		Sink:   &httpSink{framed: framed{x: x, f: f}, call: call, beat: beat, rc: http.NewResponseController(x.w)},
		Info:   x.info,
		Limit:  maxPending,
		Single: !x.method.StreamDesc.ServerStreams,
		Quiet:  quiet, Beats: beat != "",
		HeaderGrace: headerGrace,
		Drain:       x.opts.Drain, CloseDelay: x.opts.CloseDelay,
		Explain: explain,
	})
	defer q.Stop()
	return q.Run()
}

// maxPending is how many bytes may wait for a slow reader before the next message is received.
const maxPending = 16 << 10

// headerGrace is how long the header of a stream waits for the first message after the service has
// sent its own. An error within that time still has its real status. Many services send their
// header just before they fail.
const headerGrace = 100 * time.Millisecond

// smallMessage is how many bytes a message may grow when it is framed until its buffer is grown
// again.
const smallMessage = 2 << 10

// framed is the part of a stream.Sink that is the framing's.
type framed struct {
	x *exchange
	f framing
	// kind is the content type that the first message brought, if the header waits for it.
	kind string
}

// Room implements stream.Sink. A small message becomes up to some four times as long.
func (s *framed) Room(size int) int { return size + min(3*size, smallMessage) + 64 }

// Append implements stream.Sink.
func (s *framed) Append(dst []byte, msg [][]byte, n uint64) ([]byte, error) {
	wire, free := frontend.Flat(msg)
	defer free()
	out, kind, err := s.f.appendMessage(dst, s.x, wire, n)
	if err == nil && n == 1 && !s.f.early() { // Open may run at this moment otherwise.
		s.kind = kind
	}
	return out, err
}

// httpSink writes a stream to a response body.
type httpSink struct {
	framed
	call *frontend.Call
	beat string // "" for no heartbeat
	rc   *http.ResponseController

	bounded bool // Writes have a deadline because the server stops.
}

// bound makes later writes obey the deadline that BoundWrites has set. The server's idle timeout
// replaces that deadline with each write.
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

// Early implements stream.Sink.
func (s *httpSink) Early() bool { return s.f.early() }

// Open implements stream.Sink.
func (s *httpSink) Open(header metadata.MD) {
	h := s.x.w.Header()
	s.x.opts.WriteHeader(h, header)
	contentType := s.kind
	if contentType == "" {
		contentType = s.f.mediaType()
	}
	h["Content-Type"] = []string{contentType}
	if _, ok := s.f.(raw); !ok {
		h.Add("Vary", "Accept")
	}
	s.x.varyByFields(h)
	if _, ok := h["Cache-Control"]; !ok && contentType == typeSSE {
		h["Cache-Control"] = []string{"no-cache"} // As the HTML standard asks of event streams.
	}
	// An nginx in front would collect the messages.
	h["X-Accel-Buffering"] = []string{"no"}
	status := http.StatusOK
	if s.x.binding.Status != 0 {
		status = s.x.binding.Status
	}
	s.x.w.WriteHeader(status)
}

// Write implements stream.Sink.
func (s *httpSink) Write(batch []byte, _ []int) error {
	if s.x.r.Method == http.MethodHead {
		return stream.ErrEnough
	}
	s.bound()
	if _, err := s.x.w.Write(batch); err != nil {
		return err
	}
	return s.Flush()
}

// Flush implements stream.Sink.
func (s *httpSink) Flush() error {
	if s.x.r.Method == http.MethodHead {
		return stream.ErrEnough
	}
	// A writer that cannot flush has no buffer, or is a test's.
	if err := s.rc.Flush(); err != nil && !isUnsupported(err) {
		return err
	}
	return nil
}

// Beat implements stream.Sink.
func (s *httpSink) Beat() error { return s.Write([]byte(s.beat), nil) }

// Refuse implements stream.Sink.
func (s *httpSink) Refuse(_ metadata.MD, err *frontend.Error) error {
	_, err.Line = s.f.(resultLines)
	return s.x.failed(s.call, err)
}

// Finish implements stream.Sink.
func (s *httpSink) Finish(batch *[]byte, _ []int, err *frontend.Error) error {
	if s.x.r.Method == http.MethodHead {
		return nil
	}
	// Write flushes. Otherwise a body that fits into the server's buffer gets a Content-Length, and
	// then no trailers.
	if len(*batch) > 0 {
		if err := s.Write(*batch, nil); err != nil {
			return err
		}
	}
	if err := s.finish((*batch)[:0], err); err != nil {
		return err
	}
	if frontend.WantsTrailers(s.x.r.Header) {
		s.x.opts.WriteTrailer(s.x.w.Header(), s.call.Trailer())
	}
	return nil
}

// finish writes what follows the last message.
func (s *httpSink) finish(dst []byte, err *frontend.Error) error {
	if err == nil {
		dst = s.f.appendEnd(dst, s.x.info.Received)
	} else {
		var ok bool
		if dst, ok = s.f.appendError(dst, s.x, err); !ok {
			// What came before is flushed, and the client must see that the rest is missing.
			panic(http.ErrAbortHandler)
		}
	}
	if len(dst) == 0 {
		return nil
	}
	s.bound()
	_, failed := s.x.w.Write(dst)
	return failed
}
