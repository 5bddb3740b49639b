package kit

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// npmPackages are those that were installed in this process, by name.
var npmPackages sync.Map

type npmInstall struct {
	once sync.Once
	err  error
}

// NPMPackages copies the files of a directory into one of this name outside of version control,
// installs there what package.json names, once per process, and returns that directory. If there is
// a package-lock.json, the versions are those.
func NPMPackages(t testing.TB, name, from string) string {
	t.Helper()
	dir := filepath.Join(RootDir(t), ".cache", name)
	found, _ := npmPackages.LoadOrStore(name, new(npmInstall))
	install := found.(*npmInstall)
	install.once.Do(func() { install.err = installNPM(dir, from) })
	if install.err != nil {
		t.Fatal(install.err)
	}
	return dir
}

func installNPM(dir, from string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := copyFiles(dir, from); err != nil {
		return err
	}
	wanted, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return err
	}
	install := []string{"install", "--no-package-lock"}
	if lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json")); err == nil {
		wanted, install = append(wanted, lock...), []string{"ci"}
	}
	installed := filepath.Join(dir, "node_modules", ".installed")
	if was, err := os.ReadFile(installed); err == nil && bytes.Equal(was, wanted) {
		return nil
	}
	// Without a lock all versions are exact, also of what the packages need themselves. No
	// package's own script has to run: the binaries of buf and esbuild are packages of their own.
	cmd := exec.Command("npm", append(install, "--ignore-scripts", "--no-audit", "--no-fund")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v (scripts/need npm installs npm): %w\n%s", cmd.Args, err, out)
	}
	return os.WriteFile(installed, wanted, 0o600)
}

// copyFiles copies the files of a directory that has no others below it.
func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
