// Package compat makes the same calls to old gateways and to this one. The old ones are real:
// grpc-gateway with the code that it generates, and go-zero's gateway. Ours has the one line that
// docs/migrating.md gives to people who come from there.
//
// Answers are equal byte for byte, or by a rule that the row of the table names (row_test.go).
// Every difference that stays is a row, too, with what each of the two says.
package compat

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/zeromicro/go-zero/core/conf"
	zerogateway "github.com/zeromicro/go-zero/gateway"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	gatewaypb "github.com/caddy-grpc/gateway/e2e/compat/testpb"
	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// startGRPCGateway starts grpc-gateway, as its documentation does, before a backend of its own.
func startGRPCGateway(t *testing.T) (gateway, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	cc, err := grpc.NewClient(backend.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	mux := runtime.NewServeMux()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := gatewaypb.RegisterEchoHandler(ctx, mux, cc); err != nil {
		t.Fatal(err)
	}
	if err := gatewaypb.RegisterLibraryHandler(ctx, mux, cc); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return gateway{server.Listener.Addr().String(), backend.Addr()}, backend
}

// startGoZero starts go-zero's gateway with a gateway.yaml before a backend of its own. change
// completes the config.
func startGoZero(t *testing.T, yaml string, change func(*zerogateway.GatewayConf, string)) (gateway, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	addr := kit.FreeAddr(t)
	var c zerogateway.GatewayConf
	if err := conf.LoadFromYamlBytes([]byte(yaml), &c); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	if c.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	c.Host = host
	c.Log.Level, c.Log.Stat, c.Middlewares.Log = "severe", false, false
	change(&c, backend.Addr())
	server := zerogateway.MustNewServer(c)
	// It serves until the process ends: its Stop closes the log, and no listener.
	go server.Start()
	kit.Eventually(t, 30*time.Second, "go-zero's gateway answers", func() error {
		resp, err := http.Get("http://" + addr + "/nowhere")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
	return gateway{addr, backend.Addr()}, backend
}

// startOurs starts Caddy with a directive before a backend of its own. In the directive, UPSTREAM
// is the address of the backend.
func startOurs(t *testing.T, directive string) (gateway, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	c := kit.StartCaddy(t, kit.Options{Site: strings.ReplaceAll(directive, "UPSTREAM", backend.Addr())})
	c.WaitReady(t, 30*time.Second, backend.Addr())
	return gateway{c.Listen, backend.Addr()}, backend
}
