package module_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// BenchmarkCallInABlock is a whole REST call through the handler, to a real backend, without a
// block and in an empty one.
//
//	go test -run '^$' -bench BenchmarkCallInABlock ./module
func BenchmarkCallInABlock(b *testing.B) {
	for _, tt := range []struct{ name, options string }{{"no with", ""}, {"empty with", "with * {\n}"}} {
		b.Run(tt.name, func(b *testing.B) {
			backend := testkit.StartBackend(b)
			s := newSite(b)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n"+tt.options+"\n}")
			s.want(s.get("/v1/echo/x"), http.StatusOK)
			h := activeHandler(b)
			b.ReportAllocs()
			for b.Loop() {
				ctx := context.WithValue(b.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer())
				w := httptest.NewRecorder()
				err := h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/v1/echo/x", nil), nil)
				if err != nil || w.Code != http.StatusOK {
					b.Fatalf("%v, status %d", err, w.Code)
				}
			}
		})
	}
}
