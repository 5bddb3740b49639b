package module_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// The handler intercept gives an answer another status. For an answer that says nothing this may be
// one without a body, and no error is logged.
func TestStatusByIntercept(t *testing.T) {
	const remove = "/gateway.test.v1.Library/DeleteBook"
	for name, tt := range map[string]struct {
		status int
		rest   bool
	}{
		"no content":                         {http.StatusNoContent, true},
		"no content, by the name of the RPC": {http.StatusNoContent, false},
		"not modified":                       {http.StatusNotModified, true},
		"accepted":                           {http.StatusAccepted, true},
	} {
		t.Run(name, func(t *testing.T) {
			backend := testkit.StartBackend(t)
			s := newSite(t)
			s.load("", fmt.Sprintf("intercept {\n @ok header Content-Type application/json\n replace_status @ok %d\n }\n grpc_gateway %s", tt.status, backend.Addr()))
			eventually(t, "routes", func() bool { return s.get("/v1/echo/x").status == tt.status || s.get("/v1/echo/x").status < 0 })
			before := strings.Count(read(t, s.logFile()), "does not allow body")
			got := s.do(http.MethodPost, remove, `{"name":"shelves/1/books/1"}`)
			if tt.rest {
				got = s.do(http.MethodDelete, "/v1/shelves/1/books/2", "")
			}
			if got.status != tt.status || got.body != "" {
				t.Errorf("got %s", got)
			}
			if n := strings.Count(read(t, s.logFile()), "does not allow body"); n != before {
				t.Errorf("the log has %d such errors", n-before)
			}
		})
	}
}
