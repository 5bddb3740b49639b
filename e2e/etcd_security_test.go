package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// secured is the gateway with these lines in the block of its etcd cluster.
func secured(etcd *kit.Etcd, lines ...string) kit.Options {
	return kit.Options{
		Global: fmt.Sprintf("grpc_gateway {\n\tetcd main {\n\t\tendpoints %s\n%s\n\t}\n}", etcd.Addr, strings.Join(lines, "\n")),
		Site:   site(etcd, "user.rpc", ""),
	}
}

// followsChanges checks that the gateway sees registrations come and go.
func followsChanges(t *testing.T, etcd *kit.Etcd, caddy *kit.Caddy) {
	t.Helper()
	addr := testkit.StartBackend(t).Addr()
	etcd.Put(t, "user.rpc/1", addr)
	caddy.WaitReady(t, 20*time.Second, addr)
	late := testkit.StartBackend(t).Addr()
	etcd.Put(t, "user.rpc/2", late)
	caddy.WaitReady(t, 20*time.Second, addr, late)
	etcd.Delete(t, "user.rpc/1")
	caddy.WaitReady(t, 20*time.Second, late)
}

// staysOut checks that the gateway says why it cannot read the registry, and answers 503.
func staysOut(t *testing.T, etcd *kit.Etcd, caddy *kit.Caddy, reason string) {
	t.Helper()
	etcd.Put(t, "user.rpc/1", testkit.StartBackend(t).Addr())
	kit.Eventually(t, 20*time.Second, "the admin API says why", func() error {
		if r := registryOf(t, caddy); !regexp.MustCompile(reason).MatchString(r.Error) {
			return fmt.Errorf("error %q, want one like %q", r.Error, reason)
		}
		return nil
	})
	if r := registryOf(t, caddy); r.Instances != 0 {
		t.Errorf("it has %d instances", r.Instances)
	}
	if code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/echo/x")); err != nil || code != http.StatusServiceUnavailable {
		t.Errorf("%d %s (%v), want 503", code, body, err)
	}
}

// TestEtcdOverTLS has a server with a certificate of an authority that only the test knows.
func TestEtcdOverTLS(t *testing.T) {
	certs := kit.NewCertificates(t, "gateway")
	trust := "tls {\n\ttrust_pool file " + certs.CA + "\n}"
	mutual := "tls {\n\ttrust_pool file " + certs.CA + "\n\tclient_auth " + certs.ClientCert + " " + certs.ClientKey + "\n}"
	stranger := kit.NewCertificates(t, "gateway")
	for name, c := range map[string]struct {
		clientCertAuth bool
		auth           bool // the user gateway may read
		block          string
		refused        string // the reason, a regular expression; empty: it works
	}{
		"the authority is trusted":                  {block: trust},
		"the authority is not trusted":              {block: "tls", refused: "certificate signed by unknown authority"},
		"another authority is trusted":              {block: "tls {\n\ttrust_pool file " + stranger.CA + "\n}", refused: "certificate signed by unknown authority"},
		"plaintext":                                 {refused: "connection"},
		"with a client certificate":                 {clientCertAuth: true, block: mutual},
		"without the client certificate":            {clientCertAuth: true, block: trust, refused: "certificate required|broken pipe|connection reset"},
		"the certificate's common name is the user": {clientCertAuth: true, auth: true, block: mutual},
	} {
		t.Run(name, func(t *testing.T) {
			etcd := kit.EmbeddedEtcdWith(t, kit.EtcdOptions{TLS: certs, ClientCertAuth: c.clientCertAuth})
			if c.auth {
				etcd.EnableAuth(t, "gateway", "not used", "user.rpc/")
			}
			caddy := kit.StartCaddy(t, secured(etcd, c.block))
			if c.refused == "" {
				followsChanges(t, etcd, caddy)
				return
			}
			staysOut(t, etcd, caddy, c.refused)
		})
	}
}

// TestEtcdUser has a server with access control.
func TestEtcdUser(t *testing.T) {
	t.Run("a user who may read", func(t *testing.T) {
		etcd := kit.EmbeddedEtcd(t)
		etcd.EnableAuth(t, "gateway", "s3cret", "user.rpc/")
		opts := secured(etcd, "user gateway {env.ETCD_PASSWORD}")
		opts.Env = []string{"ETCD_PASSWORD=s3cret"}
		caddy := kit.StartCaddy(t, opts)
		followsChanges(t, etcd, caddy)
		if strings.Contains(caddy.Log(), "s3cret") || strings.Contains(caddy.Config(t), "s3cret") {
			t.Error("the password is in the log or in the config that the admin API shows")
		}
	})
	t.Run("a user who may read other keys only", func(t *testing.T) {
		etcd := kit.EmbeddedEtcd(t)
		etcd.EnableAuth(t, "gateway", "s3cret", "order.rpc/")
		staysOut(t, etcd, kit.StartCaddy(t, secured(etcd, "user gateway s3cret")), "permission denied")
	})
	t.Run("nobody", func(t *testing.T) {
		etcd := kit.EmbeddedEtcd(t)
		etcd.EnableAuth(t, "gateway", "s3cret", "user.rpc/")
		staysOut(t, etcd, kit.StartCaddy(t, secured(etcd)), "user name is empty")
	})
	t.Run("a wrong password, until it is right", func(t *testing.T) {
		etcd := kit.EmbeddedEtcd(t)
		etcd.EnableAuth(t, "gateway", "s3cret", "user.rpc/")
		caddy := kit.StartCaddy(t, secured(etcd, "user gateway new"))
		staysOut(t, etcd, caddy, "authentication failed")
		client := etcd.Client(t)
		defer client.Close()
		if _, err := client.UserChangePassword(t.Context(), "gateway", "new"); err != nil {
			t.Fatal(err)
		}
		kit.Eventually(t, 60*time.Second, "it is let in", func() error {
			if r := registryOf(t, caddy); r.Instances != 1 || r.Error != "" {
				return fmt.Errorf("registry: %+v", r)
			}
			return nil
		})
	})
}

