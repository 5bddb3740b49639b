package connect

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestUnreadBodiesCostTheConnection: over HTTP/1.1 the rest of a body would be taken for the next
// request.
func TestUnreadBodiesCostTheConnection(t *testing.T) {
	b := testkit.StartBackend(t)
	table := rpctest.Table(t, rpctest.Dial(t, b.Addr()))
	const get = "/gateway.test.v1.Library/GetBook?connect=v1&encoding=json&message=%7B%7D"
	for name, tc := range map[string]struct {
		method, path, version string
		size                  int64
		close                 bool
	}{
		"a POST that is refused":   {"POST", "/gateway.test.v1.Echo/Unary", "9", 2, true},
		"a POST that is too large": {"POST", "/gateway.test.v1.Echo/Unary", "1", 1 << 30, true},
		"a POST that is read":      {"POST", "/gateway.test.v1.Echo/Unary", "1", 2, false},
		"a GET with a small body":  {"GET", get, "1", 2, false},
		"a GET with a large body":  {"GET", get, "1", 1 << 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(rpctest.Context(t), tc.method, tc.path, strings.NewReader("{}"))
			r.ContentLength = tc.size
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Connect-Protocol-Version", tc.version)
			w := httptest.NewRecorder()
			New(frontend.Options{}).Serve(w, r, table, new(frontend.Info))
			if got := w.Header().Get("Connection") == "close"; got != tc.close {
				t.Errorf("closed: %v; %d %s", got, w.Code, w.Body)
			}
		})
	}
}
