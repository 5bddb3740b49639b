package kit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are PEM files of an authority of their own, with a server's for 127.0.0.1 and a
// client's.
type Certificates struct {
	CA                    string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
	Client                *tls.Config // with all that a client needs
}

// NewCertificates makes them for a test. The client's certificate has the given common name.
func NewCertificates(t testing.TB, client string) *Certificates {
	t.Helper()
	dir := t.TempDir()
	c := &Certificates{
		CA:         filepath.Join(dir, "ca.pem"),
		ServerCert: filepath.Join(dir, "server.pem"), ServerKey: filepath.Join(dir, "server.key"),
		ClientCert: filepath.Join(dir, "client.pem"), ClientKey: filepath.Join(dir, "client.key"),
	}
	authority := &x509.Certificate{
		Subject: pkix.Name{CommonName: "a test's authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key := issue(t, authority, nil, nil, c.CA, filepath.Join(dir, "ca.key"))
	// etcd is its own client too.
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "etcd"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: usage},
		authority, key, c.ServerCert, c.ServerKey)
	issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: client}, ExtKeyUsage: usage[1:]}, authority, key, c.ClientCert, c.ClientKey)

	own, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	c.Client = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}
	return c
}

// Authority issues certificates one by one, for tests that renew them.
type Authority struct {
	PEM []byte // its own certificate

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// NewAuthority makes one for a test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{
		cert: &x509.Certificate{
			Subject: pkix.Name{CommonName: "an authority that renews"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			SubjectKeyId: []byte(rand.Text()),
		},
		file: filepath.Join(t.TempDir(), "ca.pem"),
	}
	a.key = issue(t, a.cert, nil, nil, a.file, a.file+".key")
	var err error
	if a.PEM, err = os.ReadFile(a.file); err != nil {
		t.Fatal(err)
	}
	return a
}

// Issue writes a certificate and its key, one file after the other. It is one for 127.0.0.1, for
// servers and clients, and expires after the given time.
func (a *Authority) Issue(t testing.TB, cert, key string, life time.Duration) {
	t.Helper()
	issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "gateway"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, a.key, cert, key)
}

// issue makes a key and a certificate, signed by the parent or by itself, and writes both.
func issue(t testing.TB, template, parent *x509.Certificate, signer *ecdsa.PrivateKey, cert, key string) *ecdsa.PrivateKey {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, own
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, cert, "CERTIFICATE", raw)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, key, "PRIVATE KEY", pkcs8)
	return own
}

func writePEM(t testing.TB, path, kind string, raw []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ServerPublicKey is the public key of the server in PEM.
func (c *Certificates) ServerPublicKey(t testing.TB) []byte {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(c.ServerCert, c.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKIXPublicKey(pair.Leaf.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: raw})
}
