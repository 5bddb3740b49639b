package module_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/module"
)

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert, a.key = issue(t, nil, "authority")
	return a
}

// issue makes a certificate; without an issuer it is an authority's own.
func issue(t *testing.T, by *authority, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	} else {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// files writes certificate and key as PEM and returns their paths.
func files(t *testing.T, dir, name string, cert *x509.Certificate, key *ecdsa.PrivateKey) (certFile, keyFile string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return certFile, keyFile
}

func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t)
	caFile, _ := files(t, dir, "ca", ca.cert, ca.key)
	serverCert, serverKey := issue(t, ca, "echo.internal")
	clientCert, clientKey := issue(t, ca, "gateway")
	clientFile, clientKeyFile := files(t, dir, "client", clientCert, clientKey)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	backend := testkit.StartBackend(t, testkit.WithTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{serverCert.Raw}, PrivateKey: serverKey}},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
	}))
	s := newSite(t)

	s.load("", "grpc_gateway static+tls:///"+backend.Addr())
	if got := s.want(s.get("/v1/echo/x"), http.StatusServiceUnavailable); !strings.Contains(got.body, "certificate is not trusted") {
		t.Errorf("with the system's trust only: %s", got)
	}

	config := "grpc_gateway {\n upstream echo {\n discover static " + backend.Addr() + "\n tls {\n server_name echo.internal\n trust_pool file " +
		caFile + "\n client_auth " + clientFile + " " + clientKeyFile + "\n }\n }\n }"
	s.load("", config)
	// A request on its way may still meet the old config.
	eventually(t, "the new config", func() bool { return s.afresh("/v1/echo/x").status == http.StatusOK })
	eventually(t, "only the new channel is there", func() bool {
		module.HurryDraining()
		return module.SharedCount() == 3 // feed, channel and schema
	})
	key, accepted := upstreamKey(s), backend.Accepted()

	s.load("", config)
	if got := upstreamKey(s); got != key || backend.Accepted() != accepted {
		t.Errorf("reloaded without a change: key %s became %s, %d connections became %d", key, got, accepted, backend.Accepted())
	}
	// A renewed certificate has other contents under the same name.
	clientCert, clientKey = issue(t, ca, "gateway")
	files(t, dir, "client", clientCert, clientKey)
	s.load("", config)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if got := upstreamKey(s); got != key || backend.Accepted() != accepted {
		t.Errorf("reloaded with a renewed client certificate: key %s became %s, %d connections became %d", key, got, accepted, backend.Accepted())
	}
}

// TestRenewedCertificates has an instance that trusts other clients after a restart, and has a
// certificate of another authority itself. The config is not loaded again.
func TestRenewedCertificates(t *testing.T) {
	dir := t.TempDir()
	var caFile, clientFile, clientKeyFile string
	renew := func() *tls.Config {
		ca := newAuthority(t)
		caFile, _ = files(t, dir, "ca", ca.cert, ca.key)
		serverCert, serverKey := issue(t, ca, "echo.internal")
		clientCert, clientKey := issue(t, ca, "gateway")
		clientFile, clientKeyFile = files(t, dir, "client", clientCert, clientKey)
		pool := x509.NewCertPool()
		pool.AddCert(ca.cert)
		return &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{serverCert.Raw}, PrivateKey: serverKey}},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    pool,
			MinVersion:   tls.VersionTLS13,
		}
	}
	var server atomic.Pointer[tls.Config]
	server.Store(renew())
	backend := testkit.StartBackend(t, testkit.WithTLS(&tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil },
		MinVersion:         tls.VersionTLS13,
	}))
	s := newSite(t)
	s.load("", "grpc_gateway {\n upstream echo {\n discover static "+backend.Addr()+"\n tls {\n server_name echo.internal\n trust_pool file "+
		caFile+"\n client_auth "+clientFile+" "+clientKeyFile+"\n }\n }\n }")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	renewed := renew()
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if n := backend.Accepted(); n != 1 {
		t.Errorf("%d connections after a renewal, want the first only", n)
	}
	backend.Stop()
	server.Store(renewed)
	if err := backend.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the renewed certificates are used", func() bool { return s.get("/v1/echo/x").status == http.StatusOK })
}

// TestServerNameOfTheEnvironment uses a placeholder, because only Caddyfiles have {$NAME}.
func TestServerNameOfTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t)
	caFile, _ := files(t, dir, "ca", ca.cert, ca.key)
	cert, key := issue(t, ca, "echo.internal")
	backend := testkit.StartBackend(t, testkit.WithTLS(&tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		MinVersion:   tls.VersionTLS13,
	}))
	s := newSite(t)
	config := func(name string) string {
		return "grpc_gateway {\n upstream echo {\n discover static " + backend.Addr() + "\n tls {\n server_name " + name + "\n trust_pool file " + caFile + "\n }\n }\n }"
	}
	t.Setenv("TEST_SERVER_NAME", "echo.internal")
	s.load("", config("{env.TEST_SERVER_NAME}"))
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	before := upstreamKey(s)
	t.Setenv("TEST_SERVER_NAME", "other.internal")
	s.load("", config("{env.TEST_SERVER_NAME}"))
	if upstreamKey(s) == before {
		t.Error("another name is verified on the old connections")
	}
	if err := s.tryLoad("", config("{http.request.host}")); err == nil || !strings.Contains(err.Error(), "server_name") {
		t.Errorf("a name that depends on the request: got %v, want an error", err)
	}
}

func upstreamKey(s *site) string {
	s.t.Helper()
	var v module.UpstreamView
	s.ask("/grpc_gateway/upstreams/echo", &v)
	return v.Key
}
