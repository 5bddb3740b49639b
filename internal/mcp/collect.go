package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/relay"
)

// Reasons why the gateway ends a stream itself.
var (
	errLimit    = errors.New("the limits of a collected stream")
	errShutdown = errors.New("the server is shutting down")
)

// lastWait is how long the end of a stream is waited for that has as many messages as it may have.
const lastWait = 100 * time.Millisecond

// collect answers with the messages of a stream, up to the limits. If the server stops first, it
// returns an error, as other streams end with one.
func (c *call) collect(w http.ResponseWriter, r *http.Request, settings frontend.CallSettings, msg *[]byte) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	limits := &c.h.cfg.Limits
	timer := time.AfterFunc(limits.Time, func() { cancel(errLimit) })
	defer timer.Stop()
	defer c.h.endAtShutdown(ctx, cancel)()
	ends := time.Now().Add(limits.Time)
	out, err := c.h.opts.Open(ctx, c.method, settings, msg, c.info)
	if err != nil {
		return c.ended(ctx, err)
	}
	defer out.Close()
	defer c.h.opts.WatchClient(c.x.r, out.Close)()

	body := frontend.GetBuffer(0)
	defer func() { frontend.PutBuffer(body) }()
	const open = `{"messages":[`
	*body = append(*body, open...)
	truncated := false
	for n := 0; ; n++ {
		if n == limits.Messages && timer.Stop() {
			timer.Reset(min(lastWait, time.Until(ends)))
		}
		answer, err := out.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(context.Cause(ctx), errLimit) {
			e := c.ended(ctx, err)
			c.h.opts.WriteErrorHeader(w.Header(), out, e.HTTP())
			return e
		}
		if truncated = err != nil || n == limits.Messages; truncated {
			answer.Free()
			break
		}
		before := len(*body)
		if n > 0 {
			*body = append(*body, ',')
		}
		var room [4][]byte
		*body, err = relay.AppendMessage(*body, c.method, frontend.AppendParts(room[:0], answer), true)
		answer.Free()
		if err != nil {
			return err
		}
		if len(*body)-len(open) > limits.Bytes {
			*body, truncated = (*body)[:before], true
			break
		}
	}
	c.h.opts.WriteHeader(w.Header(), out.Header())
	*body = fmt.Appendf(*body, `],"truncated":%t}`, truncated)
	c.write(w, http.StatusOK, *body)
	return nil
}

// ended returns the error of a stream. The gateway may have ended it itself.
func (c *call) ended(ctx context.Context, err error) *frontend.Error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errShutdown):
		return frontend.Errorf(codes.Unavailable, "%s", errShutdown)
	case errors.Is(cause, errLimit): // It has not even begun.
		return frontend.Errorf(codes.DeadlineExceeded, "the stream did not begin within %s", c.h.cfg.Limits.Time)
	}
	return frontend.AsError(err)
}

// endAtShutdown cancels a stream when the server stops, after the delay that all streams have. stop
// must be called, and waits until nothing runs any more.
func (h *Handler) endAtShutdown(ctx context.Context, cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	undo := h.opts.Drain.AfterFunc(func() {
		defer close(done)
		delay := time.NewTimer(h.opts.CloseDelay)
		defer delay.Stop()
		select {
		case <-delay.C:
			cancel(errShutdown)
		case <-ctx.Done():
		}
	})
	return func() {
		if !undo() {
			cancel(nil)
			<-done
		}
	}
}
