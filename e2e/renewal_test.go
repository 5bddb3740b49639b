package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// party is one that has a certificate, and trusts those of others: the gateway, etcd or an
// instance.
type party struct{ ca, cert, key string }

func newParty(t *testing.T) party {
	dir := t.TempDir()
	return party{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "own.pem"), filepath.Join(dir, "own.key")}
}

// trust writes the authorities that the party trusts.
func (p party) trust(t *testing.T, authorities ...*kit.Authority) {
	t.Helper()
	var all []byte
	for _, a := range authorities {
		all = append(all, a.PEM...)
	}
	if err := os.WriteFile(p.ca, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

// roots reads what the party trusts.
func (p party) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	raw, err := os.ReadFile(p.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return pool
}

func (p party) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// server is the config of a server that reads its files when it starts, and demands certificates of
// its clients.
func (p party) server(t *testing.T) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.pair(t)}, ClientCAs: p.roots(t), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
}

// securedInstance is an instance that reads its certificates when it starts.
type securedInstance struct {
	party
	*testkit.Backend

	config *atomic.Pointer[tls.Config]
	key    string // in etcd
}

func startSecured(t *testing.T, etcd *kit.Etcd, key string, issuer *kit.Authority, trusted ...*kit.Authority) *securedInstance {
	t.Helper()
	i := &securedInstance{party: newParty(t), config: new(atomic.Pointer[tls.Config]), key: key}
	i.Backend = testkit.NewBackend(testkit.WithTLS(&tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return i.config.Load(), nil },
	}))
	t.Cleanup(i.Stop)
	i.start(t, etcd, issuer, trusted...)
	return i
}

func (i *securedInstance) start(t *testing.T, etcd *kit.Etcd, issuer *kit.Authority, trusted ...*kit.Authority) {
	t.Helper()
	issuer.Issue(t, i.cert, i.party.key, time.Hour)
	i.trust(t, trusted...)
	i.config.Store(i.server(t))
	if err := i.Start(); err != nil {
		t.Fatal(err)
	}
	etcd.Put(t, i.key, i.Addr())
}

// TestCertificatesAreRenewed replaces every certificate and the authority under load. The gateway's
// config is not loaded again, and no call fails.
func TestCertificatesAreRenewed(t *testing.T) {
	kit.Binary(t) // is built before certificates expire
	older, newer := kit.NewAuthority(t), kit.NewAuthority(t)
	registry := newParty(t)
	older.Issue(t, registry.cert, registry.key, time.Hour)
	registry.trust(t, older, newer)
	etcd := kit.EmbeddedEtcdWith(t, kit.EtcdOptions{ClientCertAuth: true, TLS: &kit.Certificates{
		CA: registry.ca, ServerCert: registry.cert, ServerKey: registry.key,
		Client: &tls.Config{RootCAs: registry.roots(t), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(registry.cert, registry.key)
			return &pair, err
		}},
	}})
	var instances []*securedInstance
	var addrs []string
	for n := range 3 {
		i := startSecured(t, etcd, fmt.Sprint("user.rpc/", n), older, older, newer)
		instances, addrs = append(instances, i), append(addrs, i.Addr())
	}

	const life = 25 * time.Second
	gateway := newParty(t)
	gateway.trust(t, older)
	older.Issue(t, gateway.cert, gateway.key, life)
	expired := time.Now().Add(life)
	block := fmt.Sprintf("tls {\n\ttrust_pool file %s\n\tclient_auth %s %s\n}", gateway.ca, gateway.cert, gateway.key)
	opts := secured(etcd, block)
	opts.Site = site(etcd, "user.rpc", block)
	caddy := kit.StartCaddy(t, opts)
	caddy.WaitReady(t, 20*time.Second, addrs...)
	serving(t, caddy, addrs)
	load := kit.StartLoad(kit.H2C(), 50, echoGet(caddy), echoed)

	t.Log("the gateway's certificates are renewed, and the old one expires")
	gateway.trust(t, older, newer)
	newer.Issue(t, gateway.cert, gateway.key, time.Hour)
	time.Sleep(time.Until(expired))

	restart := func(i *securedInstance) {
		t.Helper()
		etcd.Delete(t, i.key)
		kit.Eventually(t, 20*time.Second, "the instance gets no more calls", func() error {
			upstreams, err := caddy.Upstreams()
			if err != nil || strings.Contains(fmt.Sprint(upstreams), i.Addr()+" READY") {
				return fmt.Errorf("%+v %w", upstreams, err)
			}
			return nil
		})
		i.GracefulStop()
		i.start(t, etcd, newer, newer)
		caddy.WaitReady(t, 30*time.Second, addrs...)
	}
	t.Log("instances and etcd start again, with other certificates, and trust only the new authority")
	for _, i := range instances {
		restart(i)
	}
	etcd.Stop()
	newer.Issue(t, registry.cert, registry.key, time.Hour)
	registry.trust(t, newer)
	etcd.Start(t)
	late := startSecured(t, etcd, "user.rpc/late", newer, newer)
	addrs = append(addrs, late.Addr())
	caddy.WaitReady(t, 30*time.Second, addrs...)

	t.Log("the old authority is trusted no longer")
	gateway.trust(t, newer)
	restart(instances[0])
	kit.NoFailures(t, load.Stop(), 500)
	for message, want := range map[string]int{"using the new client certificate": 2, "using the new trusted certificates": 3, "keeping the last good one": 0} {
		if n := strings.Count(caddy.Log(), message); n != want {
			t.Errorf("the log says %d times %q, want %d", n, message, want)
		}
	}
}
