package mcpe2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// suites are MCP's conformance suites. Each has a baseline of the same name: the checks that are
// expected to fail, and why they are out of scope.
var suites = []struct {
	name     string // Of the directory in testdata with package.json.
	baseline string
	args     []string
	least    int // How many checks pass, at least.
}{
	{"suite", "2026-07-28.txt", []string{"--requirements", "2026-07-28"}, 103},
	{"suite-older", "older.txt", []string{"--suite", "all"}, 7},
}

// fixtures are methods that serve as the tools that some scenarios want.
var fixtures = []string{
	"tool gateway.test.v1.Echo/Unary as test_simple_text",
	"tool gateway.test.v1.Library/GetBook as test_error_handling",
	"tool gateway.test.v1.Library/ListBooks as test_logging_tool",
	"tool gateway.test.v1.Echo/ServerStream as test_streaming_elicitation",
}

// TestConformance runs the suites against a gateway with a real backend.
func TestConformance(t *testing.T) {
	backend := testkit.StartBackend(t)
	// The site answers for any host. If it were one host's, Caddy would refuse a page that has
	// rebound its name, and not the gateway.
	caddy := kit.StartCaddy(t, kit.Options{Whole: func(c *kit.Caddy) string {
		_, port, _ := strings.Cut(c.Listen, ":")
		return "http://:" + port + " {\n\tgrpc_gateway " + backend.Addr() + " {\n\t\tmcp /mcp {\n\t\t\t" + strings.Join(fixtures, "\n\t\t\t") + "\n\t\t}\n\t}\n}"
	}})
	kit.Eventually(t, 30*time.Second, "the backend answers", func() error {
		_, _, err := kit.GetJSON(kit.H1(), caddy.URL("/v1/echo/x"))
		return err
	})
	for _, s := range suites {
		t.Run(s.name, func(t *testing.T) {
			passed, failed := runSuite(t, s.name, append(s.args, "--url", caddy.URL("/mcp")))
			expected := readBaseline(t, filepath.Join("testdata", "baseline", s.baseline))
			for _, check := range slices.Sorted(maps.Keys(failed)) {
				if !expected[check] {
					t.Errorf("%s fails: %s", check, failed[check])
				}
			}
			for _, check := range slices.Sorted(maps.Keys(expected)) {
				if _, fails := failed[check]; !fails {
					t.Errorf("%s is in the baseline, and does not fail", check)
				}
			}
			if passed < s.least {
				t.Errorf("%d checks pass, want at least %d", passed, s.least)
			}
			t.Logf("%d checks pass and %d fail as expected", passed, len(expected))
		})
	}
}

// scenario is the name of a directory of results.
var scenario = regexp.MustCompile(`^server-(.+?)-\d{4}-\d\d-\d\dT`)

// runSuite runs a suite. It returns how many checks have passed, and why which have failed, by
// scenario and check. A warning is a failure, too.
func runSuite(t *testing.T, name string, args []string) (passed int, failed map[string]string) {
	t.Helper()
	dir := kit.NPMPackages(t, "mcp-"+name, filepath.Join(kit.RootDir(t), "e2e/mcp/testdata", name))
	results := t.TempDir()
	program := filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")
	cmd := exec.CommandContext(t.Context(), kit.Node(t), append([]string{program, "server", "-o", results}, args...)...)
	cmd.Dir = results
	said, _ := cmd.CombinedOutput() // It fails with the first check, and the results say more.
	reports, err := filepath.Glob(filepath.Join(results, "*", "checks.json"))
	if err != nil || len(reports) == 0 || !bytes.Contains(said, []byte("=== SUMMARY ===")) {
		t.Fatalf("the suite has not ended: %v\n%s", err, said)
	}
	failed = make(map[string]string)
	for _, report := range reports {
		raw, err := os.ReadFile(report)
		if err != nil {
			t.Fatal(err)
		}
		var checks []struct {
			ID           string `json:"id"`
			Status       string `json:"status"`
			ErrorMessage string `json:"errorMessage"`
			Description  string `json:"description"`
		}
		if err := json.Unmarshal(raw, &checks); err != nil {
			t.Fatalf("%s: %v", report, err)
		}
		of := scenario.FindStringSubmatch(filepath.Base(filepath.Dir(report)))
		if of == nil {
			t.Fatalf("%s is of no scenario", report)
		}
		for _, c := range checks {
			switch c.Status {
			case "SUCCESS":
				passed++
			case "INFO", "SKIPPED":
			default:
				failed[of[1]+" "+c.ID] = c.Status + " " + c.ErrorMessage + " (" + c.Description + ")"
			}
		}
	}
	return passed, failed
}

// readBaseline reads scenarios and checks, a line each. The comment before a group of lines says
// why they are expected to fail.
func readBaseline(t *testing.T, path string) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]bool)
	reason := false
	for i, line := range strings.Split(string(raw), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
			reason = true
		case line == "":
			reason = false
		case !reason:
			t.Errorf("%s:%d: %s: it has no reason", path, i+1, line)
		case out[line]:
			t.Errorf("%s:%d: %s: it comes twice", path, i+1, line)
		default:
			out[line] = true
		}
	}
	return out
}
