// Package e2e runs the gateway as its users do: a real Caddy process, real etcd servers, real gRPC
// servers that register themselves in the ways of go-zero, kratos, kitex and etcd.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// echoGet asks for GET /v1/echo/{text} with the id as text.
func echoGet(c *kit.Caddy) kit.Request {
	return func(ctx context.Context, id string) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodGet, c.URL("/v1/echo/"+url.PathEscape(id)), nil)
	}
}

// echoed checks that an answer of the Echo service carries the id.
func echoed(id string, body []byte) error {
	var answer struct{ Text string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("answer %q: %w", body, err)
	}
	if answer.Text != id {
		return fmt.Errorf("answer for %q, not for %q", answer.Text, id)
	}
	return nil
}

// whoAnswers returns the address of the backend that answered a call.
func whoAnswers(client *http.Client, c *kit.Caddy) (string, error) {
	code, body, err := kit.GetJSON(client, c.URL("/v1/echo/who"))
	if err != nil {
		return "", err
	}
	var answer struct{ Backend string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
		return "", fmt.Errorf("status %d: %s (%w)", code, body, err)
	}
	return answer.Backend, nil
}

// site is the body of a site block with the gateway for an etcd key.
func site(etcd *kit.Etcd, key, block string) string {
	return fmt.Sprintf("grpc_gateway {\n\tupstream user {\n\t\tdiscover etcd %s {\n\t\t\tcluster main\n\t\t}\n%s\n\t}\n}", key, block)
}

// cluster is the global option that names the etcd of a test "main".
func cluster(etcd *kit.Etcd) string {
	return fmt.Sprintf("grpc_gateway {\n\tetcd main {\n\t\tendpoints %s\n\t}\n}", etcd.Addr)
}

func options(etcd *kit.Etcd, key, block string) kit.Options {
	return kit.Options{Global: cluster(etcd), Site: site(etcd, key, block)}
}
