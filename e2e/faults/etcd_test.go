package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// memberConfig is what an etcd member is told at its start.
type memberConfig struct {
	Name, Dir, Client, Peer string
	Cluster                 string // as etcd's --initial-cluster
	Aside                   bool   // runs at the lowest priority
	TokenTTL                uint   // seconds of a login, 0 for etcd's default of five minutes
}

// member is one etcd server, the current version, in a process of its own. It keeps its data when
// it is killed.
type member struct {
	config memberConfig
	*process
}

func (m *member) start(t testing.TB) {
	t.Helper()
	var prefix []string
	if m.config.Aside {
		prefix = aside
	}
	m.process = start(t, "etcd", m.config, prefix...)
}

// cluster is an etcd cluster.
type cluster struct {
	members []*member
	client  *clientv3.Client
}

// startCluster starts a cluster of n members and waits until it has a leader.
func startCluster(t testing.TB, n int, change ...func(*memberConfig)) *cluster {
	t.Helper()
	c := &cluster{}
	var all []string
	for i := range n {
		m := &member{config: memberConfig{Name: fmt.Sprintf("m%d", i), Dir: t.TempDir(), Client: kit.FreeAddr(t), Peer: kit.FreeAddr(t)}}
		all = append(all, m.config.Name+"=http://"+m.config.Peer)
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.config.Cluster = strings.Join(all, ",")
		for _, fn := range change {
			fn(&m.config)
		}
		m.start(t)
	}
	c.client = c.connect(t, "", "")
	c.waitUp(t)
	return c
}

// connect returns a client that tries again every second at least: by default it would be two
// minutes after a long outage.
func (c *cluster) connect(t testing.TB, user, password string) *clientv3.Client {
	t.Helper()
	often := grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
		MinConnectTimeout: time.Second,
	})
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.addrs(), Username: user, Password: password, DialTimeout: 10 * time.Second, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{often},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// waitUp waits until the cluster answers linearizable reads.
func (c *cluster) waitUp(t testing.TB) {
	t.Helper()
	kit.Eventually(t, 60*time.Second, "etcd answers", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := c.client.Get(ctx, "x")
		return err
	})
}

func (c *cluster) addrs() []string {
	var addrs []string
	for _, m := range c.members {
		addrs = append(addrs, m.config.Client)
	}
	return addrs
}

// leader returns the member that leads, and one of the others.
func (c *cluster) leader(t testing.TB) (leads, follows *member) {
	t.Helper()
	kit.Eventually(t, 30*time.Second, "etcd has a leader", func() error {
		for _, m := range c.members {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			status, err := c.client.Status(ctx, m.config.Client)
			cancel()
			switch {
			case err != nil:
				continue
			case status.Leader == status.Header.MemberId:
				leads = m
			default:
				follows = m
			}
		}
		if leads == nil {
			return fmt.Errorf("no member leads")
		}
		return nil
	})
	return leads, follows
}

// put and remove write without a lease.
func (c *cluster) put(t testing.TB, key, value string) {
	t.Helper()
	c.do(t, clientv3.OpPut(key, value))
}

func (c *cluster) remove(t testing.TB, key string) {
	t.Helper()
	c.do(t, clientv3.OpDelete(key))
}

func (c *cluster) do(t testing.TB, ops ...clientv3.Op) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		t.Fatalf("write to etcd: %v", err)
	}
	return resp.Header.Revision
}

// runMember runs in the member's process.
func runMember(text string) error {
	var config memberConfig
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster = config.Name, filepath.Join(config.Dir, "data"), config.Cluster
	cfg.LogLevel, cfg.LogOutputs = "error", []string{filepath.Join(config.Dir, "log")}
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: config.Client}}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: config.Peer}}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.TickMs, cfg.ElectionMs = 100, 1000
	cfg.BcryptCost = 4 // the least: a login under the race detector would take a second
	if config.TokenTTL > 0 {
		cfg.AuthTokenTTL = config.TokenTTL
	}
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	defer server.Close()
	return serveCommands("up", func(command, _ string) (string, error) { return "", fmt.Errorf("unknown command %q", command) })
}
