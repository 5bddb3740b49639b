package faults

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// migrateEnv says that the tests run in a network namespace of their own, where the kernel shall
// hand connections of a listening socket that closes to the next one.
const migrateEnv = "FAULTS_MIGRATE"

func migrates() bool { return os.Getenv(migrateEnv) != "" }

// migrate sets that, in the namespace of this process.
func migrate() error {
	return os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte("1\n"), 0o600)
}

// migrated runs tests of this program once more in such a namespace, in a process of its own with
// more variables in its environment. It prints what that prints. The error is that there can be no
// namespace; tests that fail there fail t.
func migrated(t *testing.T, env []string, flags ...string) error {
	t.Helper()
	name := fmt.Sprintf("migrated-%d", os.Getpid())
	if err := run("ip netns add " + name); err != nil {
		return err
	}
	t.Cleanup(func() { _ = run("ip netns del " + name) })
	if err := run("ip netns exec " + name + " ip link set lo up"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", name, os.Args[0], "-test.v"}, flags...)...)
	cmd.Env = append(append(os.Environ(), migrateEnv+"=1", "E2E_CADDY="+kit.Binary(t)), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("in the namespace: %v", err)
	}
	return nil
}
