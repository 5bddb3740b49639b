package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// TestRelease builds what `make release` builds, for this platform only, from two clones at
// different places. The bytes are the same, and the binary knows its version.
func TestRelease(t *testing.T) {
	must := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	const version = "v0.98.7"
	release := func(clone string) string {
		t.Helper()
		dir, out := filepath.Join(t.TempDir(), clone), t.TempDir()
		must("", "git", "clone", "--quiet", kit.RootDir(t), dir)
		must(dir, "git", "tag", version)
		must(dir, "scripts/release", out, runtime.GOOS+"/"+runtime.GOARCH)
		must(out, "sha256sum", "--check", "--strict", "SHA256SUMS")
		return out
	}
	first, second := release("a"), release("at/another/place")
	names, err := os.ReadDir(first)
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 3 {
		t.Errorf("the release has %v, want a binary, SHA256SUMS and sbom.cdx.json", names)
	}
	for _, name := range names {
		a, err := os.ReadFile(filepath.Join(first, name.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(second, name.Name())); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s is not the same when it is built at another place (%v)", name.Name(), err)
		}
	}
	binary := filepath.Join(first, "caddy-grpc-gateway_"+runtime.GOOS+"_"+runtime.GOARCH)
	if got := must("", binary, "list-modules", "--versions"); !strings.Contains(got, "http.handlers.grpc_gateway "+version) {
		t.Errorf("list-modules says:\n%s", got)
	}
	if got := must("", binary, "build-info"); !strings.Contains(got, "github.com/caddy-grpc/gateway\t"+version) || !strings.Contains(got, "vcs.modified=false") {
		t.Errorf("build-info says:\n%s", got)
	}
	var sbom struct {
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version string }
	}
	raw, err := os.ReadFile(filepath.Join(first, "sbom.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &sbom); err != nil {
		t.Fatal(err)
	}
	have := make(map[string]string)
	for _, c := range sbom.Components {
		have[c.Name] = c.Version
	}
	if sbom.Metadata.Component.Version != version || have["github.com/caddy-grpc/gateway"] != version ||
		have["github.com/caddyserver/caddy/v2"] == "" || have["std"] == "" {
		t.Errorf("the list of modules is of %q and has %v", sbom.Metadata.Component.Version, have)
	}
}
