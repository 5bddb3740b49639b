package rpcwire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// certificate makes a certificate for a name, and a pool that trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

// The caller makes the TLS connection, with a certificate of its own if it has one.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t, "server.test")
	server := startEcho(t, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert})))
	raw, err := net.Dial("tcp", server.addr)
	if err != nil {
		t.Fatal(err)
	}
	secured := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "server.test", NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert}})
	var reads atomic.Uint64
	c, err := New(t.Context(), secured, Options{Scheme: "https", Authority: "server.test", Reads: &reads, KeepaliveTimeout: 7 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, c) })
	body := strings.Repeat("secret", 50_000)
	got, err := unary(t.Context(), c, new(Call), Request{Method: methodEcho, Body: [][]byte{[]byte(body)}})
	if err != nil || got != body {
		t.Error(len(got), err)
	}
	if reads.Load() < 2 {
		t.Errorf("%d reads were counted", reads.Load())
	}
	checkUserTimeout(t, raw, 7*time.Second)
}
