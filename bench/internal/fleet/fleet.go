// Package fleet runs the processes of the comparison: the backend, the gateways and the load
// generator, each kept to its core and with the same settings of the garbage collector.
package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/traffic"
	"github.com/caddy-grpc/gateway/internal/freeport"
)

// Fleet is a set of processes that stop together.
type Fleet struct {
	Bin string // directory of the programs, see Build
	// Cores to run on, as taskset names them. Empty is any.
	GatewayCore, LoadCore string
	Env                   []string // beside the present one, for every process
	// BackendArgs are more arguments of the backend. It listens on Near, 127.0.0.1 by default, and
	// is reached at Far, the same by default.
	BackendArgs []string
	Near, Far   string

	dir       string
	debug     string // address of the backend's /debug/vars
	probes    int    // connections to the backend that are the fleet's own
	backend   string // address, gRPC
	connect   string // address, the Connect protocol over HTTP/2
	processes []*exec.Cmd
	toLoad    *json.Encoder
	fromLoad  *json.Decoder
}

// Build compiles the programs into a directory. It runs in the module's directory.
func Build(bin string) error {
	cmd := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./peers/...", "./load")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the programs: %w", err)
	}
	return nil
}

// Start runs the backend and the load generator.
func (f *Fleet) Start() (err error) {
	if f.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return err
	}
	set, err := canned.Protoset()
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.protoset(), set, 0o600); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	near := ports[0]
	f.backend, f.connect, f.debug = near, ports[1], ports[2]
	if f.Near != "" {
		near, f.backend = move(near, f.Near), move(near, f.Far)
	}
	args := append([]string{"-listen", near, "-connect", f.connect, "-debug", f.debug}, f.BackendArgs...)
	if _, err := f.run(f.LoadCore, f.program("backend"), args...); err != nil {
		return err
	}
	load := f.command(f.LoadCore, f.program("load"))
	in, err := load.StdinPipe()
	if err != nil {
		return err
	}
	out, err := load.StdoutPipe()
	if err != nil {
		return err
	}
	f.toLoad, f.fromLoad = json.NewEncoder(in), json.NewDecoder(out)
	if err := load.Start(); err != nil {
		return err
	}
	f.processes = append(f.processes, load)
	if err := errors.Join(listening(near), listening(f.connect), listening(f.debug)); err != nil {
		return err
	}
	f.probes = 1 // which has just seen that the backend listens
	return nil
}

// Backend is the address of the backend, as a gateway sees it.
func (f *Fleet) Backend() string { return f.backend }

// Connections is how many connections gateways have made to the backend.
func (f *Fleet) Connections() (int, error) {
	n, err := f.accepted()
	return n - f.probes, err
}

// Accepted waits until there were so many.
func (f *Fleet) Accepted(n int) error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		got, err := f.Connections()
		if err != nil || got >= n {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d connections were made", got, n)
		}
	}
}

func (f *Fleet) accepted() (int, error) {
	resp, err := http.Get("http://" + f.debug + "/debug/vars")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var vars struct {
		Accepted int `json:"accepted"`
	}
	err = json.NewDecoder(resp.Body).Decode(&vars)
	return vars.Accepted, err
}

// move keeps the port of an address.
func move(addr, host string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, port)
}

// Stop ends all processes and waits for them.
func (f *Fleet) Stop() {
	for _, p := range f.processes {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	os.RemoveAll(f.dir)
}

// Gateway is a running one.
type Gateway struct {
	Addr, Debug string
	PID         int

	fleet *Fleet
	cmd   *exec.Cmd
}

// Stop ends it before the others.
func (g *Gateway) Stop() {
	g.fleet.processes = slices.DeleteFunc(g.fleet.processes, func(p *exec.Cmd) bool { return p == g.cmd })
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}

// Launch runs a gateway and waits until it accepts connections.
func (f *Fleet) Launch(p Peer) (*Gateway, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	g := &Gateway{Addr: ports[0], Debug: ports[1], fleet: f}
	program, args := f.program(p.Program), []string{"-listen", g.Addr, "-debug", g.Debug, "-backend", f.backend}
	if p.Site != nil {
		file := filepath.Join(f.dir, strings.ReplaceAll(p.Name, " ", "-")+".caddyfile")
		if err := os.WriteFile(file, []byte(f.caddyfile(p, g)), 0o600); err != nil {
			return nil, err
		}
		args = []string{"run", "--config", file, "--adapter", "caddyfile"}
	}
	if p.Binary != "" {
		program = p.Binary
	}
	cmd, err := f.run(f.GatewayCore, program, args...)
	if err != nil {
		return nil, err
	}
	g.PID, g.cmd = cmd.Process.Pid, cmd
	if err := errors.Join(listening(g.Addr), listening(g.Debug)); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return g, nil
}

func (f *Fleet) caddyfile(p Peer, g *Gateway) string {
	_, port, _ := net.SplitHostPort(g.Addr)
	site := p.Site(Backends{GRPC: f.backend, Connect: f.connect, Protoset: f.protoset()})
	return fmt.Sprintf("{\n\tadmin %s\n\tauto_https off\n\tpersist_config off\n\tlog {\n\t\tlevel ERROR\n\t}\n\tservers {\n\t\tprotocols h1 h2c\n\t}\n}\nhttp://:%s {\nbind 127.0.0.1\n%s\n}\n",
		g.Debug, port, site)
}

// Measure makes the load generator run a cell.
func (f *Fleet) Measure(c traffic.Cell) (traffic.Result, error) {
	var answer struct {
		Result traffic.Result
		Error  string
	}
	if err := f.toLoad.Encode(c); err != nil {
		return answer.Result, err
	}
	if err := f.fromLoad.Decode(&answer); err != nil {
		return answer.Result, fmt.Errorf("load generator: %w", err)
	}
	if answer.Error != "" {
		return answer.Result, &CellError{answer.Error}
	}
	if answer.Result.Wrong > 0 {
		return answer.Result, &CellError{fmt.Sprintf("%d of %d answers are wrong: %s", answer.Result.Wrong, answer.Result.Requests, answer.Result.FirstWrong)}
	}
	return answer.Result, nil
}

// CellError is about one cell: its gateway cannot be reached, or has answered wrongly. Others can
// still be measured.
type CellError struct{ text string }

func (e *CellError) Error() string { return e.text }

func (f *Fleet) protoset() string           { return filepath.Join(f.dir, "bench.binpb") }
func (f *Fleet) program(name string) string { return filepath.Join(f.Bin, name) }

func (f *Fleet) run(core, program string, args ...string) (*exec.Cmd, error) {
	cmd := f.command(core, program, args...)
	cmd.Stdout = io.Discard
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f.processes = append(f.processes, cmd)
	return cmd, nil
}

func (f *Fleet) command(core, program string, args ...string) *exec.Cmd {
	if core != "" {
		args = append([]string{"-c", core, program}, args...)
		program = "taskset"
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "XDG_DATA_HOME="+f.dir, "XDG_CONFIG_HOME="+f.dir)
	cmd.Env = append(cmd.Env, f.Env...)
	return cmd
}

func freePorts(n int) ([]string, error) {
	addrs := make([]string, n)
	for i := range addrs {
		var err error
		if addrs[i], err = freeport.Addr(); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}

// listening waits until somebody accepts connections.
func listening(addr string) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nobody listens: %w", err)
		}
	}
}
