// Package clients has the gateway called by clients that nobody here wrote: grpcurl, buf curl, and
// in a headless Chromium, from a page of another origin, connect-web and grpc-web. What the
// protocols say in detail is judged by e2e/conformance; here it is shown that the programs people
// have work against a real Caddy.
package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// startGateway runs a backend, and Caddy with the gateway in front of it, whose options are given
// as in a Caddyfile.
func startGateway(t *testing.T, options string) (*kit.Caddy, *testkit.Backend) {
	t.Helper()
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{Site: handler(backend, options)})
	caddy.WaitReady(t, 30*time.Second, backend.Addr())
	return caddy, backend
}

// handler is the directive for a backend.
func handler(backend *testkit.Backend, options string) string {
	return fmt.Sprintf("grpc_gateway %s {\n%s\n}", backend.Addr(), options)
}

// result is what a program has said.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a program to its end, with a limit, and with input on its standard input.
func run(t *testing.T, cmd *exec.Cmd, input string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limited := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	limited.Dir, limited.Env = cmd.Dir, cmd.Env
	var stdout, stderr strings.Builder
	limited.Stdin, limited.Stdout, limited.Stderr = strings.NewReader(input), &stdout, &stderr
	err := limited.Run()
	if ctx.Err() != nil || limited.ProcessState == nil {
		t.Fatalf("%v: %v, %v\n%s%s", cmd.Args, err, ctx.Err(), stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), limited.ProcessState.ExitCode()}
}

// contains fails the test for each of the texts that is not in what a program printed.
func contains(t *testing.T, where, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s has no %q:\n%s", where, want, text)
		}
	}
}
