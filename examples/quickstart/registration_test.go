package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const testKey = "test.rpc"

// testEtcd runs an etcd for the test.
func testEtcd(t *testing.T) *clientv3.Client {
	t.Helper()
	server, err := startEtcd("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.close)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.addr}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// registered are the registrations under the key: the address by its lease.
func registered(t *testing.T, client *clientv3.Client) map[clientv3.LeaseID]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := client.Get(ctx, testKey+"/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	found := map[clientv3.LeaseID]string{}
	for _, kv := range resp.Kvs {
		id, err := strconv.ParseInt(strings.TrimPrefix(string(kv.Key), testKey+"/"), 10, 64)
		if err != nil || id != kv.Lease {
			t.Errorf("expected the lease %d at the end of the key %s", kv.Lease, kv.Key)
		}
		found[clientv3.LeaseID(kv.Lease)] = string(kv.Value)
	}
	return found
}

// one is the only registration. It waits for it, because registering again takes a moment.
func one(t *testing.T, client *clientv3.Client, not clientv3.LeaseID) (lease clientv3.LeaseID, addr string) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		found := registered(t, client)
		for lease, addr := range found {
			if len(found) == 1 && lease != not {
				return lease, addr
			}
		}
		last = fmt.Sprint(found)
	}
	t.Fatalf("expected one registration under another lease than %d, found %s", not, last)
	return 0, ""
}

// An instance whose lease is gone registers again, as often as that happens, and leaves nothing
// when it ends.
func TestInstanceRegistersAgain(t *testing.T) {
	client := testEtcd(t)
	inst, err := startInstance(t.Context(), client, testKey, newUserStore())
	if err != nil {
		t.Fatal(err)
	}
	lease, addr := one(t, client, 0)
	if addr != inst.addr {
		t.Errorf("expected %s, found %s", inst.addr, addr)
	}
	for range 2 {
		if _, err := client.Revoke(t.Context(), lease); err != nil {
			t.Fatal(err)
		}
		if lease, addr = one(t, client, lease); addr != inst.addr {
			t.Errorf("expected %s, found %s", inst.addr, addr)
		}
	}
	inst.close()
	if left := registered(t, client); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestInstanceWithoutEtcd(t *testing.T) {
	client := testEtcd(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := startInstance(ctx, client, testKey, newUserStore()); err == nil {
		t.Error("expected an error")
	}
}
