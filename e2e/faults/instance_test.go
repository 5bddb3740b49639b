package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// instanceConfig is what an instance of the service is told at its start.
type instanceConfig struct {
	Addr       string        // to listen on; a free port of 127.0.0.1 by default
	Journal    string        // file that gets the text of every unary call that is executed
	Etcd       []string      // where to register; not at all by default
	Key        string        // under which
	Weight     int           // with this one; 0: without
	TTL        int64         // seconds of the lease
	MaxAge     time.Duration // of connections, 0 for ever
	MaxStreams uint32        // of a connection, 0 for any number
}

// stats is what an instance says of itself.
type stats struct{ Accepted, Open, Calls, InFlight int }

// instance is an instance of the service in a process of its own.
type instance struct {
	*process
	addr, key, journal string
}

// startInstance starts one; where it is told of etcd it has registered itself by a lease before
// this returns.
func startInstance(t testing.TB, config instanceConfig, prefix ...string) *instance {
	t.Helper()
	config.Journal = filepath.Join(t.TempDir(), "journal")
	p := start(t, "instance", config, prefix...)
	return &instance{process: p, addr: p.ready, key: config.Key, journal: config.Journal}
}

func (i *instance) stats(t testing.TB) stats {
	t.Helper()
	var s stats
	if err := json.Unmarshal([]byte(i.must(t, "stats")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// executed returns how often the instance began each unary call, also after its death.
func (i *instance) executed(t testing.TB) map[string]int {
	t.Helper()
	text, err := os.ReadFile(i.journal)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, id := range strings.Fields(string(text)) {
		counts[id]++
	}
	return counts
}

// freeze and thaw stop and continue the process.
func (i *instance) freeze() { i.signal(syscall.SIGSTOP) }
func (i *instance) thaw()   { i.signal(syscall.SIGCONT) }

// The rest of this file runs in the instance's process.

type role struct {
	config  instanceConfig
	backend *testkit.Backend
	journal *os.File
	delay   atomic.Int64 // nanoseconds that unary calls take longer
	fail    atomic.Int64 // code that unary calls fail with
	lease   *registration
}

func runInstance(text string) error {
	r := &role{}
	if err := json.Unmarshal([]byte(text), &r.config); err != nil {
		return err
	}
	var err error
	if r.journal, err = os.OpenFile(r.config.Journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	opts := []testkit.Option{testkit.WithServerOptions(r.serverOptions()...)}
	if r.config.Addr != "" {
		opts = append(opts, testkit.WithAddress(r.config.Addr))
	}
	r.backend = testkit.NewBackend(opts...)
	if err := r.backend.Start(); err != nil {
		return err
	}
	if len(r.config.Etcd) > 0 {
		value := r.backend.Addr()
		if r.config.Weight > 0 {
			value += fmt.Sprint("?weight=", r.config.Weight)
		}
		if r.lease, err = register(r.config, value); err != nil {
			return err
		}
	}
	return serveCommands(r.backend.Addr(), r.answer)
}

func (r *role) serverOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(r.intercept),
		// Pings of any frequency: rows with a short keepalive are about instances that permit it.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	}
	if r.config.MaxAge > 0 {
		opts = append(opts, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: r.config.MaxAge, MaxConnectionAgeGrace: time.Minute}))
	}
	if r.config.MaxStreams > 0 {
		opts = append(opts, grpc.MaxConcurrentStreams(r.config.MaxStreams))
	}
	return opts
}

// intercept writes the call down before anything else: one write to a file outlives the process.
func (r *role) intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if call, ok := req.(interface{ GetText() string }); ok {
		if _, err := r.journal.WriteString(call.GetText() + "\n"); err != nil {
			return nil, err
		}
	}
	if delay := time.Duration(r.delay.Load()); delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if code := codes.Code(uint32(r.fail.Load())); code != codes.OK {
		return nil, status.Error(code, "told to fail")
	}
	return handler(ctx, req)
}

func (r *role) answer(command, argument string) (string, error) {
	switch command {
	case "stats":
		text, err := json.Marshal(stats{r.backend.Accepted(), r.backend.Open(), r.backend.Calls(), r.backend.InFlight()})
		return string(text), err
	case "delay": // <duration>
		d, err := time.ParseDuration(argument)
		r.delay.Store(int64(d))
		return "ok", err
	case "fail": // <code>
		code, err := strconv.Atoi(argument)
		r.fail.Store(int64(code))
		return "ok", err
	case "deregister": // revokes the lease
		return "ok", r.lease.end(true)
	case "abandon": // lets the lease expire
		return "ok", r.lease.end(false)
	case "graceful": // serves what is in flight, takes no more
		r.backend.GracefulStop()
		return "ok", nil
	default:
		return "", fmt.Errorf("unknown command %q", command)
	}
}

// registration keeps a key under a lease, and makes both again when etcd lost them.
type registration struct {
	client *clientv3.Client
	lease  atomic.Int64
	cancel context.CancelFunc
	done   chan struct{}
}

func register(config instanceConfig, value string) (*registration, error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: config.Etcd, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &registration{client: client, cancel: cancel, done: make(chan struct{})}
	alive, err := r.once(ctx, config, value)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("register at %v: %w", config.Etcd, err)
	}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			if alive != nil {
				for range alive { // until the lease is lost
				}
			}
			if ctx.Err() != nil {
				return
			}
			time.Sleep(200 * time.Millisecond)
			alive, _ = r.once(ctx, config, value)
		}
	}()
	return r, nil
}

func (r *registration) once(ctx context.Context, config instanceConfig, value string) (<-chan *clientv3.LeaseKeepAliveResponse, error) {
	brief, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	lease, err := r.client.Grant(brief, config.TTL)
	if err != nil {
		return nil, err
	}
	if _, err := r.client.Put(brief, config.Key, value, clientv3.WithLease(lease.ID)); err != nil {
		return nil, err
	}
	r.lease.Store(int64(lease.ID))
	return r.client.KeepAlive(ctx, lease.ID)
}

func (r *registration) end(revoke bool) error {
	r.cancel()
	<-r.done
	if !revoke {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := r.client.Revoke(ctx, clientv3.LeaseID(r.lease.Load()))
	return err
}