// TestWatchOutlivesTheToken: tokens live for two seconds, and after more than two of these lives
// without a change the watch still sees one.
func TestWatchOutlivesTheToken(t *testing.T) {
	const ttl = 2 * time.Second
	keys := kit.NewCertificates(t, "jwt") // of which only a key pair is used
	jwt := fmt.Sprintf("jwt,pub-key=%s,priv-key=%s,sign-method=ES256,ttl=%v", publicKey(t, keys), keys.ServerKey, ttl)
	for name, start := range map[string]func() *kit.Etcd{
		"simple tokens":              func() *kit.Etcd { return kit.EmbeddedEtcdWith(t, kit.EtcdOptions{AuthTokenTTL: uint(ttl.Seconds())}) },
		"JWT":                        func() *kit.Etcd { return kit.EmbeddedEtcdWith(t, kit.EtcdOptions{AuthToken: jwt}) },
		"simple tokens, an old etcd": func() *kit.Etcd { return kit.ProcessEtcdWith(t, "--auth-token-ttl", fmt.Sprint(ttl.Seconds())) },
		"JWT, an old etcd":           func() *kit.Etcd { return kit.ProcessEtcdWith(t, "--auth-token", jwt) },
	} {
		t.Run(name, func(t *testing.T) {
			etcd := start()
			etcd.EnableAuth(t, "gateway", "s3cret", "user.rpc/")
			caddy := kit.StartCaddy(t, secured(etcd, "user gateway s3cret"))
			first := testkit.StartBackend(t)
			etcd.Put(t, "user.rpc/1", first.Addr())
			serving(t, caddy, []string{first.Addr()})
			load := kit.StartLoad(kit.H2C(), 20, echoGet(caddy), echoed)
			for round := range 2 {
				time.Sleep(2*ttl + ttl/2)
				late := testkit.StartBackend(t).Addr()
				key := fmt.Sprint("user.rpc/late", round)
				etcd.Put(t, key, late)
				took := caddy.WaitReady(t, 10*time.Second, first.Addr(), late)
				t.Logf("seen %v after its registration", took)
				etcd.Delete(t, key)
				caddy.WaitReady(t, 10*time.Second, first.Addr())
			}
			kit.Eventually(t, 10*time.Second, "the registry is in order", func() error {
				if r := registryOf(t, caddy); r.Error != "" || r.Stale {
					return fmt.Errorf("registry: %+v", r)
				}
				return nil
			})
			kit.NoFailures(t, load.Stop(), 100)
		})
	}
}

// publicKey is a file with the server's public key alone.
func publicKey(t *testing.T, c *kit.Certificates) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(path, c.ServerPublicKey(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSeveralClusters: one config with two clusters, one of them with TLS and a user. The same key
// in both is two services, and what happens to one cluster does not touch the other.
func TestSeveralClusters(t *testing.T) {
	certs := kit.NewCertificates(t, "gateway")
	plain := kit.EmbeddedEtcd(t)
	closed := kit.EmbeddedEtcdWith(t, kit.EtcdOptions{TLS: certs})
	closed.EnableAuth(t, "gateway", "s3cret", "user.rpc/")
	a, b := testkit.StartBackend(t).Addr(), testkit.StartBackend(t).Addr()
	plain.Put(t, "user.rpc/1", a)
	closed.Put(t, "user.rpc/1", b)
	caddy := kit.StartCaddy(t, kit.Options{
		Global: fmt.Sprintf(`grpc_gateway {
			etcd {
				endpoints %s
			}
			etcd second {
				endpoints https://%s
				user gateway s3cret
				tls {
					trust_pool file %s
				}
			}
		}`, plain.Addr, closed.Addr, certs.CA),
		Site: `
		handle_path /one/* {
			grpc_gateway etcd:///user.rpc
		}
		handle_path /two/* {
			grpc_gateway {
				upstream two {
					discover etcd user.rpc {
						cluster second
					}
				}
			}
		}`,
	})
	answers := func(prefix, want string) {
		t.Helper()
		kit.Eventually(t, 20*time.Second, prefix+" is answered by its own instance", func() error {
			code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL(prefix+"/v1/echo/x"))
			if err != nil || code != http.StatusOK || !strings.Contains(body, `"backend":"`+want+`"`) {
				return fmt.Errorf("%d %s (%w)", code, body, err)
			}
			return nil
		})
	}
	answers("/one", a)
	answers("/two", b)

	closed.Stop()
	moved := testkit.StartBackend(t).Addr()
	plain.Put(t, "user.rpc/1", moved)
	answers("/one", moved)
	answers("/two", b)
	closed.Start(t)
	closed.Put(t, "user.rpc/1", a)
	answers("/two", a)
}
