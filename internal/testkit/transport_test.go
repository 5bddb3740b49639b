package testkit_test

import (
	"testing"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestWithTransport(t *testing.T) {
	const before = `{"apps":{"grpc_gateway":{"catalogs":{"a":{"registry":{"source":"etcd"}},"b":{"registry":{},"upstream":{"transport":"grpc"}}},` +
		`"upstreams":{"a":{"discover":{"source":"static"}},"b":{"discover":{},"transport":"grpc"}}},"http":[{"upstreams":[{"discover":{}}]}]}}`
	for transport, want := range map[string]string{
		"": before,
		"wire": `{"apps":{"grpc_gateway":{"catalogs":{"a":{"registry":{"source":"etcd"},"upstream":{"transport":"wire"}},"b":{"registry":{},"upstream":{"transport":"grpc"}}},` +
			`"upstreams":{"a":{"discover":{"source":"static"},"transport":"wire"},"b":{"discover":{},"transport":"grpc"}}},` +
			`"http":[{"upstreams":[{"discover":{},"transport":"wire"}]}]}}`,
	} {
		t.Setenv("GATEWAY_TRANSPORT", transport)
		got, err := testkit.WithTransport([]byte(before))
		if err != nil || string(got) != want {
			t.Errorf("%q: %v\ngot  %s\nwant %s", transport, err, got, want)
		}
	}
	t.Setenv("GATEWAY_TRANSPORT", "wire")
	if _, err := testkit.WithTransport([]byte("{")); err == nil {
		t.Error("no error for a config that is not JSON")
	}
}
