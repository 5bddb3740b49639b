package scaling

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// cluster are three etcd processes that are one cluster.
type cluster struct {
	members []string // host:port for clients
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := new(cluster)
	var peers []string
	for i := range 3 {
		c.members = append(c.members, kit.FreeAddr(t))
		peers = append(peers, fmt.Sprintf("m%d=http://%s", i, kit.FreeAddr(t)))
	}
	for i, member := range c.members {
		_, peer, _ := strings.Cut(peers[i], "=")
		run(t, "--name", fmt.Sprintf("m%d", i), "--data-dir", t.TempDir(),
			"--listen-client-urls", "http://"+member, "--advertise-client-urls", "http://"+member,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(peers, ","))
	}
	client := dial(t, c.members)
	kit.Eventually(t, 60*time.Second, "the cluster answers", func() error {
		_, err := client.Get(t.Context(), "x")
		return err
	})
	return c
}

// startProxy puts an etcd grpc-proxy before the cluster and returns its address.
func (c *cluster) startProxy(t *testing.T) string {
	t.Helper()
	addr := kit.FreeAddr(t)
	run(t, "grpc-proxy", "start", "--endpoints", strings.Join(c.members, ","), "--listen-addr", addr, "--data-dir", t.TempDir())
	client := dial(t, []string{addr})
	kit.Eventually(t, 60*time.Second, "the proxy answers", func() error {
		_, err := client.Get(t.Context(), "x")
		return err
	})
	return addr
}

// run starts the machine's etcd binary (Debian's package etcd-server) until the test ends.
func run(t *testing.T, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("etcd", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start etcd (apt-get install etcd-server): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
}

func dial(t *testing.T, endpoints []string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// counts is what etcd itself says of its work, added up over the members.
type counts struct {
	watchers, streams float64 // now
	reads, answers    float64 // Range calls; messages sent on watch streams
	sent, received    float64 // bytes to and from clients
	cpu               float64 // seconds
	resident          float64 // bytes
}

// counts reads /metrics of all members.
func (c *cluster) counts(t *testing.T) (sum counts) {
	t.Helper()
	for _, member := range c.members {
		m := scrape(t, member)
		sum.watchers += m["etcd_debugging_mvcc_watcher_total"]
		sum.streams += m["etcd_debugging_mvcc_watch_stream_total"]
		sum.reads += m[`grpc_server_started_total{grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"}`]
		sum.answers += m[`grpc_server_msg_sent_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"}`]
		sum.sent += m["etcd_network_client_grpc_sent_bytes_total"]
		sum.received += m["etcd_network_client_grpc_received_bytes_total"]
		sum.cpu += m["process_cpu_seconds_total"]
		sum.resident += m["process_resident_memory_bytes"]
	}
	return sum
}

// since is what was added since an earlier count.
func (c counts) since(before counts) counts {
	return counts{
		watchers: c.watchers - before.watchers, streams: c.streams - before.streams, reads: c.reads - before.reads, answers: c.answers - before.answers,
		sent: c.sent - before.sent, received: c.received - before.received, cpu: c.cpu - before.cpu, resident: c.resident - before.resident,
	}
}

// scrape reads the series of a Prometheus endpoint, by name and labels.
func scrape(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	series := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && lines.Text()[0] != '#' {
			if v, err := strconv.ParseFloat(lines.Text()[i+1:], 64); err == nil {
				series[lines.Text()[:i]] = v
			}
		}
	}
	return series
}
