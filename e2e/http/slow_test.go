package httpe2e

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

const (
	fewStreams  = 8
	manyStreams = 40
	slowFiller  = 16 << 10  // bytes of each message
	slowTotal   = 1 << 30   // bytes that the backend would send on each stream
	slowLimit   = 256 << 10 // bytes of Caddy's memory for each stream
)

// countingSends counts the messages that the backend's streams have sent.
type countingSends struct {
	grpc.ServerStream
	n *atomic.Int64
}

func (s countingSends) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	if err == nil {
		s.n.Add(1)
	}
	return err
}

// TestSlowReaders has clients that read the beginning of a large stream and then nothing. The
// memory of the Caddy process must not grow with what the backend would send, and the backend must
// be held back.
func TestSlowReaders(t *testing.T) {
	var sent atomic.Int64
	w := newWorld(t, "\tgrpc_gateway echo", testkit.WithServerOptions(grpc.ChainStreamInterceptor(
		func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(srv, countingSends{ss, &sent})
		})))
	path := fmt.Sprintf("/v1/stream/%d?script.filler=%d", slowTotal/slowFiller, slowFiller)
	h1, h2 := w.client(t, "HTTP/1.1"), w.client(t, "h2c")
	for name, open := range map[string]func(ctx context.Context, t *testing.T){
		"HTTP1.1 text/event-stream": func(ctx context.Context, t *testing.T) {
			readOne(ctx, t, h1, path, "text/event-stream")
		},
		"h2c application/x-ndjson": func(ctx context.Context, t *testing.T) {
			readOne(ctx, t, h2, path, "application/x-ndjson")
		},
		"WebSocket": func(_ context.Context, t *testing.T) { w.socket(t, path).hear(`{"request":`) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			opened := 0
			hold := func(streams int) kit.Memory {
				for ; opened < streams; opened++ {
					open(ctx, t)
				}
				stalled(t, &sent)
				if n := w.backend.InFlight(); n < streams {
					t.Fatalf("%d streams are open, not %d", n, streams)
				}
				return w.Memory(t)
			}
			sent.Store(0)
			// What the first streams bring is more than theirs: connections, caches. The others
			// show what one stream costs.
			few, many := hold(fewStreams), hold(manyStreams)
			each := (many.Used() - few.Used()) / (manyStreams - fewStreams)
			perStream := sent.Load() * slowFiller / manyStreams
			t.Logf("%d KiB of heap and stack for each stream (%d: %+v, %d: %+v); the backend has sent %.1f MiB of %d on each",
				each>>10, fewStreams, few, manyStreams, many, float64(perStream)/(1<<20), slowTotal>>20)
			if each > slowLimit {
				t.Errorf("%d bytes for each stream, more than %d", each, slowLimit)
			}
			if perStream > slowTotal/8 {
				t.Errorf("the backend was not held back: it has sent %d bytes on each stream", perStream)
			}
		})
		w.idle(t, name)
	}
}

// readOne reads the beginning of a stream, and leaves it open until the context ends.
func readOne(ctx context.Context, t *testing.T, c *client, path, accept string) {
	t.Helper()
	resp := c.open(ctx, "GET", path, nil, "Accept: "+accept)
	beginning := make([]byte, 100)
	if _, err := resp.Body.Read(beginning); err != nil || !strings.Contains(string(beginning), `{"request"`) {
		t.Fatalf("%v after %q", err, beginning)
	}
}

// stalled waits until nothing was sent for a second.
func stalled(t *testing.T, sent *atomic.Int64) {
	t.Helper()
	last, since := int64(-1), time.Now()
	kit.Eventually(t, time.Minute, "the backend is held back", func() error {
		if n := sent.Load(); n != last {
			last, since = n, time.Now()
		}
		if quiet := time.Since(since); quiet < time.Second || last < fewStreams {
			return fmt.Errorf("%d messages were sent, the last one %v ago", last, quiet)
		}
		return nil
	})
}
