package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// patience is how long to wait for what must happen.
const patience = 30 * time.Second

// Config says how a peer is started.
type Config struct {
	// Streams is the maximum number of concurrent streams of a connection. Default: the peer's own.
	Streams int
	// MaxMessage is the maximum size of a request message, in bytes. Default: 64 MiB. Proxies do
	// not look at messages, so it is the limit of the server behind them.
	MaxMessage int
	// Pings permits a ping each millisecond. Default: the peer's own policy.
	Pings bool
}

// Peer is a running server. It is stopped when the test ends.
type Peer struct {
	// Addr is its address.
	Addr string
	// log is the file that its calls are in.
	log string

	kind *Kind
	cfg  Config
	// backend is the server behind a proxy. Nil: it is not a proxy.
	backend *backend

	// process is what was started last.
	process *process
}

// process is a running process with its children.
type process struct {
	cmd    *exec.Cmd
	output *output
	// ended is closed when it has ended.
	ended chan struct{}
}

// output keeps what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start starts a peer, and waits until it accepts connections.
func Start(t testing.TB, kind *Kind, cfg Config) *Peer {
	t.Helper()
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 64 << 20
	}
	p := &Peer{Addr: freeAddr(t), kind: kind, cfg: cfg, log: filepath.Join(t.TempDir(), "calls.log")}
	if err := os.WriteFile(p.log, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kind.Proxy {
		p.backend = startBackend(t, p.log, cfg)
	}
	t.Cleanup(func() { p.Kill(t) })
	p.Restart(t)
	return p
}

// Kind is the kind of the peer.
func (p *Peer) Kind() *Kind { return p.kind }

// freeAddr is an address that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	return lis.Addr().String()
}

// port is the port of an address.
func port(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// Restart starts a peer again that has ended. It has the same address.
func (p *Peer) Restart(t testing.TB) {
	t.Helper()
	cmd := p.kind.command(t, p)
	out := new(output)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: %v (make test-peers installs what is needed)", cmd.Args, err)
	}
	started := &process{cmd: cmd, output: out, ended: make(chan struct{})}
	go func() {
		defer close(started.ended)
		_ = cmd.Wait()
	}()
	p.process = started
	kit.Eventually(t, patience, p.kind.Name+" listens", func() error {
		select {
		case <-started.ended:
			t.Fatalf("%s has ended: %s\n%s", p.kind.Name, cmd.ProcessState, out)
		default:
		}
		nc, err := net.Dial("tcp", p.Addr)
		if err == nil {
			_ = nc.Close()
		}
		return err
	})
}

// Stop makes the peer end after its calls. It does not wait.
func (p *Peer) Stop(t testing.TB) {
	t.Helper()
	if err := p.process.cmd.Process.Signal(p.kind.stop); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the peer at once, without a word to its clients.
func (p *Peer) Kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	p.Wait(t)
}

// LoseBackend ends the server behind a proxy at once. Its calls do not end.
func (p *Peer) LoseBackend() { p.backend.server.Stop() }

// Freeze stops the peer. Its connections stay. Thaw lets it go on.
func (p *Peer) Freeze(t testing.TB) { p.signal(t, syscall.SIGSTOP) }

// Thaw lets a peer go on after Freeze.
func (p *Peer) Thaw(t testing.TB) { p.signal(t, syscall.SIGCONT) }

// signal sends a signal to the peer's processes.
func (p *Peer) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if p.process == nil {
		return
	}
	err := syscall.Kill(-p.process.cmd.Process.Pid, s)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Error(err)
	}
}

// Wait waits until the peer has ended.
func (p *Peer) Wait(t testing.TB) {
	t.Helper()
	if p.process == nil {
		return
	}
	select {
	case <-p.process.ended:
	case <-time.After(patience):
		t.Fatalf("%s does not end:\n%s", p.kind.Name, p.process.output)
	}
}

// Output is what the peer has printed.
func (p *Peer) Output() string { return p.process.output.String() }

// Calls are the calls that the server has begun. The values are how often it logged each word, such
// as "start".
func (p *Peer) Calls(t testing.TB) map[string]map[string]int {
	t.Helper()
	lines, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]map[string]int)
	for line := range strings.Lines(string(lines)) {
		what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if calls[id] == nil {
			calls[id] = make(map[string]int)
		}
		calls[id][what]++
	}
	return calls
}

// Concurrent is the maximum number of calls that the server had at a time.
func (p *Peer) Concurrent(t testing.TB) int {
	t.Helper()
	lines, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	now, most := 0, 0
	for line := range strings.Lines(string(lines)) {
		if strings.HasPrefix(line, "start ") {
			now++
		} else {
			now--
		}
		most = max(most, now)
	}
	return most
}

// flags are the arguments of the servers.
func (p *Peer) flags() []string {
	return []string{
		"--port", port(p.Addr), "--log", p.log, "--max-message", strconv.Itoa(p.cfg.MaxMessage),
		"--streams", strconv.Itoa(p.cfg.Streams), "--pings", fmt.Sprint(p.cfg.Pings),
	}
}
