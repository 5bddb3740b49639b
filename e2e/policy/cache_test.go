package policy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestCacheLeavesCalls: cache-handler makes a call in a goroutine of its own, and leaves it behind
// when the client leaves. Caddy runs with the race detector, and kit looks for its reports.
func TestCacheLeavesCalls(t *testing.T) {
	w := startWitness(t)
	caddy := kit.StartCaddy(t, kit.Options{
		Binary: withPlugins(t),
		Site:   fmt.Sprintf("grpc_gateway %s {\nwith gateway.test.v1.Echo/Unary {\ncache {\nttl 1h\n}\n}\n}", w.Addr()),
	})
	caddy.WaitReady(t, 30*time.Second, w.Addr())

	get := func(limit time.Duration, path string) (int, error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, caddy.URL(path), nil)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}

	var clients sync.WaitGroup
	for i := range 40 {
		clients.Go(func() {
			if status, err := get(time.Duration(10+5*i)*time.Millisecond, fmt.Sprintf("/v1/echo/left-%d?script.delay=2s", i)); err == nil {
				t.Errorf("got %d before the service answered", status)
			}
		})
	}
	clients.Wait()
	kit.Eventually(t, 20*time.Second, "the calls have ended", func() error {
		if n := w.InFlight(); n > 0 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
	w.take()
}
