// Package policy judges `with` blocks through a real Caddy, with directives that nobody here wrote:
// those that Caddy has, caddy-ratelimit and cache-handler. It shows that a block covers every way
// to call a method, that refusals are understood by the clients that people have, and that the
// recipes of docs/recipes.md do what they say.
package policy

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// withPlugins builds Caddy with the gateway and the plugins. E2E_CADDY_PLUGINS in the environment
// names one that is built already.
func withPlugins(t testing.TB) string {
	t.Helper()
	if ready := os.Getenv("E2E_CADDY_PLUGINS"); ready != "" {
		return ready
	}
	return kit.BinaryOf(t, "e2e/policy/caddy")
}

// arrival is a call that came to a backend.
type arrival struct {
	method string // package.Service/Method
	md     metadata.MD
}

// witness is a backend that remembers every call, except those of gRPC's own services, which the
// gateway makes for itself.
type witness struct {
	*testkit.Backend

	mu       sync.Mutex
	arrivals []arrival
}

func startWitness(t testing.TB, opts ...testkit.Option) *witness {
	t.Helper()
	w := &witness{}
	w.Backend = testkit.StartBackend(t, append(opts, testkit.WithServerOptions(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			w.saw(ctx, info.FullMethod)
			return h(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			w.saw(ss.Context(), info.FullMethod)
			return h(srv, ss)
		}),
		// Stream interceptors see these calls as well.
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			return status.Error(codes.Unimplemented, "the witness does not know this method")
		}),
	))...)
	return w
}

func (w *witness) saw(ctx context.Context, method string) {
	if strings.HasPrefix(method, "/grpc.") {
		return
	}
	md, _ := metadata.FromIncomingContext(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.arrivals = append(w.arrivals, arrival{strings.TrimPrefix(method, "/"), md.Copy()})
}

// take returns what has arrived since the last time.
func (w *witness) take() []arrival {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.arrivals
	w.arrivals = nil
	return taken
}
