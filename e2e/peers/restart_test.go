package peers

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// forEach runs a test with each kind of peer.
func forEach(t *testing.T, cfg Config, run func(t *testing.T, p *Peer)) {
	t.Helper()
	for _, kind := range Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			p := Start(t, kind, cfg)
			defer func() {
				if t.Failed() {
					t.Logf("the peer printed: %s", p.Output())
				}
			}()
			run(t, p)
		})
	}
}

// link is a connection that is made again when it accepts no more calls.
type link struct {
	peer *Peer

	mu   sync.Mutex
	conn *rpcwire.Conn
}

// get returns a connection other than the given one.
func (l *link) get(ctx context.Context, other *rpcwire.Conn) (*rpcwire.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.conn == nil || l.conn == other {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, err := connect(ctx, l.peer, rpcwire.Options{})
		if err != nil {
			time.Sleep(5 * time.Millisecond) // the peer is not back yet
			continue
		}
		l.conn = c
	}
	return l.conn, nil
}

// call makes a call until the peer may have processed it.
func (l *link) call(ctx context.Context, r rpcwire.Request) (*outcome, error) {
	c, err := l.get(ctx, nil)
	for err == nil {
		o := do(ctx, c, r, message(100))
		if o.err == nil || !o.err.Unprocessed {
			return o, nil
		}
		c, err = l.get(ctx, c)
	}
	return nil, err
}

// A peer that is restarted gracefully loses no call, and gets none twice.
func TestGracefulRestart(t *testing.T) {
	forEach(t, Config{}, func(t *testing.T, p *Peer) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		l := &link{peer: p}
		var ok atomic.Int64
		var cancelled, lost sync.Map // by id
		var stop atomic.Bool
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for !stop.Load() {
					id := newID()
					o, err := l.call(ctx, request("Unary", "x-id", id, "x-wait-ms", fmt.Sprint(worker)))
					if err == nil && o.err == nil && o.code() == codes.Canceled && quirks[p.Kind()].cancelsAtStop {
						cancelled.Store(id, true)
						continue
					}
					if err == nil && quirks[p.Kind()].dropsAtStop && dropped(o) {
						lost.Store(id, true)
						continue
					}
					if err != nil || o.code() != codes.OK {
						t.Errorf("%s ended with %v, %v", id, o, err)
						return
					}
					ok.Add(1)
				}
			})
		}
		many := func(what string) {
			t.Helper()
			from := ok.Load()
			kit.Eventually(t, patience, what, func() error {
				if n := ok.Load() - from; n < 200 {
					return fmt.Errorf("%d calls are made", n)
				}
				return nil
			})
		}
		many("calls before the restart")
		p.Stop(t)
		p.Wait(t)
		p.Restart(t)
		many("calls after the restart")
		stop.Store(true)
		wg.Wait()
		l.conn.Close("the test is over")
		<-l.conn.Done()
		calls := p.Calls(t)
		for id := range lost.Range {
			if n := calls[id.(string)]["start"]; n > 1 {
				t.Errorf("the server began %d times with %s, which was lost", n, id)
			}
			delete(calls, id.(string))
		}
		if n := ok.Load(); n != int64(len(calls)) {
			t.Errorf("%d calls ended well, the server had %d", n, len(calls))
		}
		for id, got := range calls {
			if _, found := cancelled.Load(id); found {
				t.Errorf("%s was cancelled by the server, which has begun with it", id)
			}
			if got["start"] != 1 || got["end"] != 1 {
				t.Errorf("the server logged %v for %s", got, id)
			}
		}
	})
}

