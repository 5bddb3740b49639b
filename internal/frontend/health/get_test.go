package health

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func TestGet(t *testing.T) {
	table := &frontend.Table{Methods: map[string]*frontend.Method{
		"/shop.v1.Orders/Get": {Name: "shop.v1.Orders/Get", Upstream: "orders"},
		"/shop.v1.Stock/Get":  {Name: "shop.v1.Stock/Get", Upstream: "stock"},
	}}
	for name, c := range map[string]struct {
		method, query string
		stopping      bool
		status        int
		body          string
	}{
		"the gateway":                 {"GET", "", false, 200, `{"status":"SERVING"}`},
		"the gateway that stops":      {"GET", "", true, 503, `{"status":"NOT_SERVING"}`},
		"a service that is ready":     {"GET", "?service=shop.v1.Orders", false, 200, `{"status":"SERVING"}`},
		"a service that is not ready": {"GET", "?service=shop.v1.Stock", false, 503, `{"status":"NOT_SERVING"}`},
		"a service when all stops":    {"GET", "?service=shop.v1.Orders", true, 503, `{"status":"NOT_SERVING"}`},
		"a service nobody knows":      {"GET", "?service=shop.v1", false, 404, `{"status":"SERVICE_UNKNOWN"}`},
		"HEAD":                        {"HEAD", "", false, 200, `{"status":"SERVING"}`},
		"POST":                        {"POST", "", false, 405, "method POST is not allowed: expected GET"},
	} {
		t.Run(name, func(t *testing.T) {
			drain := frontend.NewDrain()
			if c.stopping {
				drain.Close()
			}
			w := httptest.NewRecorder()
			Get(w, httptest.NewRequest(c.method, "/healthz"+c.query, http.NoBody), Config{
				Table: func() *frontend.Table { return table },
				Ready: func(upstream string) bool { return upstream == "orders" },
				Drain: drain,
			})
			if w.Code != c.status || w.Body.String() != c.body+"\n" {
				t.Errorf("the answer is %d %q, want %d %q", w.Code, w.Body, c.status, c.body)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
		})
	}
}
