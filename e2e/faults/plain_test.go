package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

var plain struct {
	once sync.Once
	dir  string
	err  error
	out  []byte
}

// plainBinary builds Caddy without the race detector, once: for the rows of the long form whose
// times matter. E2E_CADDY_PLAIN in the environment names one that is built already.
func plainBinary(t testing.TB) string {
	t.Helper()
	if built := os.Getenv("E2E_CADDY_PLAIN"); built != "" {
		return built
	}
	plain.once.Do(func() {
		if plain.dir, plain.err = os.MkdirTemp("", "faults-caddy-"); plain.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", filepath.Join(plain.dir, "caddy"), "./cmd/caddy")
		cmd.Dir = kit.RootDir(t)
		plain.out, plain.err = cmd.CombinedOutput()
	})
	if plain.err != nil {
		t.Fatalf("build Caddy: %v\n%s", plain.err, plain.out)
	}
	return filepath.Join(plain.dir, "caddy")
}

func removePlainBinary() {
	if plain.dir != "" {
		os.RemoveAll(plain.dir)
	}
}
