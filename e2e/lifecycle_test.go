package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestValidateDialsNothing: caddy validate succeeds with etcd and backends down, and does not even
// try them.
func TestValidateDialsNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var dials atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dials.Add(1)
			conn.Close()
		}
	}()
	addr := listener.Addr().String()
	for name, text := range map[string]string{
		"etcd":   ":8080\ngrpc_gateway etcd://" + addr + "/user.rpc\n",
		"static": ":8080\ngrpc_gateway " + addr + "\n",
		"require_ready": "{\n\tgrpc_gateway {\n\t\tetcd {\n\t\t\tendpoints " + addr + "\n\t\t}\n\t}\n}\n:8080\n" +
			"grpc_gateway {\n\tupstream u {\n\t\tdiscover etcd u\n\t\trequire_ready 5s\n\t}\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "Caddyfile")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(kit.Binary(t), "validate", "--config", path, "--adapter", "caddyfile")
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir)
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "Valid configuration") {
				t.Fatalf("validate: %v\n%s", err, out)
			}
			time.Sleep(100 * time.Millisecond)
			if n := dials.Load(); n != 0 {
				t.Errorf("%d connections were opened", n)
			}
		})
	}
}

// TestStartWithEtcdDown: everything starts, answers 503 with a Status body, and heals by itself.
func TestStartWithEtcdDown(t *testing.T) {
	etcd := kit.EmbeddedEtcd(t)
	backend := testkit.StartBackend(t)
	etcd.Put(t, "user.rpc/1", backend.Addr())
	etcd.Stop()
	caddy := kit.StartCaddy(t, options(etcd, "user.rpc", ""))
	for range 3 {
		code, body, err := kit.GetJSON(http.DefaultClient, caddy.URL("/v1/echo/hello"))
		if err != nil {
			t.Fatal(err)
		}
		var status struct {
			Code    int
			Message string
		}
		if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusServiceUnavailable || status.Code != 14 || status.Message == "" {
			t.Fatalf("with etcd down: %d %s", code, body)
		}
		time.Sleep(500 * time.Millisecond)
	}
	etcd.Start(t)
	took := kit.Eventually(t, 15*time.Second, "200 after etcd came up", func() error {
		_, err := whoAnswers(http.DefaultClient, caddy)
		return err
	})
	t.Logf("answered 200 %v after etcd was up", took)
	if took > 5*time.Second {
		t.Errorf("healed %v after etcd was up, not within 5 s", took)
	}
}

// TestEtcdKilled: calls go on without etcd, and what changed meanwhile is used when it is back.
func TestEtcdKilled(t *testing.T) {
	etcd, _, addrs := fleet(t, 2)
	caddy := kit.StartCaddy(t, options(etcd, "user.rpc", ""))
	serving(t, caddy, addrs)
	load := kit.StartLoad(kit.H2C(), 100, echoGet(caddy), echoed)
	etcd.Stop()
	time.Sleep(5 * time.Second)
	etcd.Start(t)
	late := testkit.StartBackend(t)
	etcd.Put(t, "user.rpc/late", late.Addr())
	took := caddy.WaitReady(t, 45*time.Second, append(addrs, late.Addr())...)
	t.Logf("an instance registered after the outage is READY after %v", took)
	kit.NoFailures(t, load.Stop(), 400)
}

// slowCall starts a call that takes the given time at the backend, and returns its answer on a
// channel.
func slowCall(caddy *kit.Caddy, delay time.Duration) <-chan callResult {
	done := make(chan callResult, 1)
	go func() {
		body := fmt.Sprintf(`{"text":"slow","script":{"delay":"%.1fs"}}`, delay.Seconds())
		client := kit.H2C()
		req, _ := http.NewRequest(http.MethodPost, caddy.URL("/v1/echo"), strings.NewReader(body))
		resp, err := client.Do(req)
		if err != nil {
			done <- callResult{err: err}
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		done <- callResult{resp.StatusCode, string(text), err}
	}()
	return done
}

type callResult struct {
	code int
	body string
	err  error
}

// TestRemovedInstanceFinishesItsCalls: calls in flight at a removed instance finish; at
// drain_timeout the rest ends.
func TestRemovedInstanceFinishesItsCalls(t *testing.T) {
	etcd, backends, addrs := fleet(t, 1)
	opts := options(etcd, "user.rpc", "drain_timeout 3s\ntimeout 60s")
	opts.Site = strings.TrimSuffix(opts.Site, "}") + "\ttimeout 60s\n}"
	caddy := kit.StartCaddy(t, opts)
	serving(t, caddy, addrs)
	short, long := slowCall(caddy, 1500*time.Millisecond), slowCall(caddy, 30*time.Second)
	kit.Eventually(t, 10*time.Second, "both calls are in flight", func() error {
		if n := backends[0].InFlight(); n < 2 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
	// Another one stays: that the last one vanishes would not be believed at once.
	stays := testkit.StartBackend(t)
	etcd.Put(t, "user.rpc/stays", stays.Addr())
	caddy.WaitReady(t, 10*time.Second, append(addrs, stays.Addr())...)
	start := time.Now()
	etcd.Delete(t, "user.rpc/0")
	if r := <-short; r.err != nil || r.code != http.StatusOK {
		t.Errorf("a call of 1.5 s in flight at the removal: %+v", r)
	}
	r := <-long
	t.Logf("the endless call ended %v after the removal: %+v", time.Since(start), r)
	if r.err != nil || r.code != http.StatusServiceUnavailable || !strings.Contains(r.body, `"code":14`) {
		t.Errorf("a call that outlives drain_timeout: %+v", r)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("the long call ended after %v, before drain_timeout", took)
	}
}

// TestSIGTERMWaitsForCalls: calls in flight end well, and the process ends after them.
func TestSIGTERMWaitsForCalls(t *testing.T) {
	etcd, backends, addrs := fleet(t, 2)
	caddy := kit.StartCaddy(t, options(etcd, "user.rpc", ""))
	serving(t, caddy, addrs)
	var calls []<-chan callResult
	for range 10 {
		calls = append(calls, slowCall(caddy, 2*time.Second))
	}
	kit.Eventually(t, 10*time.Second, "the calls are in flight", func() error {
		if n := backends[0].InFlight() + backends[1].InFlight(); n < 10 {
			return fmt.Errorf("%d calls in flight", n)
		}
		return nil
	})
	caddy.Terminate(t)
	for _, call := range calls {
		if r := <-call; r.err != nil || r.code != http.StatusOK {
			t.Errorf("a call in flight at SIGTERM: %+v", r)
		}
	}
	caddy.Wait(t, 40*time.Second)
}
