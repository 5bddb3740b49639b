package connect_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
)

func TestWriteErrorAnswersAsServe(t *testing.T) {
	for _, tc := range []struct {
		name        string
		version     int
		method      string
		contentType string
	}{
		{"unary proto", 2, http.MethodPost, "application/proto"},
		{"unary JSON over HTTP/1.1", 1, http.MethodPost, "application/json"},
		{"stream proto", 2, http.MethodPost, "application/connect+proto"},
		{"stream JSON over HTTP/1.1", 1, http.MethodPost, "application/connect+json"},
		{"stream by GET", 2, http.MethodGet, "application/connect+json"},
		{"GET", 2, http.MethodGet, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rpctest.Request(tc.version, tc.method, "/a.B/C?connect=v1&encoding=json&message=%7B%7D", "body", "Content-Type", tc.contentType)
			rpctest.CheckWriteError(t, connect.New(frontend.Options{}), connect.WriteError, r)
		})
	}
}

func TestWriteErrorOfARefusal(t *testing.T) {
	limit := frontend.Refusal(http.StatusTooManyRequests, "", http.Header{"Retry-After": {"2"}})
	redirect := frontend.Refusal(http.StatusFound, "", http.Header{"Location": {"/login"}})
	const detail = `"details":[{"type":"google.rpc.RetryInfo","value":"CgIIAg","debug":{"retryDelay":"2s"}}]`
	for _, tc := range []struct {
		name, method, contentType string
		refusal                   *frontend.Error
		status                    int
		answers                   string // the content type
		body                      string
	}{
		{"unary", http.MethodPost, "application/proto", limit, 429, "application/json",
			`{"code":"resource_exhausted","message":"Too Many Requests",` + detail + `}`},
		{"GET", http.MethodGet, "", limit, 429, "application/json",
			`{"code":"resource_exhausted","message":"Too Many Requests",` + detail + `}`},
		{"stream", http.MethodPost, "application/connect+json", limit, 200, "application/connect+json",
			`{"error":{"code":"resource_exhausted","message":"Too Many Requests",` + detail + `}}`},
		{"a redirect is not followed", http.MethodPost, "application/json", redirect, 500, "application/json",
			`{"code":"unknown","message":"the policy answered with HTTP 302"}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := rpctest.Record(connect.WriteError, rpctest.Request(1, tc.method, "/a.B/C", "", "Content-Type", tc.contentType), tc.refusal)
			if got.Code != tc.status || got.Header().Get("Content-Type") != tc.answers {
				t.Errorf("%d %v, want %d %s", got.Code, got.Header(), tc.status, tc.answers)
			}
			body := got.Body.String()
			if strings.Contains(tc.answers, "connect") {
				if body[0] != 2 || int(body[4]) != len(body)-5 {
					t.Fatalf("%q is not one last envelope", body)
				}
				body = body[5:]
			}
			if body != tc.body {
				t.Errorf("got %s\nwant %s", body, tc.body)
			}
		})
	}
}
