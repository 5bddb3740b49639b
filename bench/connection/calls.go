package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddy-grpc/gateway/bench/internal/canned"
	"github.com/caddy-grpc/gateway/bench/internal/fleet"
	"github.com/caddy-grpc/gateway/bench/internal/page"
)

// calls makes n calls, one after the other, over one connection to the gateway.
func calls(addr string, n int) ([]time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	var latencies []time.Duration
	for range n {
		start := time.Now()
		if err := call(client, addr); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}

func call(client *http.Client, addr string) error {
	w, err := canned.Find(canned.Get)
	if err != nil {
		return err
	}
	resp, err := client.Get("http://" + addr + w.Path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return w.Check(body)
}

const (
	many = 500                    // calls at a time
	hold = 300 * time.Millisecond // that the backend takes for each
)

// concurrency has many calls at a time, and counts the connections to the backend.
func concurrency() (string, error) {
	t := page.NewTable(fmt.Sprintf("%d calls of %v at a time", many, hold), "connections to the backend", "time until all are answered, ms")
	grown := func(b fleet.Backends) string {
		return fmt.Sprintf("grpc_gateway {\nupstream bench {\ndiscover static %s\ndescriptors protoset %s\nconnections 1 8\n}\n}", b.GRPC, b.Protoset)
	}
	for _, tt := range []struct {
		name    string
		streams string // a connection may have, 0 is any number
		site    func(fleet.Backends) string
	}{
		{"the gateway's pool", "0", fleet.Peers()[0].Site},
		{"the same, and the backend takes 100 calls a connection", "100", fleet.Peers()[0].Site},
		{"the same, with `connections 1 8`", "100", grown},
		{"one grpc-go connection, and the backend takes 100 calls a connection", "100", func(b fleet.Backends) string { return "bench_floor " + b.GRPC }},
		{"connecting for each call, as HTTP/1.1 needs it", "0", func(b fleet.Backends) string { return "bench_floor " + b.GRPC + " dial" }},
	} {
		connections, took, err := atOnce(tt.streams, tt.site)
		if err != nil {
			return "", fmt.Errorf("%s: %w", tt.name, err)
		}
		t.Row(tt.name, fmt.Sprint(connections), ms(took))
	}
	return t.String(), nil
}

func atOnce(streams string, site func(fleet.Backends) string) (connections int, took time.Duration, err error) {
	f := &fleet.Fleet{Bin: binaries, BackendArgs: []string{"-hold", hold.String(), "-max-streams", streams}}
	defer f.Stop()
	if err := f.Start(); err != nil {
		return 0, 0, err
	}
	g, err := f.Launch(fleet.Peer{Name: "measured", Program: "caddy", Site: site})
	if err != nil {
		return 0, 0, err
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	errs := make([]error, many)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = call(client, g.Addr) })
	}
	wg.Wait()
	took = time.Since(start)
	connections, err = f.Connections()
	return connections, took, errors.Join(errors.Join(errs...), err)
}

// certificate makes one for bench.local that is its own authority.
func certificate(dir string) (certFile, keyFile string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench.local"}, DNSNames: []string{"bench.local"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER}), 0o600))
}
