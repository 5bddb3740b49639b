package module_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// process is a Caddy in its own process, which runs this test binary.
type process struct {
	*site
	cmd    *exec.Cmd
	output bytes.Buffer
}

func startProcess(t *testing.T, body string) *process {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to be sent")
	}
	s := &site{t: t, addr: freeAddr(t), admin: freeAddr(t), dir: t.TempDir(), client: &http.Client{Timeout: 20 * time.Second}}
	file := filepath.Join(s.dir, "Caddyfile")
	write(t, file, s.caddyfile("", body))
	p := &process{site: s, cmd: exec.Command(os.Args[0], "run", "--config", file, "--adapter", "caddyfile")}
	p.cmd.Env = append(os.Environ(), runAsCaddy+"=1", "XDG_CONFIG_HOME="+s.dir, "XDG_DATA_HOME="+s.dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	eventually(t, "the server answers", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })
	return p
}

// terminate sends SIGTERM and returns what ends the process.
func (p *process) terminate() <-chan error {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	return ended
}

func (p *process) wantEnd(ended <-chan error) {
	p.t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("the process: %v\n%s", err, &p.output)
		}
	case <-time.After(20 * time.Second):
		p.t.Errorf("the process does not end")
	}
}

func TestExitWaitsForCalls(t *testing.T) {
	backend := testkit.StartBackend(t)
	p := startProcess(t, "grpc_gateway "+backend.Addr())
	call := make(chan answer, 1)
	go func() { call <- p.get("/v1/echo/x?script.delay=1s") }()
	eventually(t, "in flight", func() bool { return backend.InFlight() > 0 })
	ended := p.terminate()
	if got := <-call; got.status != http.StatusOK {
		t.Errorf("the call: %s", got)
	}
	p.wantEnd(ended)
	eventually(t, "connections closed", func() bool { return backend.Open() == 0 })
}

func TestExitCutsOffCalls(t *testing.T) {
	backend := testkit.StartBackend(t)
	p := startProcess(t, "grpc_gateway {\n timeout off\n upstream a {\n discover static "+backend.Addr()+"\n drain_timeout 500ms\n }\n }")
	call := make(chan answer, 1)
	go func() { call <- p.get("/v1/echo/x?script.delay=60s") }()
	eventually(t, "in flight", func() bool { return backend.InFlight() > 0 })
	ended := p.terminate()
	if got := <-call; got.status != http.StatusServiceUnavailable || got.field("code") != 14. {
		t.Errorf("the call: %s", got)
	}
	p.wantEnd(ended)
}
