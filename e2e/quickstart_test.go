package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// demo is a running `make demo`.
type demo struct {
	listen string
	admin  string
	status string
	keys   io.Writer
	cmd    *exec.Cmd
	mu     sync.Mutex
	output strings.Builder
	done   chan error
}

// startDemo runs the README's first command on free ports, in a process group of its own as a shell
// would.
func startDemo(t *testing.T, args ...string) *demo {
	t.Helper()
	d := &demo{listen: kit.FreeAddr(t), admin: kit.FreeAddr(t), status: kit.FreeAddr(t), done: make(chan error, 1)}
	args = append(args, "--listen", d.listen, "--admin", d.admin, "--status", d.status)
	d.cmd = exec.Command("make", "--no-print-directory", "demo", "ARGS="+strings.Join(args, " "))
	d.cmd.Dir = kit.RootDir(t)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	keys, err := d.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.keys = keys
	output, pipe := io.Pipe()
	d.cmd.Stdout, d.cmd.Stderr = pipe, pipe
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(output); lines.Scan(); {
			d.mu.Lock()
			d.output.WriteString(lines.Text() + "\n")
			d.mu.Unlock()
		}
	}()
	go func() {
		d.done <- d.cmd.Wait()
		pipe.Close()
	}()
	t.Cleanup(func() { _ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL) })
	d.waitFor(t, 5*time.Minute, "q  end (so does Ctrl-C)")
	return d
}

func (d *demo) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.String()
}

func (d *demo) waitFor(t *testing.T, limit time.Duration, want string) {
	t.Helper()
	kit.Eventually(t, limit, fmt.Sprintf("the demo says %q", want), func() error {
		select {
		case err := <-d.done:
			t.Fatalf("the demo ended: %v\n%s", err, d.text())
		default:
		}
		if text := d.text(); !strings.Contains(text, want) {
			return fmt.Errorf("it says:\n%s", text)
		}
		return nil
	})
}

// interrupt is Ctrl-C: the whole foreground group gets the signal.
func (d *demo) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-d.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(45 * time.Second):
		t.Fatalf("the demo did not end within 45 s of Ctrl-C\n%s", d.text())
	}
	if text := d.text(); strings.Contains(text, "panic") || !strings.Contains(text, "ending: calls in flight finish") {
		t.Errorf("no clean end:\n%s", text)
	}
}

// tryPages asks for the first addresses that the demo prints: the page about the API, and that for
// operators.
func (d *demo) tryPages(t *testing.T) {
	t.Helper()
	addresses := regexp.MustCompile(`http://\S+`).FindAllString(d.text(), 2)
	wants := []string{`<div id="swagger-ui">`, "<title>gRPC gateway</title>"}
	if len(addresses) != len(wants) {
		t.Fatalf("the demo prints %v", addresses)
	}
	for i, want := range wants {
		resp, err := http.Get(addresses[i])
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), want) {
			t.Errorf("%s has no %s: %s, %v\n%s", addresses[i], want, resp.Status, err, page)
		}
	}
}

// tryDemo runs the commands that the demo prints, as they are printed.
func (d *demo) tryDemo(t *testing.T) {
	t.Helper()
	wants := []string{
		"Ada Lovelace", "Grace Hopper", "Barbara Liskov", "Grace Hopper", // JSON
		`{"number":5,`, `data: {"number":5,`, // streams
		"Grace Hopper", // Connect
		`"state":"READY"`,
	}
	var commands []string
	for line := range strings.Lines(d.text()) {
		if arguments, found := strings.CutPrefix(strings.TrimSpace(line), "curl "); found {
			commands = append(commands, "curl -fsS --max-time 30 "+arguments)
		}
	}
	if len(commands) != len(wants) {
		t.Fatalf("the demo prints %d calls, want %d:\n%s", len(commands), len(wants), d.text())
	}
	for i, command := range commands {
		if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil || !strings.Contains(string(out), wants[i]) {
			t.Errorf("%s: %v, want %s in:\n%s", command, err, wants[i], out)
		}
	}
}

// call makes a call that must succeed whatever was stopped or killed before.
func (d *demo) call(t *testing.T) {
	t.Helper()
	for range 10 {
		code, body, err := kit.GetJSON(http.DefaultClient, "http://"+d.listen+"/v1/users/1")
		if err != nil || code != http.StatusOK || !strings.Contains(body, "Ada Lovelace") {
			t.Fatalf("a call: %d, %v\n%s", code, err, body)
		}
	}
}

// poolSince is the last line about the pool that the demo has printed since it said something.
func (d *demo) poolSince(said string) string {
	_, after, _ := strings.Cut(d.text(), said)
	if i := strings.LastIndex(after, "pool:"); i >= 0 {
		line, _, _ := strings.Cut(after[i:], "\n")
		return line
	}
	return ""
}

// awaitPool asks for the pool until a line about it is right.
func (d *demo) awaitPool(t *testing.T, said, what string, right func(line string) bool) {
	t.Helper()
	kit.Eventually(t, 30*time.Second, what, func() error {
		line := d.poolSince(said)
		if right(line) {
			return nil
		}
		fmt.Fprintln(d.keys, "s")
		time.Sleep(500 * time.Millisecond)
		return fmt.Errorf("%q", line)
	})
}

