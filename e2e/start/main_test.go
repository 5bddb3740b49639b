// Package start follows the first steps of a new user as they are written: every command and every
// file of docs/getting-started.md and of README.md. It also compares these pages with their Chinese
// translations.
package start

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

const plugin = "github.com/caddy-grpc/gateway"

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// rules are how a page is made to run on a machine where other things run, before the release that
// it speaks of: each port number of the page becomes a free port, and xcaddy takes the plugin from
// this checkout. Nothing else of a page is changed.
type rules struct {
	ports map[string]string
	root  string
}

func newRules(t *testing.T, ports ...string) rules {
	t.Helper()
	r := rules{ports: make(map[string]string), root: kit.RootDir(t)}
	for _, port := range ports {
		_, free, err := net.SplitHostPort(kit.FreeAddr(t))
		if err != nil {
			t.Fatal(err)
		}
		r.ports[port] = free
	}
	return r
}

var number = regexp.MustCompile(`\b\d{4}\b`)

func (r rules) apply(text string) string {
	text = number.ReplaceAllStringFunc(text, func(port string) string {
		if free, ok := r.ports[port]; ok {
			return free
		}
		return port
	})
	return strings.ReplaceAll(text, "--with "+plugin, fmt.Sprintf("--with %s@v0.0.0=%s", plugin, r.root))
}

// defaults is the environment that gives programs the free ports which they are not told, by the
// same rule.
func (r rules) defaults() []string {
	etcd, peer := "http://127.0.0.1:"+r.ports["2379"], "http://127.0.0.1:"+r.ports["2380"]
	return []string{
		"CADDY_ADMIN=localhost:" + r.ports["2019"],
		"ETCD_LISTEN_CLIENT_URLS=" + etcd, "ETCD_ADVERTISE_CLIENT_URLS=" + etcd,
		"ETCD_LISTEN_PEER_URLS=" + peer, "ETCD_INITIAL_ADVERTISE_PEER_URLS=" + peer,
		"ETCD_INITIAL_CLUSTER=default=" + peer,
	}
}

// needs fails the test if a program is missing.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v (scripts/need installs it)", err)
		}
	}
}
