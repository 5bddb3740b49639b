package peers

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// Kind is a kind of peer.
type Kind struct {
	Name string
	// Proxy is true if it is a proxy in front of a server of grpc-go.
	Proxy bool
	// command is what starts it, in the foreground.
	command func(t testing.TB, p *Peer) *exec.Cmd
	// stop is the signal for a graceful stop.
	stop syscall.Signal
}

// The kinds of peers.
var (
	CPP     = &Kind{Name: "cpp", command: cpp, stop: syscall.SIGTERM}
	Python  = &Kind{Name: "python", command: python, stop: syscall.SIGTERM}
	Java    = &Kind{Name: "java", command: java, stop: syscall.SIGTERM}
	GRPCJS  = &Kind{Name: "grpc-js", command: node("grpcjs.js"), stop: syscall.SIGTERM}
	Connect = &Kind{Name: "connect-node", command: node("connect.js"), stop: syscall.SIGTERM}
	Nginx   = &Kind{Name: "nginx", Proxy: true, command: nginx, stop: syscall.SIGQUIT}
	HAProxy = &Kind{Name: "haproxy", Proxy: true, command: haproxy, stop: syscall.SIGUSR1}
	Nghttpx = &Kind{Name: "nghttpx", Proxy: true, command: nghttpx, stop: syscall.SIGQUIT}
	Apache  = &Kind{Name: "apache", Proxy: true, command: apache, stop: syscall.SIGWINCH}
)

// Kinds are all kinds of peers.
var Kinds = []*Kind{CPP, Python, Java, GRPCJS, Connect, Nginx, HAProxy, Nghttpx, Apache}

// testdata is a file of this package's testdata, also for tests of other packages.
func testdata(t testing.TB, path ...string) string {
	t.Helper()
	return filepath.Join(append([]string{kit.RootDir(t), "e2e", "peers", "testdata"}, path...)...)
}

func python(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	// Debian's package is for Debian's Python, which need not be the first one in PATH.
	return exec.Command("/usr/bin/python3", append([]string{testdata(t, "python", "server.py")}, p.flags()...)...)
}

func node(file string) func(t testing.TB, p *Peer) *exec.Cmd {
	return func(t testing.TB, p *Peer) *exec.Cmd {
		t.Helper()
		dir := kit.NPMPackages(t, "peers-node", testdata(t, "node"))
		return exec.Command("node", append([]string{filepath.Join(dir, file)}, p.flags()...)...)
	}
}

// compiled are the programs that were compiled in this process, by name.
var compiled sync.Map

// compileOnce returns the path of what build makes of a source file. It is kept outside of version
// control until the source changes.
func compileOnce(t testing.TB, name, source string, build func(to string) *exec.Cmd) string {
	t.Helper()
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(kit.RootDir(t), ".cache", fmt.Sprintf("peers-%s-%x", name, sha256.Sum256(text)))
	once, _ := compiled.LoadOrStore(name, sync.OnceValue(func() error {
		if _, err := os.Stat(to); err == nil {
			return nil
		}
		part := to + ".part"
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		cmd := build(part)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v (make test-peers installs what is needed): %w\n%s", cmd.Args, err, out)
		}
		return os.Rename(part, to)
	}))
	if err := once.(func() error)(); err != nil {
		t.Fatal(err)
	}
	return to
}

func cpp(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	source := testdata(t, "cpp", "server.cc")
	server := compileOnce(t, "cpp", source, func(to string) *exec.Cmd {
		return exec.Command("sh", "-c", `g++ -O1 -o "$0" "$1" $(pkg-config --cflags --libs grpc++)`, to, source)
	})
	return exec.Command(server, p.flags()...)
}

// javaLibraries are the files that Debian's packages install, and that the server needs.
const javaLibraries = `grpc-api grpc-core grpc-netty grpc-stub grpc-context guava perfmark-api
	netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-codec-socks netty-common netty-handler
	netty-handler-proxy netty-resolver netty-transport netty-transport-native-unix-common`

func java(t testing.TB, p *Peer) *exec.Cmd {
	t.Helper()
	var path []string
	for jar := range strings.FieldsSeq(javaLibraries) {
		path = append(path, filepath.Join("/usr/share/java", jar+".jar"))
	}
	libraries := strings.Join(path, ":")
	source := testdata(t, "java", "Server.java")
	classes := compileOnce(t, "java", source, func(to string) *exec.Cmd {
		return exec.Command("javac", "-cp", libraries, "-d", to, source) // it makes the directory
	})
	return exec.Command("java", append([]string{"-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classes + ":" + libraries, "Server"}, p.flags()...)...)
}
