package kit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

var builds struct {
	sync.Mutex

	dir    string
	caddys map[string]*built
}

// built is a Caddy that was built, or could not be.
type built struct {
	path string
	err  error
}

// Binary builds Caddy with the plugin, with the race detector, once per test process. E2E_CADDY in
// the environment names one that is built already.
func Binary(t testing.TB) string {
	t.Helper()
	if ready := os.Getenv("E2E_CADDY"); ready != "" {
		return ready
	}
	return BinaryOf(t, "cmd/caddy")
}

// BinaryOf builds another Caddy of this repository, as Binary does. dir is where its package main
// is, from the root.
func BinaryOf(t testing.TB, dir string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	b := builds.caddys[dir]
	if b == nil {
		b = buildCaddy(filepath.Join(RootDir(t), dir))
		if builds.caddys == nil {
			builds.caddys = make(map[string]*built)
		}
		builds.caddys[dir] = b
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func buildCaddy(dir string) *built {
	if builds.dir == "" {
		var err error
		if builds.dir, err = os.MkdirTemp("", "e2e-caddy-"); err != nil {
			return &built{err: err}
		}
	}
	b := &built{path: filepath.Join(builds.dir, fmt.Sprintf("caddy-%d", len(builds.caddys)))}
	cmd := exec.Command("go", "build", "-race", "-o", b.path, ".")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	return b
}

// RemoveBinary removes what was built. TestMain calls it.
func RemoveBinary() {
	if builds.dir != "" {
		os.RemoveAll(builds.dir)
	}
}

// RootDir returns the root of the plugin's module.
func RootDir(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/caddy-grpc/gateway").Output()
	if err != nil {
		t.Fatalf("find the root module: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Caddy is a running Caddy process with the plugin.
type Caddy struct {
	Admin  string // address of the admin API
	Listen string // address of the gateway, http://Listen
	cmd    *exec.Cmd
	log    string
	done   chan struct{} // closed when the process has ended
	exit   error         // how, once done
	ended  bool
}

// Options of a Caddy process.
type Options struct {
	// Site is the Caddyfile inside the site block.
	Site string
	// Global is added to the Caddyfile's global options.
	Global string
	// Protocols are the versions of HTTP that the sites speak; default: h1 h2 h2c.
	Protocols string
	// Env is added to the environment, as NAME=value.
	Env []string
	// Data is the directory that Caddy keeps its data in; default: one of its own.
	Data string
	// Whole, if set, returns the whole Caddyfile for a process, instead of Site and Global. It
	// listens at the process's address. The admin API does so without being told.
	Whole func(*Caddy) string
	// Binary to run; default: Binary(t).
	Binary string
}

// StartCaddy runs Caddy with one site on a free port, and waits for its admin API.
func StartCaddy(t testing.TB, opts Options) *Caddy {
	t.Helper()
	if opts.Binary == "" {
		opts.Binary = Binary(t)
	}
	c := &Caddy{Admin: FreeAddr(t), Listen: FreeAddr(t), done: make(chan struct{})}
	dir := t.TempDir()
	c.log = filepath.Join(dir, "caddy.log")
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(c.Caddyfile(opts)), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "XDG_DATA_HOME="+cmp.Or(opts.Data, dir), "XDG_CONFIG_HOME="+dir, "HOME="+dir, "CADDY_ADMIN="+c.Admin)
	env = append(env, opts.Env...)
	c.cmd = exec.Command(opts.Binary, append([]string{"run"}, configArgs(t, opts.Binary, path, env)...)...)
	c.cmd.Env = env
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.done)
		c.exit = c.cmd.Wait()
		log.Close()
	}()
	t.Cleanup(func() { c.cleanup(t) })
	Eventually(t, 30*time.Second, "Caddy's admin API answers", func() error {
		select {
		case <-c.done:
			c.ended = true
			t.Fatalf("Caddy ended at its start: %v\n%s", c.exit, c.Log())
		default:
		}
		_, err := c.get("/config/")
		return err
	})
	return c
}

// configArgs are the arguments of a command of Caddy for a Caddyfile. If a transport is chosen,
// they name a file with the JSON of the Caddyfile and that transport.
func configArgs(t testing.TB, binary, path string, env []string) []string {
	t.Helper()
	plain := []string{"--config", path, "--adapter", "caddyfile"}
	if testkit.Transport() == "" {
		return plain
	}
	adapt := exec.Command(binary, append([]string{"adapt"}, plain...)...)
	adapt.Env = env
	config, err := adapt.Output()
	if err != nil {
		return plain // Caddy will say what is wrong
	}
	if config, err = testkit.WithTransport(config); err != nil {
		t.Fatal(err)
	}
	path += ".json"
	if err := os.WriteFile(path, config, 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", path}
}

// Caddyfile returns the whole Caddyfile of opts for this process: HTTP/1.1 and h2c on one port, no
// grace period.
func (c *Caddy) Caddyfile(opts Options) string {
	if opts.Whole != nil {
		return opts.Whole(c)
	}
	return fmt.Sprintf("{\n\tadmin %s\n\tservers {\n\t\tprotocols %s\n\t}\n%s\n}\n\nhttp://%s {\n%s\n}\n",
		c.Admin, cmp.Or(opts.Protocols, "h1 h2 h2c"), opts.Global, c.Listen, opts.Site)
}

// URL returns the URL of a path of the gateway.
func (c *Caddy) URL(path string) string { return "http://" + c.Listen + path }

// Log returns what Caddy has logged so far.
func (c *Caddy) Log() string {
	text, _ := os.ReadFile(c.log)
	return string(text)
}

// Reload loads a config through the admin API, and returns the error that Caddy answers with.
func (c *Caddy) Reload(opts Options) error {
	kind, config := "text/caddyfile", []byte(c.Caddyfile(opts))
	if adapted, ok := c.adapted(config); ok {
		kind, config = "application/json", adapted
	}
	resp, err := http.Post("http://"+c.Admin+"/load", kind, bytes.NewReader(config))
	if err != nil {
		return fmt.Errorf("load a config: %w", err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("load a config: %d %s", resp.StatusCode, bytes.TrimSpace(text))
	}
	return nil
}

// adapted returns the JSON of a Caddyfile with the chosen transport. It returns false if none is
// chosen, or if the Caddyfile is wrong.
func (c *Caddy) adapted(caddyfile []byte) ([]byte, bool) {
	if testkit.Transport() == "" {
		return nil, false
	}
	resp, err := http.Post("http://"+c.Admin+"/adapt", "text/caddyfile", bytes.NewReader(caddyfile))
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return nil, false
	}
	config, err := testkit.WithTransport(answer.Result)
	return config, err == nil
}

func (c *Caddy) get(path string) ([]byte, error) {
	resp, err := http.Get("http://" + c.Admin + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", path, resp.StatusCode, text)
	}
	return text, err
}

// Config returns the config that Caddy says it runs.
func (c *Caddy) Config(t testing.TB) string {
	t.Helper()
	text, err := c.get("/config/")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Registry is what the tests read of an Upstream's registry.
type Registry struct {
	Stale     bool       `json:"stale"`
	Snapshot  *time.Time `json:"snapshot"`
	Error     string     `json:"error"`
	Instances int        `json:"instances"`
}

// Upstream is what the tests read of the admin API's /grpc_gateway/upstreams.
type Upstream struct {
	Name      string   `json:"name"`
	Registry  Registry `json:"registry"`
	Endpoints []struct {
		Address     string `json:"address"`
		State       string `json:"state"`
		Connections int    `json:"connections"`
		InFlight    int    `json:"in_flight"`
	} `json:"endpoints"`
}

// Upstreams asks the admin API.
func (c *Caddy) Upstreams() ([]Upstream, error) {
	text, err := c.get("/grpc_gateway/upstreams")
	if err != nil {
		return nil, err
	}
	var upstreams []Upstream
	if err := json.Unmarshal(text, &upstreams); err != nil {
		return nil, fmt.Errorf("read /grpc_gateway/upstreams: %w: %s", err, text)
	}
	return upstreams, nil
}

// WaitReady waits until the admin API shows exactly these endpoints as READY, and returns how long
// it took.
func (c *Caddy) WaitReady(t testing.TB, limit time.Duration, addrs ...string) time.Duration {
	t.Helper()
	return Eventually(t, limit, fmt.Sprintf("READY: %v", addrs), func() error {
		upstreams, err := c.Upstreams()
		if err != nil {
			return err
		}
		ready := map[string]bool{}
		for _, upstream := range upstreams {
			for _, endpoint := range upstream.Endpoints {
				if endpoint.State == "READY" {
					ready[endpoint.Address] = true
				}
			}
		}
		for _, addr := range addrs {
			if !ready[addr] {
				return fmt.Errorf("%s is not READY: %+v", addr, upstreams)
			}
		}
		if len(ready) != len(addrs) {
			return fmt.Errorf("%d endpoints are READY, not %d: %+v", len(ready), len(addrs), upstreams)
		}
		return nil
	})
}

// CPU returns the processor time that the process has used.
func (c *Caddy) CPU(t testing.TB) time.Duration {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// The name of the program, in parentheses, may have spaces. User and system time are the 12th
	// and 13th field after it, in hundredths of a second.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		t.Fatalf("read the processor time: %q", raw)
	}
	var total time.Duration
	for _, field := range fields[11:13] {
		ticks, err := strconv.Atoi(field)
		if err != nil {
			t.Fatalf("read the processor time: %v", err)
		}
		total += time.Duration(ticks) * 10 * time.Millisecond
	}
	return total
}

// Terminate sends SIGTERM without waiting.
func (c *Caddy) Terminate(t testing.TB) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// Wait waits for the process to end, and fails the test when it does not or when it ends with an
// error.
func (c *Caddy) Wait(t testing.TB, limit time.Duration) {
	t.Helper()
	select {
	case <-c.done:
		c.ended = true
		if c.exit != nil {
			t.Fatalf("Caddy ended with %v\n%s", c.exit, c.Log())
		}
	case <-time.After(limit):
		t.Fatalf("Caddy did not end within %v of SIGTERM\n%s", limit, c.Log())
	}
}

// cleanup ends the process, and fails the test when the log shows a panic or a data race.
func (c *Caddy) cleanup(t testing.TB) {
	if !c.ended {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(45 * time.Second):
			_ = c.cmd.Process.Signal(syscall.SIGQUIT)
			t.Error(errors.New("Caddy did not end within 45 s of SIGTERM"))
			<-c.done
		}
	}
	log := c.Log()
	for _, bad := range []string{"DATA RACE", "panic:", "http: panic serving"} {
		if strings.Contains(log, bad) {
			t.Errorf("Caddy's log has %q:\n%s", bad, log)
			return
		}
	}
	if t.Failed() {
		t.Logf("Caddy's log:\n%s", log)
	}
}
