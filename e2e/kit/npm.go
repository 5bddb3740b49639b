package kit

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// packages names the npm packages of the clients that the tests run. All versions are exact, also
// of what these packages need themselves, so there is nothing to lock.
//
//go:embed package.json
var packages []byte

var installNPM struct {
	sync.Once

	err error
}

// NPMPackages installs what package.json names, once, into a directory outside of version control,
// and returns the directory node_modules.
func NPMPackages(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(RootDir(t), ".cache", "clients")
	installNPM.Do(func() { installNPM.err = npmInstall(dir) })
	if installNPM.err != nil {
		t.Fatal(installNPM.err)
	}
	return filepath.Join(dir, "node_modules")
}

func npmInstall(dir string) error {
	installed := filepath.Join(dir, "node_modules", ".installed")
	if was, err := os.ReadFile(installed); err == nil && bytes.Equal(was, packages) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), packages, 0o600); err != nil {
		return err
	}
	// No package's own script has to run: the binaries of buf and esbuild are packages of their own.
	cmd := exec.Command("npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v (scripts/need npm installs npm): %w\n%s", cmd.Args, err, out)
	}
	return os.WriteFile(installed, packages, 0o600)
}

// bundle makes one script of a module and the npm packages that it imports.
func bundle(t testing.TB, script string) string {
	t.Helper()
	modules := NPMPackages(t)
	out := filepath.Join(t.TempDir(), "page.js")
	cmd := exec.Command(filepath.Join(modules, ".bin", "esbuild"), script, "--bundle", "--format=esm", "--target=esnext", "--outfile="+out)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("bundle %s: %v\n%s", script, err, text)
	}
	return out
}
