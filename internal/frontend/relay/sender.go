package relay

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/envelope"
)

// serveUpload makes a call whose requests stream.
func (x *Exchange) serveUpload(in *envelope.Reader, settings frontend.CallSettings) error {
	call, err := x.Options.Start(x.R.Context(), x.Method, settings, x.Info)
	if err != nil {
		return err
	}
	defer call.Close()
	defer x.Options.WatchClient(x.R, call.Close)()
	if x.R.ProtoMajor == 1 {
		// The server would otherwise read the whole body before the first byte of the answer.
		_ = http.NewResponseController(x.W).EnableFullDuplex()
	}
	defer x.Options.UnboundedRead(x.R)()
	s := &sender{x: x, in: in, call: call}
	s.work = frontend.GoConfined(s.run, call.Close)
	defer s.stop()
	x.writeStream(call, s)
	return nil
}

// sender is the goroutine that reads the request body and sends its messages.
type sender struct {
	x    *Exchange
	in   *envelope.Reader
	call *frontend.Call
	work *frontend.Confined

	mu sync.Mutex
	// err is why the sender gave up. That is the client's fault, so the client is told.
	err error
}

func (s *sender) run() {
	defer s.in.Close()
	if err := s.send(); err != nil {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		s.call.Close()
	}
}

func (s *sender) send() error {
	for over := false; !over; {
		msg, err := s.x.read(s.in)
		if errors.Is(err, io.EOF) {
			_ = s.call.CloseSend() // Recv tells an error, and better.
			return nil
		}
		if err != nil {
			return s.x.body.Error(err)
		}
		over = s.call.Send(msg) != nil || s.sendWaiting() != nil // Recv tells how.
	}
	return nil
}

// sendWaiting sends the messages that have come with the last one, all at once and as they are. It
// leaves them to the next read if that is not possible.
func (s *sender) sendWaiting() error {
	if s.x.JSON || !s.call.TakesFramed() {
		return nil
	}
	framed, messages := s.in.Waiting()
	if messages == 0 {
		return nil
	}
	return s.call.SendFramed(framed, messages)
}

// explain returns the sender's error instead of err if the call ended because the sender gave up.
func (s *sender) explain(err error) error {
	if s == nil || err == nil || AsError(err).Code() != codes.Canceled {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return err
}

// stop ends the RPC and waits for the goroutine. If that waits for the client, the body is made to
// end.
func (s *sender) stop() {
	s.call.Close()
	select {
	case <-s.work.Done():
	default:
		s.interrupt()
	}
	s.work.Wait()
}

// grace is how long an HTTP/1.1 client that is answered early may take to send its next message.
const grace = 100 * time.Millisecond

func (s *sender) interrupt() {
	if s.x.R.ProtoMajor > 1 {
		s.x.body.Interrupt()
		<-s.work.Done()
		return
	}
	// The connection is closed afterwards (see closeEarly). While the client sends, that would be a
	// reset, and the client may lose the answer that is on its way. So the goroutine may read for a
	// while. If a message comes, the goroutine ends with it, and the server reads on for a while
	// before it closes. If none comes, the goroutine is interrupted, and there was nothing to read.
	rc := http.NewResponseController(s.x.W)
	_ = rc.Flush() // An error means that the client has left.
	until := time.Now().Add(grace)
	if rc.SetReadDeadline(until) != nil {
		_ = s.x.R.Body.Close()
	}
	<-s.work.Done()
	if time.Now().Before(until) {
		_ = rc.SetReadDeadline(time.Time{})
	}
}
