package pool

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/discovery"
)

// silentListener accepts connections and sends nothing on them.
func silentListener(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() {
		lis.Close()
		<-done
	})
	return lis.Addr().String()
}

func TestRemovedInstanceFinishesItsCalls(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(a.addr)
	cs, err := c.NewStream(t.Context(), bidi, methodEcho)
	if err != nil {
		t.Fatal(err)
	}
	f.list(b.addr)
	eventually(t, "it is draining", func() bool { return stateOf(c, a.addr) == "draining" })
	for range 20 {
		if got := mustEcho(t, c); got != b.addr {
			t.Fatalf("a new call went to %s, which was removed", got)
		}
	}
	// The old call goes on in both directions, longer than its connection would linger without it.
	time.Sleep(drainLinger + 200*time.Millisecond)
	for range 3 {
		if err := cs.SendMsg(raw("still here")); err != nil {
			t.Fatal(err)
		}
		var reply mem.BufferSlice
		if err := cs.RecvMsg(&reply); err != nil {
			t.Fatal(err)
		}
		reply.Free()
	}
	if err := cs.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := endOf(t, cs); status.Code(err) == codes.Unavailable {
		t.Errorf("the call ended with %v", err)
	}
	eventually(t, "the endpoint is forgotten", func() bool { return len(c.Snapshot().Endpoints) == 1 })
	if s := c.Snapshot(); s.Picks != 21 {
		t.Errorf("picks are %d, want those of the removed endpoint among 21", s.Picks)
	}
}

func TestCallThatOutlivesTheDrainTimeout(t *testing.T) {
	for name, goaway := range map[string]bool{"connection up": false, "instance said goodbye": true} {
		t.Run(name, func(t *testing.T) {
			a, b := startBackend(t, ""), startBackend(t, "")
			f := &manualFeed{}
			c := openChannel(t, Settings{DrainTimeout: 300 * time.Millisecond}, f)
			f.list(a.addr)
			cs := hang(t, c)
			f.list(b.addr)
			eventually(t, "it is draining", func() bool { return stateOf(c, a.addr) == "draining" })
			if goaway {
				stopped := make(chan struct{})
				go func() { a.server.GracefulStop(); close(stopped) }()
				defer func() { <-stopped }()
			}
			err := endOf(t, cs)
			var lost *LostError
			if !errors.As(err, &lost) || !lost.Drained {
				t.Fatalf("error is %v, want a LostError for draining", err)
			}
			if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "the instance was removed and its time to drain is over" {
				t.Errorf("status is %v", st)
			}
			eventually(t, "the instance notices", func() bool { return a.ended.Load() == 1 })
			mustEcho(t, c)
		})
	}
}

func TestInstanceThatComesBackKeepsItsConnection(t *testing.T) {
	a, b := startBackend(t, ""), startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	f.list(a.addr, b.addr)
	eventually(t, "both are ready", func() bool { return readyEndpoints(c) == 2 })
	cs := hang(t, c) // keeps one of them for longer than the linger
	defer func() { _ = cs.CloseSend() }()
	for range 3 {
		f.list()
		f.list(a.addr, b.addr)
		time.Sleep(applyEvery + 20*time.Millisecond)
	}
	eventually(t, "both are ready again", func() bool { return readyEndpoints(c) == 2 })
	mustEcho(t, c)
	if n := a.accepts.Load() + b.accepts.Load(); n != 2 {
		t.Errorf("%d connections were made, want the first 2", n)
	}
}

func TestWhatTheRegistryChangesWithoutAnotherDial(t *testing.T) {
	b := startBackend(t, "")
	one := func(id string, weight uint32, meta string) discovery.Endpoint {
		return discovery.Endpoint{ID: id, Addr: b.addr, Weight: weight, Metadata: map[string]string{"zone": meta}}
	}
	lists := []struct {
		name string
		list []discovery.Endpoint
	}{
		{"first", []discovery.Endpoint{one("k/1", 1, "a")}},
		{"weight", []discovery.Endpoint{one("k/1", 9, "a")}},
		{"metadata", []discovery.Endpoint{one("k/1", 9, "b")}},
		{"a second ID", []discovery.Endpoint{one("k/1", 9, "b"), one("k/2", 5, "b")}},
		{"the first ID goes", []discovery.Endpoint{one("k/2", 5, "b")}},
		{"another ID at once", []discovery.Endpoint{one("k/3", 5, "b")}},
	}
	f := &manualFeed{}
	c := openChannel(t, Settings{}, f)
	for _, l := range lists {
		f.publish(synced(l.list...))
		eventually(t, l.name, func() bool {
			s := c.Snapshot()
			return len(s.Endpoints) == 1 && s.Endpoints[0].State == "READY" && len(s.Endpoints[0].IDs) == len(l.list) &&
				s.Endpoints[0].IDs[0] == l.list[0].ID && s.Endpoints[0].Weight == l.list[0].Weight
		})
		mustEcho(t, c)
	}
	if n := b.accepts.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1", n)
	}
}

