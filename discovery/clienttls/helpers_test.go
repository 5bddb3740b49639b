package clienttls

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// authority issues certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	a.cert, a.key = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and its key. The first certificate is the authority's own.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	template.Subject = pkix.Name{CommonName: "test " + template.SerialNumber.String()}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
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

// pair is a certificate with its key, as PEM.
type pair struct {
	serial    string
	cert, key []byte
}

// issue makes a certificate for server.test that is also a client's.
func (a *authority) issue(t *testing.T) pair {
	t.Helper()
	cert, key := a.sign(t, &x509.Certificate{
		DNSNames:    []string{"server.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert.SerialNumber.String(), encode(cert), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})}
}

func (a *authority) pem() []byte { return encode(a.cert) }

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// server returns the config of a server that demands a client certificate of the authority.
func (a *authority) server(t *testing.T) *tls.Config {
	t.Helper()
	own := a.issue(t)
	cert, err := tls.X509KeyPair(own.cert, own.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"},
	}
}

// files are what a client is configured with, in a directory of the test.
type files struct {
	t             *testing.T
	dir           string
	cert, key, ca string
}

func newFiles(t *testing.T) *files {
	t.Helper()
	dir := t.TempDir()
	return &files{t, dir, filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"), filepath.Join(dir, "ca.pem")}
}

// write replaces a file as renewals do, and lets it be old.
func (f *files) write(name string, content []byte) {
	f.t.Helper()
	f.writeFresh(name, content)
	f.settle(name)
}

// writeFresh writes a file that may still be being written.
func (f *files) writeFresh(name string, content []byte) {
	f.t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		f.t.Fatal(err)
	}
}

func (f *files) settle(names ...string) {
	f.t.Helper()
	past := time.Now().Add(-time.Minute)
	for _, name := range names {
		if err := os.Chtimes(name, past, past); err != nil {
			f.t.Fatal(err)
		}
	}
}

func (f *files) writePair(p pair) {
	f.t.Helper()
	f.write(f.cert, p.cert)
	f.write(f.key, p.key)
}

// config has a client certificate and a trusted authority.
func (f *files) config() *reverseproxy.TLSConfig {
	return &reverseproxy.TLSConfig{
		ServerName: "server.test", ClientCertificateFile: f.cert, ClientCertificateKeyFile: f.key, CARaw: fileCA(f.ca),
	}
}

func fileCA(names ...string) json.RawMessage {
	raw, _ := json.Marshal(caModule{Provider: "file", PEMFiles: names})
	return raw
}

// loaded loads a config, and returns the client with its log. The config that it belongs to ends at
// once.
func loaded(t *testing.T, config *reverseproxy.TLSConfig) (*Client, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	c, err := load(ctx, config, func() *zap.Logger { return zap.New(core) })
	if err != nil {
		t.Fatal(err)
	}
	return c, logs
}

// serial returns the serial number of the client certificate that the next handshake presents.
func serial(c *Client) string {
	return c.Config().Certificates[0].Leaf.SerialNumber.String()
}