// A stream that is open when the peer stops goes on to its end.
func TestGracefulStopDuringStream(t *testing.T) {
	forEach(t, Config{}, func(t *testing.T, p *Peer) {
		events := new(closed)
		c := dial(t, p, rpcwire.Options{Events: events})
		call, r := new(rpcwire.Call), request("Chat")
		if err := c.Start(call, &r); err != nil {
			t.Fatal(err)
		}
		talk := func() {
			t.Helper()
			if err := call.Send(t.Context(), false, message(100)); err != nil {
				t.Fatal(err)
			}
			if m, err := call.Recv(t.Context()); err != nil || string(*m.Buf) != string(message(100)) {
				t.Fatalf("the stream ended with %v", err)
			}
		}
		talk()
		p.Stop(t)
		kit.Eventually(t, patience, "the peer says that it stops", func() error {
			events.mu.Lock()
			defer events.mu.Unlock()
			if len(events.draining) == 0 {
				return fmt.Errorf("no GOAWAY; the connection has ended: %t", events.err != nil)
			}
			return nil
		})
		talk()
		call.CloseSend()
		_, err := call.Recv(t.Context())
		o := new(outcome)
		o.end(call, err)
		wantOK(t, o)
		<-c.Done()
		p.Wait(t)
	})
}

// A peer that is killed loses calls. Those that certainly were not processed are known.
func TestKill(t *testing.T) {
	forEach(t, Config{Streams: 20}, func(t *testing.T, p *Peer) {
		c := dial(t, p, rpcwire.Options{})
		outcomes := loseWhile(t, c, func() { p.Kill(t) })
		<-c.Done()
		if p.Kind().Proxy {
			p.LoseBackend() // no further calls start
		}
		calls := p.Calls(t)
		for id, o := range outcomes {
			if o.err != nil && (o.err.Kind != rpcwire.KindLost || o.err.Code != codes.Unavailable) || o.err == nil && o.code() != codes.OK {
				t.Errorf("%s ended with %s", id, o)
			}
			checkProcessed(t, id, o, calls[id])
		}
	})
}

// loseWhile makes calls on a connection until each worker has lost one. It calls lose after some.
func loseWhile(t *testing.T, c *rpcwire.Conn, lose func()) map[string]*outcome {
	t.Helper()
	var mu sync.Mutex
	outcomes := make(map[string]*outcome)
	var wg sync.WaitGroup
	for worker := range 40 { // half of them wait for a stream
		wg.Go(func() {
			for {
				id := newID()
				o := do(t.Context(), c, request("Unary", "x-id", id, "x-wait-ms", fmt.Sprint(worker%5)), message(100))
				mu.Lock()
				outcomes[id] = o
				mu.Unlock()
				if o.code() != codes.OK {
					return
				}
			}
		})
	}
	kit.Eventually(t, patience, "calls are made", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(outcomes) < 300 {
			return fmt.Errorf("%d are", len(outcomes))
		}
		return nil
	})
	lose()
	wg.Wait()
	return outcomes
}

// checkProcessed checks what is known of a call against the server's log.
func checkProcessed(t *testing.T, id string, o *outcome, logged map[string]int) {
	t.Helper()
	switch {
	case logged["start"] > 1:
		t.Errorf("the server got %s twice", id)
	case o.err == nil && o.code() == codes.OK && logged["start"] == 0:
		t.Errorf("%s ended well, and the server does not know it", id)
	case o.err != nil && o.err.Unprocessed && logged["start"] > 0:
		t.Errorf("%s ended with %s, and the server has begun with it", id, o)
	}
}

// When a proxy loses the server behind it, it says so in its own words.
func TestProxyLosesItsServer(t *testing.T) {
	for _, kind := range Kinds {
		if !kind.Proxy {
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			p := Start(t, kind, Config{Streams: 20})
			c := dial(t, p, rpcwire.Options{})
			outcomes := loseWhile(t, c, p.LoseBackend)
			calls := p.Calls(t)
			refused := 0
			for id, o := range outcomes {
				switch {
				case o.err != nil && o.err.Unprocessed && calls[id]["start"] > 0 && quirks[kind].refuses:
					refused++
				default:
					checkProcessed(t, id, o, calls[id])
				}
			}
			t.Logf("%d calls were refused that the server has begun with", refused)
		})
	}
}
