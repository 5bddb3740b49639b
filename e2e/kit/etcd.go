package kit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Etcd is a real single-node etcd server that can be stopped and started again with its data, at the same address.
type Etcd struct {
	Addr  string // host:port for clients
	start func() (stop func(), err error)
	stop  func()
}

// EmbeddedEtcd starts the current etcd server in this process; it lives as long as the test.
func EmbeddedEtcd(t testing.TB) *Etcd {
	t.Helper()
	dir := t.TempDir()
	e := &Etcd{Addr: FreeAddr(t)}
	e.start = func() (func(), error) { return startEmbedded(e.Addr, dir) }
	return e.up(t)
}

// ProcessEtcd starts the etcd binary that the machine has (Debian's package etcd-server) as a process.
func ProcessEtcd(t testing.TB) *Etcd {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatalf("the etcd binary is needed (apt-get install etcd-server): %v", err)
	}
	dir := t.TempDir()
	e := &Etcd{Addr: FreeAddr(t)}
	peer := FreeAddr(t)
	e.start = func() (func(), error) { return startProcess(binary, e.Addr, peer, dir) }
	return e.up(t)
}

func (e *Etcd) up(t testing.TB) *Etcd {
	t.Helper()
	e.Start(t)
	t.Cleanup(e.Stop)
	return e
}

// Start starts the server again after a Stop, and waits until it answers.
func (e *Etcd) Start(t testing.TB) {
	t.Helper()
	stop, err := e.start()
	if err != nil {
		t.Fatal(err)
	}
	e.stop = stop
	client := e.Client(t)
	defer client.Close()
	Eventually(t, 30*time.Second, "etcd answers", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := client.Get(ctx, "x")
		return err
	})
}

// Stop ends the server and keeps its data. It may be called twice.
func (e *Etcd) Stop() {
	if e.stop != nil {
		e.stop()
		e.stop = nil
	}
}

// Client returns a client of the server.
func (e *Etcd) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{e.Addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Put writes a key, without a lease.
func (e *Etcd) Put(t testing.TB, key, value string) {
	t.Helper()
	client := e.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := client.Put(ctx, key, value); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Delete removes a key.
func (e *Etcd) Delete(t testing.TB, key string) {
	t.Helper()
	client := e.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := client.Delete(ctx, key); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

func startEmbedded(addr, dir string) (func(), error) {
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.LogLevel = "error"
	cfg.LogOutputs = []string{filepath.Join(dir, "log")}
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: addr}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server.Close, nil
	case err := <-server.Err():
		server.Close()
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	case <-time.After(30 * time.Second):
		server.Close()
		return nil, errors.New("start embedded etcd: not ready after 30 s")
	}
}

func startProcess(binary, client, peer, dir string) (func(), error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open etcd's log: %w", err)
	}
	cmd := exec.Command(binary,
		"--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "default=http://"+peer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	}, nil
}

// FreeAddr returns an address of this machine that was free a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
