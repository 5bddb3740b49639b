package module

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// BenchmarkPolicy is what blocks add to a call: what a handler without `with` does not pay.
//
//	go test -run '^$' -bench BenchmarkPolicy -benchmem ./module
func BenchmarkPolicy(b *testing.B) {
	for name, tt := range map[string]struct {
		blocks   int
		protocol frontend.Protocol
	}{
		"empty block, REST": {1, frontend.REST},
		"empty block, gRPC": {1, frontend.GRPC},
		"100 empty blocks":  {100, frontend.REST},
	} {
		b.Run(name, func(b *testing.B) {
			p := new(policies)
			for i := range tt.blocks {
				block := &policyBlock{number: i, match: []string{"*"}}
				block.chain = caddyhttp.RouteList(nil).Compile(caddyhttp.HandlerFunc(block.proceed))
				p.blocks = append(p.blocks, block)
			}
			policy := p.of("a.B/C")
			w := httptest.NewRecorder()
			base := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/", nil)
			call := &frontend.Policed{Protocol: tt.protocol, Method: &frontend.Method{Name: "a.B/C"}, Info: new(frontend.Info)}
			next := func(http.ResponseWriter, *http.Request) error { return nil }
			b.ReportAllocs()
			for b.Loop() {
				if err := policy.Around(w, base, call, next); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
