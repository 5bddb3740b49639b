package operators

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestExitCodes runs `caddy grpc-gateway` beside a real Caddy. Each row of the table of exit codes
// in docs/operations.md is produced, and nothing else.
func TestExitCodes(t *testing.T) {
	c := newCommands(t)
	rows := exitCodeRows(t)
	produced := make(map[string]bool)
	for name, tt := range map[string]struct {
		args []string
		code int
		says string // on standard output or standard error
	}{
		"all upstreams":            {[]string{"upstreams"}, 0, "connection refused"},
		"an upstream that is well": {[]string{"upstreams", "--check", "user"}, 0, "READY"},
		"its routes":               {[]string{"routes", "--check", "gateway.test.v1.Echo/Unary"}, 0, "/v1/echo/{text}"},
		"no catalog":               {[]string{"catalog", "--check"}, 0, "There is no catalog"},
		"a call":                   {[]string{"call", "gateway.test.v1.Echo/Unary", `{"text":"hello"}`}, 0, `"text":"hello"`},
		"an unknown flag":          {[]string{"upstreams", "--nonsense"}, 1, "unknown flag"},
		"a bad method":             {[]string{"call", "nonsense"}, 1, "expected package.Service/Method"},
		"no admin endpoint":        {[]string{"upstreams", "--address", kit.FreeAddr(t)}, 4, "connection refused"},
		"no site":                  {[]string{"call", "--address", kit.FreeAddr(t), "a.B/C"}, 4, "connection refused"},
		"no such upstream":         {[]string{"upstreams", "usr"}, 5, `there is no upstream "usr": expected one of dead, user`},
		"no such service":          {[]string{"routes", "no.Such"}, 5, `there is no service "no.Such": expected one of gateway.test.v1.Echo`},
		"no such catalog":          {[]string{"catalog", "fleet"}, 5, "there are none at all"},
		"an upstream that is out":  {[]string{"upstreams", "--check"}, 6, "dead: "},
		"routes that are missing":  {[]string{"routes", "--check"}, 6, "dead: the methods are not known"},
		"NOT_FOUND":                {[]string{"call", "gateway.test.v1.Echo/Unary", `{"script":{"failCode":5}}`}, 64 + 5, "HTTP 404"},
		"a stream that fails":      {[]string{"call", "gateway.test.v1.Echo/ServerStream", `{"count":3,"script":{"failCode":8,"failAfter":1}}`}, 64 + 8, "code 8"},
		"a service that is away":   {[]string{"call", "--address", c.caddy.URL("/dead"), "gateway.test.v1.Echo/Unary"}, 64 + 14, "HTTP 503"},
	} {
		t.Run(name, func(t *testing.T) {
			row := fmt.Sprint(tt.code)
			if tt.code >= 64 {
				row = "64 + n"
			}
			if !rows[row] {
				t.Fatalf("docs/operations.md has no row for the exit code %s", row)
			}
			produced[row] = true
			out := kit.Run(t, c.command(tt.args...), "")
			if out.Code != tt.code {
				t.Errorf("exit code %d, want %d", out.Code, tt.code)
			}
			kit.Contains(t, "the output", out.Stdout+out.Stderr, tt.says)
		})
	}
	for row := range rows {
		if !produced[row] {
			t.Errorf("no case produces the exit code %s", row)
		}
	}
}

// TestWatch watches an upstream into a pipe, and interrupts it.
func TestWatch(t *testing.T) {
	c := newCommands(t)
	cmd := c.command("upstreams", "--watch=100ms", "user")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	times := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "--- ") {
			continue
		}
		if times++; times == 3 {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || times < 3 {
		t.Errorf("shown %d times, and ended with %v", times, err)
	}
}

// commands are those of a Caddy with two upstreams: user at /, and dead below /dead/.
type commands struct {
	t      *testing.T
	caddy  *kit.Caddy
	config string // its Caddyfile
}

func newCommands(t *testing.T) *commands {
	t.Helper()
	options := kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\nupstream user {\ndiscover static %s\n}\nupstream dead {\ndiscover static %s\n}\n}",
			testkit.StartBackend(t).Addr(), kit.FreeAddr(t)),
		Site: "handle_path /dead/* {\ngrpc_gateway dead\n}\nhandle {\ngrpc_gateway user\n}",
	}
	c := &commands{t: t, caddy: kit.StartCaddy(t, options), config: filepath.Join(t.TempDir(), "Caddyfile")}
	write(t, c.config, []byte(c.caddy.Caddyfile(options)))
	kit.Eventually(t, patience, "the upstream user is well", func() error {
		if out := kit.Run(t, c.command("upstreams", "--check", "user"), ""); out.Code != 0 {
			return fmt.Errorf("%+v", out)
		}
		return nil
	})
	kit.Eventually(t, patience, "the other one is out", func() error {
		code, body, err := kit.GetJSON(kit.H1(), c.caddy.URL("/dead/x"))
		if err == nil && (code != 503 || !strings.Contains(body, "can be reached")) {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	return c
}

// command is `caddy grpc-gateway` with the addresses of the config. `call` is told the address of
// the site, because the config has two.
func (c *commands) command(args ...string) *exec.Cmd {
	c.t.Helper()
	flags := []string{"grpc-gateway", args[0]}
	if args[0] == "routes" { // With a config it would compile that.
		flags = append(flags, "--address", c.caddy.Admin)
	} else {
		flags = append(flags, "--config", c.config)
	}
	if args[0] == "call" {
		flags = append(flags, "--address", c.caddy.URL(""))
	}
	return exec.Command(kit.Binary(c.t), append(flags, args[1:]...)...)
}

// exitCodeRows returns the first cells of the table of exit codes in docs/operations.md.
func exitCodeRows(t *testing.T) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(kit.RootDir(t), "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "\n### Exit codes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := make(map[string]bool)
	for line := range strings.Lines(section) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| ") && cell != "---" && cell != "exit code" {
			rows[cell] = true
		}
	}
	if len(rows) == 0 {
		t.Fatal("docs/operations.md has no table of exit codes")
	}
	return rows
}
