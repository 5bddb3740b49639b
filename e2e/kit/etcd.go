package kit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/freeport"
)

// Etcd is a real single-node etcd server that can be stopped and started again with its data, at
// the same address.
type Etcd struct {
	Addr  string // host:port for clients
	login clientv3.Config
	start func() (stop func(), err error)
	stop  func()
}

// EtcdOptions are what a server has beyond the defaults.
type EtcdOptions struct {
	// TLS secures the port for clients. Those of this package have its client certificate.
	TLS *Certificates
	// ClientCertAuth demands a certificate of clients.
	ClientCertAuth bool
	// AuthToken is etcd's option auth-token: simple, or jwt with its parameters; default: simple.
	AuthToken string
	// AuthTokenTTL is the life of simple tokens in seconds; default 300.
	AuthTokenTTL uint
}

// EmbeddedEtcd starts the current etcd server in this process; it lives as long as the test.
func EmbeddedEtcd(t testing.TB) *Etcd {
	t.Helper()
	return EmbeddedEtcdWith(t, EtcdOptions{})
}

// EmbeddedEtcdWith is EmbeddedEtcd with options.
func EmbeddedEtcdWith(t testing.TB, opts EtcdOptions) *Etcd {
	t.Helper()
	dir := t.TempDir()
	e := &Etcd{Addr: FreeAddr(t)}
	if opts.TLS != nil {
		e.login.TLS = opts.TLS.Client
	}
	e.start = func() (func(), error) { return startEmbedded(e.Addr, dir, opts) }
	return e.up(t)
}

// ProcessEtcd starts the etcd binary that the machine has (Debian's package etcd-server) as a
// process.
func ProcessEtcd(t testing.TB) *Etcd {
	t.Helper()
	return ProcessEtcdWith(t)
}

// ProcessEtcdWith is ProcessEtcd with more arguments.
func ProcessEtcdWith(t testing.TB, args ...string) *Etcd {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Fatalf("the etcd binary is needed (apt-get install etcd-server): %v", err)
	}
	dir := t.TempDir()
	e := &Etcd{Addr: FreeAddr(t)}
	peer := FreeAddr(t)
	e.start = func() (func(), error) { return startProcess(binary, e.Addr, peer, dir, args) }
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
	Eventually(t, 60*time.Second, "etcd answers", func() error {
		client, err := e.dial() // logs in, if need be
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err = client.Get(ctx, "x")
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
	client, err := e.dial()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (e *Etcd) dial() (*clientv3.Client, error) {
	config := e.login
	config.Endpoints, config.DialTimeout, config.Logger = []string{e.Addr}, 5*time.Second, zap.NewNop()
	return clientv3.New(config)
}

// EnableAuth switches on etcd's access control, with a user who may read the keys under a prefix
// and nothing else. The server's own clients log in as root from now on.
func (e *Etcd) EnableAuth(t testing.TB, user, password, prefix string) {
	t.Helper()
	client := e.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const root = "root"
	for _, step := range []func() error{
		func() error { _, err := client.UserAdd(ctx, root, root); return err },
		func() error { _, err := client.UserGrantRole(ctx, root, root); return err },
		func() error { _, err := client.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, user, password); return err },
		func() error { _, err := client.UserGrantRole(ctx, user, "reader"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatalf("enable etcd's access control: %v", err)
		}
	}
	e.login.Username, e.login.Password = root, root
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

// DeletePrefix removes all keys with a prefix at once, as somebody does by accident.
func (e *Etcd) DeletePrefix(t testing.TB, prefix string) {
	t.Helper()
	client := e.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := client.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
		t.Fatalf("delete %s: %v", prefix, err)
	}
}

// PutAll writes many keys, without leases.
func (e *Etcd) PutAll(t testing.TB, values map[string]string) {
	t.Helper()
	client := e.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var ops []clientv3.Op
	for key, value := range values {
		ops = append(ops, clientv3.OpPut(key, value))
	}
	for chunk := range slices.Chunk(ops, 100) { // etcd takes 128 in a transaction.
		if _, err := client.Txn(ctx).Then(chunk...).Commit(); err != nil {
			t.Fatalf("put %d keys: %v", len(values), err)
		}
	}
}

func startEmbedded(addr, dir string, opts EtcdOptions) (func(), error) {
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
	cfg.BcryptCost = 4 // the least; with the race detector the default takes seconds for a login
	if opts.TLS != nil {
		cfg.ListenClientUrls = []url.URL{{Scheme: "https", Host: addr}}
		cfg.AdvertiseClientUrls = cfg.ListenClientUrls
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = opts.TLS.ServerCert, opts.TLS.ServerKey
		if opts.ClientCertAuth { // An authority alone would demand a certificate, too.
			cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = opts.TLS.CA, true
		}
	}
	cfg.AuthToken, cfg.AuthTokenTTL = cmp.Or(opts.AuthToken, cfg.AuthToken), cmp.Or(opts.AuthTokenTTL, cfg.AuthTokenTTL)
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

func startProcess(binary, client, peer, dir string, args []string) (func(), error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open etcd's log: %w", err)
	}
	cmd := exec.Command(binary, append([]string{
		"--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", "http://" + client, "--advertise-client-urls", "http://" + client,
		"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
		"--initial-cluster", "default=http://" + peer,
	}, args...)...)
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

// FreeAddr returns an address of this machine on which nobody listens, and which only a server that
// is told to takes.
func FreeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
