package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// snapshots are the files in a data directory.
func snapshots(t *testing.T, data string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "caddy", "grpc_gateway", "snapshots", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// saved waits until the one file in a data directory has these addresses and no others, of so many.
func saved(t *testing.T, data string, addrs ...string) {
	t.Helper()
	kit.Eventually(t, 20*time.Second, "the snapshot is saved", func() error {
		files := snapshots(t, data)
		if len(files) != 1 {
			return fmt.Errorf("files: %v", files)
		}
		raw, err := os.ReadFile(files[0])
		if err != nil {
			return err
		}
		if n := strings.Count(string(raw), `"address"`); n != len(addrs) {
			return fmt.Errorf("%d instances: %s", n, raw)
		}
		for _, addr := range addrs {
			if !strings.Contains(string(raw), `"address":"`+addr+`"`) {
				return fmt.Errorf("%s is not in %s", addr, raw)
			}
		}
		return nil
	})
}

// registryOf is what the admin API says of the registry of the only upstream.
func registryOf(t *testing.T, c *kit.Caddy) kit.Registry {
	t.Helper()
	upstreams, err := c.Upstreams()
	if err != nil || len(upstreams) != 1 {
		t.Fatalf("upstreams %+v: %v", upstreams, err)
	}
	return upstreams[0].Registry
}

// TestColdStartWithoutEtcd: gateway and etcd stop, and the gateway starts without etcd: it serves
// from its snapshot, and goes over to etcd's list when that is back.
func TestColdStartWithoutEtcd(t *testing.T) {
	data := t.TempDir()
	etcd, backends, addrs := fleet(t, 2)
	opts := options(etcd, "user.rpc", "")
	opts.Data = data
	first := kit.StartCaddy(t, opts)
	serving(t, first, addrs)
	saved(t, data, addrs...)
	first.Terminate(t)
	first.Wait(t, 30*time.Second)
	etcd.Stop()

	started := time.Now()
	second := kit.StartCaddy(t, opts)
	kit.Eventually(t, 20*time.Second, "200 without etcd", func() error {
		_, err := whoAnswers(http.DefaultClient, second)
		return err
	})
	t.Logf("answered 200 without etcd %v after the start of the process", time.Since(started))
	second.WaitReady(t, 10*time.Second, addrs...)
	if r := registryOf(t, second); !r.Stale || r.Snapshot == nil || r.Error == "" || r.Instances != len(addrs) {
		t.Errorf("the admin API does not say that the list is from the snapshot: %+v", r)
	}
	kit.Eventually(t, 10*time.Second, "a line in the log", func() error {
		if !strings.Contains(second.Log(), "using the snapshot on disk") {
			return errors.New("the log does not say that the snapshot is used")
		}
		return nil
	})

	connections := backends[0].Accepted()
	load := kit.StartLoad(kit.H2C(), 50, echoGet(second), echoed)
	etcd.Start(t)
	late := testkit.StartBackend(t)
	etcd.Delete(t, "user.rpc/1")
	etcd.Put(t, "user.rpc/late", late.Addr())
	took := second.WaitReady(t, 20*time.Second, addrs[0], late.Addr())
	t.Logf("etcd's list is in use %v after its change", took)
	if r := registryOf(t, second); r.Stale || r.Snapshot != nil || r.Error != "" {
		t.Errorf("after etcd is back: %+v", r)
	}
	time.Sleep(time.Second) // The load goes on behind the change, which may have taken no time.
	kit.NoFailures(t, load.Stop(), 20)
	if got := backends[0].Accepted(); got != connections {
		t.Errorf("the instance that stayed was dialled again: %d connections, %d before", got, connections)
	}
	saved(t, data, addrs[0], late.Addr())
}

// TestTwoProcessesShareADataDirectory: both write the same file, under churn, and a third one can
// start from it.
func TestTwoProcessesShareADataDirectory(t *testing.T) {
	data := t.TempDir()
	etcd, _, addrs := fleet(t, 2)
	opts := options(etcd, "user.rpc", "")
	opts.Data = data
	a, b := kit.StartCaddy(t, opts), kit.StartCaddy(t, opts)
	serving(t, a, addrs)
	serving(t, b, addrs)
	late := testkit.StartBackend(t)
	for range 10 {
		etcd.Put(t, "user.rpc/late", late.Addr())
		time.Sleep(700 * time.Millisecond)
		etcd.Delete(t, "user.rpc/late")
		time.Sleep(700 * time.Millisecond)
	}
	etcd.Put(t, "user.rpc/late", late.Addr())
	all := slices.Concat(addrs, []string{late.Addr()})
	a.WaitReady(t, 10*time.Second, all...)
	b.WaitReady(t, 10*time.Second, all...)
	saved(t, data, all...)
	for _, c := range []*kit.Caddy{a, b} {
		c.Terminate(t)
		c.Wait(t, 30*time.Second)
		if log := c.Log(); strings.Contains(log, "cannot save the snapshot") || strings.Contains(log, "cannot be used") {
			t.Errorf("one is in the way of the other:\n%s", log)
		}
	}
	etcd.Stop()
	saved(t, data, all...)
	third := kit.StartCaddy(t, opts)
	third.WaitReady(t, 20*time.Second, all...)
}