// TestQuickstartKill: an instance dies as in a crash. No call fails, and the instance leaves the
// pool when its lease ends.
func TestQuickstartKill(t *testing.T) {
	d := startDemo(t, "--listen-etcd", kit.FreeAddr(t))
	fmt.Fprintln(d.keys, "k")
	const said = "was killed: calls go to the others"
	d.waitFor(t, 20*time.Second, said)
	d.call(t)
	d.awaitPool(t, said, "two instances are left", func(line string) bool {
		return strings.Count(line, "127.0.0.1:") == 2 && strings.Count(line, "READY") == 2
	})
	d.call(t)
	d.interrupt(t)
}

// TestQuickstartEtcdAway: etcd stops, and calls go on. It comes back, and an instance can register.
func TestQuickstartEtcdAway(t *testing.T) {
	d := startDemo(t, "--listen-etcd", kit.FreeAddr(t))
	fmt.Fprintln(d.keys, "e")
	const stopped, again = "etcd is stopped: calls go on", "etcd runs again"
	d.waitFor(t, 20*time.Second, stopped)
	d.call(t)
	d.awaitPool(t, stopped, "the pool says that etcd is away", func(line string) bool {
		return strings.Count(line, "READY") == 3 && strings.Contains(line, "etcd is away")
	})
	d.call(t)
	fmt.Fprintln(d.keys, "e")
	d.waitFor(t, 60*time.Second, again)
	d.awaitPool(t, again, "the pool says that etcd is back", func(line string) bool {
		return strings.Count(line, "READY") == 3 && !strings.Contains(line, "etcd is away")
	})
	fmt.Fprintln(d.keys, "+")
	d.waitFor(t, 20*time.Second, "registered itself")
	d.awaitPool(t, "registered itself", "four instances are ready", func(line string) bool { return strings.Count(line, "READY") == 4 })
	fmt.Fprintln(d.keys, "e")
	d.interrupt(t) // while etcd is away
}

// TestQuickstart plays a new user: the printed calls, an instance more, an instance less, Ctrl-C.
func TestQuickstart(t *testing.T) {
	d := startDemo(t, "--listen-etcd", kit.FreeAddr(t))
	d.tryPages(t)
	d.tryDemo(t)
	fmt.Fprintln(d.keys, "+")
	d.waitFor(t, 20*time.Second, "registered itself")
	fmt.Fprintln(d.keys, "-")
	d.waitFor(t, 20*time.Second, "deregistered, finished its calls")
	d.waitFor(t, 20*time.Second, "pool:")
	d.tryDemo(t)
	d.interrupt(t)
}

// TestQuickstartCaddyEnds: the demo says at once that there is no gateway, and why.
func TestQuickstartCaddyEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "demo",
		"ARGS=--caddy false --listen-etcd "+kit.FreeAddr(t)+" --listen "+kit.FreeAddr(t)+" --admin "+kit.FreeAddr(t)+" --status "+kit.FreeAddr(t))
	cmd.Dir = kit.RootDir(t)
	output, err := cmd.CombinedOutput()
	if want := "the Caddy that --caddy names ended by itself: exit status 1"; err == nil || !strings.Contains(string(output), want) {
		t.Errorf("%v, not %q:\n%s", err, want, output)
	}
}

// TestQuickstartWithOwnEtcd: the same against an etcd that is there already, with the Caddy that
// xcaddy built.
func TestQuickstartWithOwnEtcd(t *testing.T) {
	etcd := kit.ProcessEtcd(t)
	d := startDemo(t, "--etcd", etcd.Addr, "--caddy", xcaddyBinary(t))
	d.tryDemo(t)
	fmt.Fprintln(d.keys, "e")
	d.waitFor(t, 20*time.Second, "this etcd is not the demo's own")
	d.interrupt(t)
}

// TestExamplesAdapt: each example's Caddyfile is formatted, adapts to its JSON twin, and validates.
func TestExamplesAdapt(t *testing.T) {
	binary, root := kit.Binary(t), kit.RootDir(t)
	entries, err := os.ReadDir(root + "/examples")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		t.Fatal("there are no examples")
	}
	for _, entry := range entries {
		if slices.Contains(plugins(), entry.Name()) {
			continue // TestXcaddyBuildsPlugins has a Caddy with the plugin.
		}
		t.Run(entry.Name(), func(t *testing.T) { checkExample(t, binary, root+"/examples/"+entry.Name()) })
	}
}

// checkExample checks the example in a directory with a Caddy that has the plugins it needs.
func checkExample(t *testing.T, binary, dir string) {
	t.Helper()
	run := func(args ...string) string {
		cmd := exec.Command(binary, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "POD_NAMESPACE=shop")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("caddy %v: %v\n%s", args, err, stderr.String())
		}
		return string(out)
	}
	source, err := os.ReadFile(dir + "/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if got := run("fmt", "Caddyfile"); got != string(source) {
		t.Errorf("caddy fmt would change the Caddyfile to:\n%s", got)
	}
	twin, err := os.ReadFile(dir + "/caddy.json")
	if err != nil {
		t.Fatal(err)
	}
	if got := run("adapt", "--config", "Caddyfile", "--pretty"); strings.TrimSpace(got) != strings.TrimSpace(string(twin)) {
		t.Errorf("the Caddyfile adapts to:\n%s\nand its JSON twin is:\n%s", got, twin)
	}
	run("validate", "--config", "Caddyfile")
	if _, err := os.Stat(dir + "/README.md"); err != nil {
		t.Errorf("an example has a README: %v", err)
	}
}