func TestRetireServesLateCallsAndWaits(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{Linger: 100 * time.Millisecond}, f)
	f.list(b.addr)
	cs, err := c.NewStream(t.Context(), bidi, methodEcho)
	if err != nil {
		t.Fatal(err)
	}
	done := c.Retire()
	mustEcho(t, c) // a late call
	time.Sleep(200 * time.Millisecond)
	select {
	case <-done:
		t.Fatal("it closed under a call")
	default:
	}
	if s := c.Snapshot(); !s.Retiring || s.Leases != 1 {
		t.Errorf("snapshot is %+v", s)
	}
	_ = cs.CloseSend()
	if err := endOf(t, cs); status.Code(err) == codes.Unavailable {
		t.Errorf("the call ended with %v", err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it never closed")
	}
	_, err = echo(t.Context(), c)
	wantUnavailable(t, err, Closed, "the channel to the service is closed")
}

func TestRetireEndsWhatOutlivesTheDrainTimeout(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	c := openChannel(t, Settings{Linger: time.Millisecond, DrainTimeout: 200 * time.Millisecond}, f)
	f.list(b.addr)
	cs := hang(t, c)
	done := c.Retire()
	err := endOf(t, cs)
	var lost *LostError
	if !errors.As(err, &lost) || !lost.Drained || status.Code(err) != codes.Unavailable {
		t.Errorf("error is %v, want UNAVAILABLE because it was drained", err)
	}
	<-done
	eventually(t, "leases are returned", func() bool { return c.Snapshot().Leases == 0 })
}

func TestRetireWithoutCallsClosesAfterLinger(t *testing.T) {
	f := &manualFeed{}
	c := openChannel(t, Settings{Linger: time.Millisecond}, f)
	select {
	case <-c.Retire():
	case <-time.After(patience):
		t.Fatal("it never closed")
	}
	if len(f.subs) != 0 {
		t.Error("it is still subscribed")
	}
	<-c.Retire() // a second time does no harm
}

func TestShutdown(t *testing.T) {
	t.Run("waits for calls", func(t *testing.T) {
		b := startBackend(t, "")
		f := &manualFeed{}
		c := openChannel(t, Settings{Linger: time.Hour}, f)
		f.list(b.addr)
		cs, err := c.NewStream(t.Context(), bidi, methodEcho)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, func() { _ = cs.CloseSend() })
		go func() { _ = endOf(t, cs) }()
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		b := startBackend(t, "")
		f := &manualFeed{}
		c := openChannel(t, Settings{}, f)
		f.list(b.addr)
		cs := hang(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := c.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 calls were in flight") {
			t.Errorf("error is %v", err)
		}
		if err := endOf(t, cs); status.Code(err) != codes.Unavailable {
			t.Errorf("the call ended with %v", err)
		}
	})
}

// A changed upstream is handed over. The new channel connects while the old one serves. Then the
// old one drains.
func TestHandOverLosesNoCall(t *testing.T) {
	b := startBackend(t, "")
	f := &manualFeed{}
	f.list(b.addr)
	channels := make(chan *Channel, 1)
	channels <- openChannel(t, Settings{Linger: 20 * time.Millisecond}, f)
	stop, failed := make(chan struct{}), make(chan error, 4)
	for range cap(failed) {
		go func() {
			for {
				select {
				case <-stop:
					failed <- nil
					return
				default:
				}
				c := <-channels
				channels <- c
				if _, err := echo(context.Background(), c); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	for range 20 {
		next := openChannel(t, Settings{Linger: 20 * time.Millisecond}, f)
		ready(t, next)
		old := <-channels
		channels <- next
		old.Retire()
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}
