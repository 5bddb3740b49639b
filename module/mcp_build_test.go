package module

import (
	"os/exec"
	"strings"
	"testing"
)

// TestBuildWithoutMCP compiles the package with the build tag nomcp, which leaves the SDK out.
func TestBuildWithoutMCP(t *testing.T) {
	for _, tt := range []struct {
		tags string
		has  bool
	}{{"nomcp", false}, {"", true}} {
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tt.tags, ".").CombinedOutput(); err != nil {
			t.Fatalf("tags %q: %v\n%s", tt.tags, err, out)
		}
		deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", tt.tags, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		if has := strings.Contains(string(deps), "modelcontextprotocol/go-sdk"); has != tt.has {
			t.Errorf("tags %q: the SDK is in the build: %v", tt.tags, has)
		}
	}
}
