package grpcweb_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
)

func TestWriteErrorAnswersAsServe(t *testing.T) {
	for _, tc := range []struct {
		name    string
		version int
		method  string
		headers []string
	}{
		{"binary", 2, http.MethodPost, []string{"Content-Type", "application/grpc-web"}},
		{"JSON", 2, http.MethodPost, []string{"Content-Type", "application/grpc-web+json"}},
		{"text", 2, http.MethodPost, []string{"Content-Type", "application/grpc-web-text"}},
		{"text by Accept", 2, http.MethodPost, []string{"Content-Type", "application/grpc-web", "Accept", "application/grpc-web-text"}},
		{"HTTP/1.1", 1, http.MethodPost, []string{"Content-Type", "application/grpc-web+proto"}},
		{"GET", 1, http.MethodGet, []string{"Content-Type", "application/grpc-web"}},
		{"another codec", 1, http.MethodPost, []string{"Content-Type", "application/grpc-web+thrift"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rpctest.Request(tc.version, tc.method, "/a.B/C", "body", tc.headers...)
			rpctest.CheckWriteError(t, grpcweb.New(frontend.Options{}), grpcweb.WriteError, r)
		})
	}
}

func TestWriteErrorOfARefusal(t *testing.T) {
	refusal := frontend.Refusal(http.StatusUnauthorized, "", http.Header{"Www-Authenticate": {"Bearer"}})
	for _, contentType := range []string{"application/grpc-web+proto", "application/grpc-web-text+proto"} {
		t.Run(contentType, func(t *testing.T) {
			got := rpctest.Record(grpcweb.WriteError, rpctest.Request(1, http.MethodPost, "/a.B/C", "", "Content-Type", contentType), refusal)
			body := got.Body.Bytes()
			if strings.Contains(contentType, "text") {
				body = decodeText(t, got.Body.String())
			}
			if got.Code != http.StatusOK || got.Header().Get("Content-Type") != contentType || got.Header().Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%d %v", got.Code, got.Header())
			}
			if want := "\x80\x00\x00\x00\x2dgrpc-status: 16\r\ngrpc-message: Unauthorized\r\n"; string(body) != want {
				t.Errorf("got %q, want %q", body, want)
			}
		})
	}
}
