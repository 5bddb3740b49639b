package relay

import (
	"errors"
	"net/http"

	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/stream"
)

// maxPending is how many bytes may wait for a slow reader before the next message is received.
const maxPending = 28 << 10

// writeStream answers with the messages of a call as they come. s is nil if requests do not stream.
func (x *Exchange) writeStream(call *frontend.Call, s *sender) {
	defer x.Options.Drain.BoundWrites(x.W, x.Options.CloseDelay)()
	q := stream.New(stream.Settings{
		Source: call,
		Sink:   &sink{x: x, call: call},
		Info:   x.Info,
		Limit:  maxPending,
		Single: !x.Method.StreamDesc.ServerStreams,
		Drain:  x.Options.Drain, CloseDelay: x.Options.CloseDelay,
		Explain: s.explain,
	})
	defer q.Stop()
	_ = q.Run() // Refuse answers, so there is no error.
}

// sink writes a stream to a response body.
type sink struct {
	x    *Exchange
	call *frontend.Call
}

// Room implements stream.Sink.
func (s *sink) Room(size int) int { return size + 16 }

// Append implements stream.Sink.
func (s *sink) Append(dst []byte, msg [][]byte, _ uint64) ([]byte, error) {
	return s.x.appendMessage(dst, msg)
}

// Early implements stream.Sink. On HTTP/1.1 a header before the end of the request costs the
// connection (see closeEarly) and gains nothing: clients do not look for it before they have sent
// their request.
func (s *sink) Early() bool { return s.x.R.ProtoMajor > 1 || s.x.body.Ended() }

// Open implements stream.Sink.
func (s *sink) Open(header metadata.MD) { s.x.open(header) }

// Write implements stream.Sink.
func (s *sink) Write(batch []byte, _ []int) error {
	if err := s.x.write(batch); err != nil {
		return err
	}
	return s.Flush()
}

// Flush implements stream.Sink.
func (s *sink) Flush() error {
	// A writer that cannot flush has no buffer, or is a test's.
	if err := http.NewResponseController(s.x.W).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Beat implements stream.Sink. There are no heartbeats, so it is never called.
func (s *sink) Beat() error { return nil }

// Refuse implements stream.Sink.
func (s *sink) Refuse(header metadata.MD, err *frontend.Error) error {
	if header == nil {
		s.x.closeEarly()
		s.x.Protocol.Refuse(s.x.W, s.call.Trailer(), err)
		return nil
	}
	s.Open(header)
	buf := frontend.GetBuffer(0)
	defer frontend.PutBuffer(buf)
	_ = s.Finish(buf, nil, err) // Nobody is left to tell when the client is gone.
	return nil
}

// Finish implements stream.Sink.
func (s *sink) Finish(batch *[]byte, _ []int, err *frontend.Error) error {
	*batch = s.x.Protocol.End(*batch, s.x.W.Header(), s.call.Trailer(), err)
	return s.x.write(*batch)
}
