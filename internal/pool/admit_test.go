package pool

import (
	"context"
	"testing"

	"google.golang.org/grpc/mem"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestAdmit has an instance that reads nothing any more, and large requests for it. Over rpcwire
// another one has to wait then, and not for ever. Over grpc-go nothing waits.
func TestAdmit(t *testing.T) {
	t.Parallel()
	b := startBackend(t, "")
	proxy := testkit.StartProxy(t, b.addr)
	f := &manualFeed{}
	c := openChannel(t, Settings{EjectFailures: -1}, f)
	f.list(proxy.Addr())
	eventually(t, "it is ready", func() bool { return readyEndpoints(c) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Admit(ctx, 1<<20)() // nothing waits, so it does not matter that the client has left

	proxy.BlackHole()
	calls, end := context.WithCancel(t.Context())
	defer end()
	for range 8 {
		go func() {
			var reply mem.BufferSlice
			_ = c.Invoke(calls, methodEcho, raw(string(make([]byte, 1<<20))), &reply)
			reply.Free()
		}()
	}
	if *transport == TransportWire {
		eventually(t, "much waits to be written", func() bool { return c.balancer.admission.Backlog() == backlogShare })
	}
	c.Admit(t.Context(), 64<<10)() // it returns, after a while at the latest
	end()
	eventually(t, "nothing waits", func() bool { return c.balancer.admission.Backlog() == 0 })
}
