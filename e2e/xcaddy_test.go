package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

var xcaddyBuild struct {
	once        sync.Once
	binary, log string
	err         error
}

// xcaddyBinary builds Caddy with the plugin in the way the README tells users to, once.
func xcaddyBinary(t *testing.T) string {
	t.Helper()
	root := kit.RootDir(t)
	xcaddyBuild.once.Do(func() {
		dir, err := os.MkdirTemp("", "e2e-xcaddy-")
		if err != nil {
			xcaddyBuild.err = err
			return
		}
		xcaddyBuild.binary = filepath.Join(dir, "caddy")
		cmd := exec.Command("go", "tool", "xcaddy", "build", "v2.11.9",
			"--with", "github.com/caddy-grpc/gateway@v0.0.0="+root, "--output", xcaddyBuild.binary)
		out, err := cmd.CombinedOutput()
		xcaddyBuild.log, xcaddyBuild.err = string(out), err
	})
	if xcaddyBuild.err != nil {
		t.Fatalf("xcaddy build: %v\n%s", xcaddyBuild.err, xcaddyBuild.log)
	}
	return xcaddyBuild.binary
}

// TestXcaddyBuild: a real build with xcaddy has every module.
func TestXcaddyBuild(t *testing.T) {
	out, err := exec.Command(xcaddyBinary(t), "list-modules").CombinedOutput()
	if err != nil {
		t.Fatalf("list-modules: %v\n%s", err, out)
	}
	modules := strings.Fields(string(out))
	for _, want := range []string{
		"grpc_gateway",
		"http.handlers.grpc_gateway",
		"http.grpc_gateway.discovery.etcd",
		"http.grpc_gateway.discovery.static",
		"http.grpc_gateway.discovery.dns",
		"admin.api.grpc_gateway",
	} {
		found := false
		for _, module := range modules {
			found = found || module == want
		}
		if !found {
			t.Errorf("%s is not among the modules", want)
		}
	}
}

// plugins are the sources of instances that are modules of their own. Each has an example.
func plugins() []string { return []string{"consul", "kubernetes"} }

// TestXcaddyBuildsPlugins builds Caddy with the gateway and with plugins for it, in the way
// that users build those of third parties.
func TestXcaddyBuildsPlugins(t *testing.T) {
	root := kit.RootDir(t)
	binary := filepath.Join(t.TempDir(), "caddy")
	args := []string{"tool", "xcaddy", "build", "v2.11.9", "--with", "github.com/caddy-grpc/gateway@v0.0.0=" + root, "--output", binary}
	for _, name := range plugins() {
		args = append(args, "--with", "github.com/caddy-grpc/gateway/discovery/"+name+"@v0.0.0="+filepath.Join(root, "discovery", name))
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("xcaddy build: %v\n%s", err, out)
	}
	for _, name := range plugins() {
		t.Run(name, func(t *testing.T) { checkExample(t, binary, filepath.Join(root, "examples", name)) })
	}
	for name, text := range map[string]string{
		"consul as a target":      ":8080\ngrpc_gateway consul://127.0.0.1:8500/user?tag=grpc\n",
		"kubernetes as a target":  ":8080\ngrpc_gateway kubernetes:///shop/user:grpc\n",
		"a catalog of consul":     "{\ngrpc_gateway {\ncatalog fleet consul {\ntag grpc\nqueries 100\nlimit 300\n}\n}\n}\n:8080\ngrpc_gateway catalog:fleet {\nexpose *\n}\n",
		"a catalog of kubernetes": "{\ngrpc_gateway {\ncatalog fleet kubernetes shop {\nport grpc\nlimit 300\n}\n}\n}\n:8080\ngrpc_gateway catalog:fleet {\nexpose *\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "Caddyfile")
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(binary, "validate", "--config", config).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestBuildsForOtherPlatforms compiles the plugin where it cannot be run: for one platform with the
// build tags of Windows and for one with those of other Unix systems. `make release` builds all.
func TestBuildsForOtherPlatforms(t *testing.T) {
	for _, platform := range []string{"windows/amd64", "darwin/arm64"} {
		t.Run(strings.ReplaceAll(platform, "/", "-"), func(t *testing.T) {
			goos, goarch, _ := strings.Cut(platform, "/")
			cmd := exec.Command("go", "build", "./...")
			cmd.Dir = kit.RootDir(t)
			cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
