package grpc_test

import (
	"net/http"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
)

func TestWriteErrorAnswersAsServe(t *testing.T) {
	for _, tc := range []struct {
		name        string
		version     int
		method      string
		contentType string
	}{
		{"proto", 2, http.MethodPost, "application/grpc"},
		{"JSON", 2, http.MethodPost, "application/grpc+json; charset=utf-8"},
		{"HTTP/3", 3, http.MethodPost, "application/grpc+proto"},
		{"HTTP/1.1", 1, http.MethodPost, "application/grpc"},
		{"GET", 2, http.MethodGet, "application/grpc"},
		{"another codec", 2, http.MethodPost, "application/grpc+thrift"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rpctest.Request(tc.version, tc.method, "/a.B/C", "body", "Content-Type", tc.contentType)
			rpctest.CheckWriteError(t, grpc.New(frontend.Options{}), grpc.WriteError, r)
		})
	}
}

func TestWriteErrorOfARefusal(t *testing.T) {
	refusal := frontend.Refusal(http.StatusTooManyRequests, "", http.Header{"Retry-After": {"2"}})
	got := rpctest.Record(grpc.WriteError, rpctest.Request(2, http.MethodPost, "/a.B/C", "", "Content-Type", "application/grpc+proto"), refusal)
	for name, want := range map[string]string{
		"Content-Type": "application/grpc+proto", "Grpc-Status": "8", "Grpc-Message": "Too Many Requests", "Retry-After": "2",
	} {
		if got.Header().Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Header().Get(name), want)
		}
	}
	if got.Code != http.StatusOK || got.Header().Get("Grpc-Status-Details-Bin") == "" || got.Body.Len() > 0 {
		t.Errorf("%d %v %q", got.Code, got.Header(), got.Body)
	}
}
