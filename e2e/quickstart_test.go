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
	d := &demo{listen: kit.FreeAddr(t), admin: kit.FreeAddr(t), done: make(chan error, 1)}
	args = append(args, "--listen", d.listen, "--admin", d.admin)
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
	d.waitFor(t, 5*time.Minute, "Try, in another terminal")
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

// tryPage asks for the first address that the demo prints: that of the page.
func (d *demo) tryPage(t *testing.T) {
	t.Helper()
	address := regexp.MustCompile(`http://\S+`).FindString(d.text())
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(page), `<div id="swagger-ui">`) {
		t.Errorf("%s is not the page: %s, %v\n%s", address, resp.Status, err, page)
	}
}

// tryDemo runs the commands that the demo prints, as they are printed.
func (d *demo) tryDemo(t *testing.T) {
	t.Helper()
	wants := []string{"Ada Lovelace", "Grace Hopper", "Barbara Liskov", "Grace Hopper", `"state":"READY"`}
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

// TestQuickstart plays a new user: the printed calls, an instance more, an instance less, Ctrl-C.
func TestQuickstart(t *testing.T) {
	d := startDemo(t, "--listen-etcd", kit.FreeAddr(t))
	d.tryPage(t)
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
		"ARGS=--caddy false --listen-etcd "+kit.FreeAddr(t)+" --listen "+kit.FreeAddr(t)+" --admin "+kit.FreeAddr(t))
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
