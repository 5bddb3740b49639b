package pool

import (
	"context"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/mem"
)

// The gateway's own calls do not change what operators see or what the balancer knows.
func TestUncountedCalls(t *testing.T) {
	b := startBackend(t, "")
	feed := new(manualFeed)
	c := openChannel(t, Settings{EjectFailures: 1, EjectMaxPercent: 100}, feed)
	feed.list(b.addr)
	ready(t, c)
	conn := Uncounted(c)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	b.delay.Store(int64(50 * time.Millisecond))

	var reply mem.BufferSlice
	if err := conn.Invoke(ctx, methodEcho, raw("x"), &reply); err != nil {
		t.Fatal(err)
	}
	reply.Free()
	if err := conn.Invoke(ctx, methodFail, raw("x"), &reply); err == nil {
		t.Fatal("the call did not fail")
	}
	cs, err := conn.NewStream(ctx, bidi, methodEcho)
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := endOf(t, cs); err != io.EOF { //nolint:errorlint // bare by contract
		t.Fatal(err)
	}

	s := c.Snapshot()
	if s.Picks != 0 || s.Failures != 0 || s.Endpoints[0].Picks != 0 || s.Endpoints[0].LastError != "" || s.Endpoints[0].InFlight != 0 {
		t.Errorf("snapshot is %+v", s)
	}
	c.balancer.lock()
	ep := c.balancer.endpoints[b.addr]
	c.balancer.publishAndUnlock()
	if mean := ep.Latency.Mean(); mean != 0 {
		t.Errorf("the balancer has learnt a latency of %v", mean)
	}
	b.delay.Store(0)
	mustEcho(t, c)
	if s := c.Snapshot(); s.Picks != 1 || s.Endpoints[0].Picks != 1 {
		t.Errorf("a usual call was not counted: %+v", s)
	}
}
