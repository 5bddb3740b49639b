package peers

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// More calls than the peer allows at a time wait for each other, and none is refused.
func TestStreamLimit(t *testing.T) {
	forEach(t, Config{Streams: 5}, func(t *testing.T, p *Peer) {
		c := dial(t, p, rpcwire.Options{})
		if n := c.StreamLimit(); n != 5 {
			t.Errorf("the limit is %d, want 5", n)
		}
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				method := "Unary"
				if i%3 == 0 {
					method = "Chat"
				}
				if o := do(t.Context(), c, request(method, "x-id", newID(), "x-wait-ms", "5"), message(i)); o.code() != codes.OK || len(o.messages) != 1 {
					t.Errorf("the call ended with %s", o)
				}
			})
		}
		wg.Wait()
		if n := p.Concurrent(t); n > 5 {
			t.Errorf("the server had %d calls at a time", n)
		}
		if n := len(p.Calls(t)); n != 60 {
			t.Errorf("the server had %d calls, want 60", n)
		}
	})
}

// A message above the server's limit fails its call. The connection goes on.
func TestRequestTooLarge(t *testing.T) {
	forEach(t, Config{MaxMessage: 1 << 20}, func(t *testing.T, p *Peer) {
		c := dial(t, p, rpcwire.Options{})
		for _, method := range []string{"Unary", "Download", "Upload", "Chat"} {
			o := do(t.Context(), c, request(method, "x-times", "1"), message(2<<20))
			if quirks[p.Kind()].resetsTooLarge {
				if o.err == nil || o.err.Kind != rpcwire.KindReset || o.code() != codes.Canceled {
					t.Errorf("%s ended with %s", method, o)
				}
			} else if o.err != nil || o.code() != codes.ResourceExhausted {
				t.Errorf("%s ended with %s", method, o)
			}
			m := message(1<<20 - 100)
			wantOK(t, do(t.Context(), c, request(method, "x-times", "1"), m), m)
		}
	})
}

// Pings keep an idle connection open if the peer permits them.
func TestKeepalive(t *testing.T) {
	forEach(t, Config{Pings: true}, func(t *testing.T, p *Peer) {
		var reads atomic.Uint64
		c := dial(t, p, rpcwire.Options{KeepaliveTime: 30 * time.Millisecond, PermitWithoutStream: true, Reads: &reads})
		before := reads.Load()
		kit.Eventually(t, patience, "ten pings are answered", func() error {
			if n := reads.Load() - before; n < 10 {
				return fmt.Errorf("%d are", n)
			}
			return nil
		})
		wantWorking(t, c)
		wantOK(t, do(t.Context(), c, request("Unary", "x-wait-ms", "500"), message(1)), message(1))
	})
}

// A peer may close the connection because of pings, and then says so. Others do not mind.
func TestTooManyPings(t *testing.T) {
	forEach(t, Config{}, func(t *testing.T, p *Peer) {
		var reads atomic.Uint64
		events := new(closed)
		dial(t, p, rpcwire.Options{KeepaliveTime: 30 * time.Millisecond, PermitWithoutStream: true, Reads: &reads, Events: events})
		kit.Eventually(t, patience, "the peer minds pings, or answers many", func() error {
			events.mu.Lock()
			defer events.mu.Unlock()
			if len(events.draining) == 0 && reads.Load() < 20 {
				return fmt.Errorf("%d reads", reads.Load())
			}
			return nil
		})
		events.mu.Lock()
		defer events.mu.Unlock()
		minds := len(events.draining) == 1 && events.draining[0].TooManyPings()
		if minds != quirks[p.Kind()].tooManyPings {
			t.Errorf("the peer sent %v", events.draining)
		}
	})
}

// A peer that hangs is noticed by pings. Its calls may have been processed.
func TestFrozen(t *testing.T) {
	forEach(t, Config{Pings: true}, func(t *testing.T, p *Peer) {
		events := new(closed)
		c := dial(t, p, rpcwire.Options{KeepaliveTime: 50 * time.Millisecond, KeepaliveTimeout: time.Second, Events: events})
		ended, id := make(chan *outcome, 1), newID()
		go func() { ended <- do(t.Context(), c, request("Unary", "x-id", id, "x-wait-ms", "60000"), message(1)) }()
		started(t, p, id)
		p.Freeze(t)
		defer p.Thaw(t)
		if o := <-ended; o.err == nil || o.err.Kind != rpcwire.KindLost || o.err.Code != codes.Unavailable || o.err.Unprocessed {
			t.Errorf("the call ended with %s", o)
		}
		<-c.Done()
		if why := events.why(); why == nil || why.Reason != rpcwire.ReasonKeepalive {
			t.Errorf("the connection ended with %v", why)
		}
	})
}
