package rest

import (
	"net/http"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Requests that a page can make a browser send to any site without a preflight request.
func TestRequestsOfOtherSitesAreNotExecuted(t *testing.T) {
	w := newWorld(t, frontend.Options{Forms: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct {
			name, method, path, body, contentType string
		}{
			{"without a type", "POST", "/v1/echo", `{"text":"x"}`, ""},
			{"without a type or a body", "POST", "/v1/echo", "", ""},
			{"by name", "POST", "/gateway.test.v1.Echo/Unary", `{"text":"x"}`, ""},
			{"a method that deletes, by name", "POST", "/gateway.test.v1.Library/DeleteBook", `{"name":"shelves/1/books/1"}`, ""},
			{"HttpBody", "POST", "/v1/upload/a", "x", "text/plain"},
			{"a form", "POST", "/v1/echo", "text=x", "application/x-www-form-urlencoded"},
			{"a client stream", "POST", "/v1/collect", `{"text":"x"}`, ""},
			{"a server stream", "POST", "/v1/stream", `{"count":1}`, ""},
			{"both ways", "POST", "/v1/chat", `{"text":"x"}`, ""},
			{"a stream of HttpBody", "POST", "/v1/upload-stream", "x", "text/plain"},
			{"JSON", "POST", "/v1/echo", `{"text":"x"}`, "application/json"},
			{"DELETE", "DELETE", "/v1/shelves/1/books/1", "", ""},
			{"no route", "POST", "/v1/nowhere", "", ""},
		} {
			t.Run(tc.name, func(t *testing.T) {
				for _, headers := range [][]string{
					{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"},
					{"Sec-Fetch-Site: same-site"},
					{"Origin: https://evil.example"},
					{"Origin: null"},
				} {
					if tc.contentType != "" {
						headers = append(headers, "Content-Type: "+tc.contentType)
					}
					c.do(tc.method, tc.path, tc.body, headers...).wantError(t, http.StatusForbidden, 7, "may not call")
				}
			})
		}
	})
	if n := w.backend.Calls(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

func TestRequestsOfOwnPagesAreExecuted(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for name, headers := range map[string][]string{
			"not a browser":  nil,
			"own page":       {"Sec-Fetch-Site: same-origin", "Origin: " + w.url},
			"an old browser": {"Origin: " + w.url},
		} {
			if got := c.do("POST", "/v1/echo", `{"text":"x"}`, headers...); got.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
			}
		}
		if got := c.do("GET", "/v1/echo/x", nil, "Sec-Fetch-Site: cross-site"); got.StatusCode != http.StatusOK {
			t.Errorf("a link of another site: %d %s", got.StatusCode, got.body)
		}
	})
}
