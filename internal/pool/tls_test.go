package pool

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
)

// authority issues certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, pool: x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

// issue makes a certificate for a name or an IP address.
func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	plain := func(name string) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.issue(t, name)}, MinVersion: tls.VersionTLS12}
	}
	mutual := plain("127.0.0.1")
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.pool
	// With TLS 1.3 the client learns of the refusal after its handshake. The error varies.
	mutual.MaxVersion = tls.VersionTLS12
	tests := []struct {
		name      string
		server    *tls.Config
		settings  Settings
		authority string // what the server is told
		gist      string // why it fails
	}{
		{"certificate for the address", plain("127.0.0.1"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool})}, "address", ""},
		{"name from the TLS settings", plain("user.internal"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool, ServerName: "user.internal"})}, "user.internal", ""},
		{"authority apart from the TLS name", plain("user.internal"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool, ServerName: "user.internal"}), Authority: "api.example"}, "api.example", ""},
		{"authority beside a certificate for the address", plain("127.0.0.1"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool}), Authority: "api.example:443"}, "api.example:443", ""},
		{"certificate for the authority only", plain("api.example"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool}), Authority: "api.example"}, "", "its certificate is not trusted"},
		{"authority without TLS", nil, Settings{Authority: "api.example"}, "api.example", ""},
		{"mutual", mutual, Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.issue(t, "gateway")}})}, "address", ""},
		{"mutual, no certificate", mutual, Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool})}, "", "TLS handshake failed"},
		{"another authority", plain("127.0.0.1"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: other.pool})}, "", "its certificate is not trusted"},
		{"another name", plain("order.internal"), Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool})}, "", "its certificate is not trusted"},
		{"server speaks no TLS", nil, Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool})}, "", "TLS handshake failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b *backend
			if tt.server == nil {
				b = startBackend(t, "")
			} else {
				b = startBackend(t, "", serverTLS(tt.server))
			}
			f := &manualFeed{}
			c := openChannel(t, tt.settings, f)
			f.list(b.addr)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := echo(ctx, c)
			if tt.gist != "" {
				wantUnavailable(t, err, Unreachable, "no instance of the service can be reached: "+tt.gist)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := tt.authority
			if want == "address" {
				want = b.addr
			}
			if got := b.header(":authority"); got != want {
				t.Errorf("authority is %q, want %q", got, want)
			}
		})
	}
}

func TestDrainDeadlineUnderTLS(t *testing.T) {
	ca := newAuthority(t)
	b := startBackend(t, "", serverTLS(&tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1")}, MinVersion: tls.VersionTLS12}))
	f := &manualFeed{}
	c := openChannel(t, Settings{TLS: credentials.NewTLS(&tls.Config{RootCAs: ca.pool}), DrainTimeout: 50 * time.Millisecond}, f)
	f.list(b.addr)
	cs := hang(t, c)
	f.list()
	var lost *LostError
	if err := endOf(t, cs); !errors.As(err, &lost) || !lost.Drained {
		t.Errorf("error is %v, want a LostError for draining", err)
	}
}
