// Package kubernetes runs the gateway with its plugin against a real Kubernetes API server. It is a
// module of its own, because Kubernetes has many dependencies. `make test-kubernetes` runs it.
//
// The API server is the only part of Kubernetes that runs. It does not take EndpointSlices with
// addresses of 127.0.0.0/8. So everything runs in a network namespace of its own, in which a range
// of documentation addresses (RFC 5737) is on the loopback device. No packet leaves it. It takes
// root.
package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dirEnv names the directory of the binaries, for the tests in the namespace.
const dirEnv = "E2E_KUBERNETES_DIR"

func TestMain(m *testing.M) {
	var code int
	var err error
	if dir := os.Getenv(dirEnv); dir == "" {
		err = isolated()
	} else if err = furnish(); err == nil {
		code = m.Run()
	}
	var failed *exec.ExitError
	switch {
	case errors.As(err, &failed) && failed.ExitCode() > 0:
		code = failed.ExitCode() // It has said why.
	case err != nil:
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

// isolated builds what the tests need, and runs them in namespaces of their own.
func isolated() error {
	dir, err := os.MkdirTemp("", "e2e-kubernetes-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := build("apiserver", "-o", filepath.Join(dir, "kube-apiserver"), "k8s.io/kubernetes/cmd/kube-apiserver"); err != nil {
		return err
	}
	if err := build("caddy", "-race", "-o", filepath.Join(dir, "caddy"), "."); err != nil {
		return err
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), dirEnv+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd.Run()
}

func build(dir string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Dir = dir
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	fmt.Printf("built %s in %v\n", dir, time.Since(began).Round(time.Second))
	return nil
}

// furnish makes the namespaces what the tests need: addresses for pods, and a place for the files
// of a service account.
func furnish() error {
	for _, command := range []string{
		"ip link set lo up",
		"ip addr add 192.0.2.1/24 dev lo", // On the loopback device this is the whole range.
		"mount --make-rprivate /",
		"mount -t tmpfs none /run",
	} {
		args := strings.Fields(command)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", command, err, out)
		}
	}
	return os.MkdirAll(accountDir, 0o700)
}

// binary is one that TestMain built.
func binary(name string) string { return filepath.Join(os.Getenv(dirEnv), name) }
