package faults

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// lasting registers instances without a lease, for rows in which no lease could be kept.
func lasting(t testing.TB, etcd *cluster, ids ...string) []*instance {
	t.Helper()
	var instances []*instance
	for _, id := range ids {
		i := startInstance(t, instanceConfig{})
		i.key = key + "/" + id
		etcd.put(t, i.key, i.addr)
		instances = append(instances, i)
	}
	return instances
}

// startLasting is startWorld with instances that are registered without a lease.
func startLasting(t *testing.T, etcd *cluster, site siteOptions, ids ...string) *world {
	t.Helper()
	w := &world{etcd: etcd, site: site, instances: lasting(t, etcd, ids...)}
	w.start(t, addrs(w.instances))
	return w
}

// TestEtcdRestarted: etcd is killed; instances come and go while only it knows; 5 s after it is
// back the gateway knows, too.
func TestEtcdRestarted(t *testing.T) {
	t.Parallel()
	outages := either([]time.Duration{3 * time.Second}, []time.Duration{10 * time.Second, 10 * time.Minute})
	for _, outage := range outages {
		t.Run(outage.String(), func(t *testing.T) {
			w := startLasting(t, startCluster(t, 1), siteOptions{}, "0", "1", "2")
			before := w.accepted(t)
			load := w.load(either(50, 20))
			time.Sleep(time.Second)
			w.etcd.members[0].kill()
			time.Sleep(outage)
			w.etcd.members[0].start(t)
			w.etcd.waitUp(t)
			up := time.Now()
			fresh := lasting(t, w.etcd, "fresh")[0]
			w.etcd.remove(t, w.instances[0].key)
			w.until(t, 30*time.Second, fresh.addr, "READY")
			w.until(t, 30*time.Second, w.instances[0].addr, "", "draining")
			took := time.Since(up)
			if took > 5*time.Second {
				t.Errorf("the changes were visible %v after etcd was back, not within 5 s", took)
			}
			w.instances = append(w.instances, fresh)
			time.Sleep(time.Second)
			h := load.stop(t)
			h.want(t, 0)
			w.sameConnections(t, before, w.instances[1], w.instances[2])
			line := h.row(7, "etcd killed, restarted after "+outage.String())
			line.Recovery, line.Connections, line.Note = took, "0 re-dials", "recovered: changes are in use"
			table.add(line)
		})
	}
}

// TestEtcdMembersLost: of three members the leader is killed, then a second, so that there is no
// quorum; then a gateway starts; then the members come back.
func TestEtcdMembersLost(t *testing.T) {
	t.Parallel()
	w := startLasting(t, startCluster(t, 3), siteOptions{}, "0", "1", "2")
	before := w.accepted(t)
	load := w.load(either(50, 20))
	time.Sleep(time.Second)

	leads, follows := w.etcd.leader(t)
	leads.kill()
	lost := time.Now()
	w.etcd.waitUp(t)
	fresh := lasting(t, w.etcd, "fresh")[0]
	w.until(t, 30*time.Second, fresh.addr, "READY")
	leaderLost := time.Since(lost)
	w.instances = append(w.instances, fresh)

	follows.kill()
	pause(3*time.Second, 30*time.Second)
	started := time.Now()
	cold := kit.StartCaddy(t, w.site.options())
	cold.WaitReady(t, 30*time.Second, addrs(w.instances)...)
	kit.Eventually(t, 10*time.Second, "the gateway that started without a quorum answers", func() error { return answers(cold) })
	coldStart := time.Since(started)

	leads.start(t)
	follows.start(t)
	w.etcd.waitUp(t)
	back := time.Now()
	last := lasting(t, w.etcd, "last")[0]
	all := append(addrs(w.instances), last.addr)
	w.WaitReady(t, 30*time.Second, all...)
	quorumBack := time.Since(back)
	cold.WaitReady(t, 30*time.Second, all...)
	w.instances = append(w.instances, last)
	if quorumBack > 5*time.Second {
		t.Errorf("a change was visible %v after the quorum was back, not within 5 s", quorumBack)
	}
	h := load.stop(t)
	h.want(t, 0)
	for _, i := range w.instances[:3] {
		// One connection of this gateway, one of the other.
		if got := i.stats(t).Accepted; got != before[i.addr]+1 {
			t.Errorf("instance %s has accepted %d connections, %d before", i.addr, got, before[i.addr])
		}
	}
	line := h.row(8, "etcd of three: leader lost, quorum lost, cold start then")
	line.Recovery, line.Connections = leaderLost, "0 re-dials"
	line.Note = fmt.Sprintf("leader lost to a new instance in use: %v; cold start without a quorum to the first answer: %v; quorum back to a new one in use: %v",
		ms(leaderLost), ms(coldStart), ms(quorumBack))
	table.add(line)
}

// TestCutOff: the gateway is cut off from etcd, the revisions it would go on from are compacted,
// and it is healed: it takes over the difference and dials nothing that it has.
func TestCutOff(t *testing.T) {
	t.Parallel()
	etcd := startCluster(t, 1)
	proxy := testkit.StartProxy(t, etcd.addrs()[0])
	w := startLasting(t, etcd, siteOptions{Etcd: []string{proxy.Addr()}}, "0", "1", "2", "3", "4")
	before := w.accepted(t)
	load := w.load(50)
	time.Sleep(time.Second)
	proxy.BlackHole()
	// Longer than etcd's client needs to see it (10 s and 5 s), so the watch has to be made
	// again.
	pause(18*time.Second, time.Minute)
	w.etcd.remove(t, w.instances[0].key)
	fresh := lasting(t, etcd, "fresh")[0]
	var revision int64
	for n := range 100 {
		revision = etcd.do(t, clientv3.OpPut("elsewhere", fmt.Sprint(n)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := etcd.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	proxy.Heal()
	healed := time.Now()
	w.until(t, time.Minute, fresh.addr, "READY")
	w.until(t, time.Minute, w.instances[0].addr, "", "draining")
	took := time.Since(healed)
	w.instances = append(w.instances, fresh)
	time.Sleep(time.Second)
	h := load.stop(t)
	h.want(t, 0)
	w.sameConnections(t, before, w.instances[1:5]...)
	line := h.row(9, "gateway cut off from etcd, revisions compacted, healed")
	line.Recovery, line.Connections, line.Note = took, "0 re-dials", "recovered: the difference is in use"
	table.add(line)
}

// TestTokenExpired: logins to etcd last three seconds; after two of these the gateway still learns
// of changes.
func TestTokenExpired(t *testing.T) {
	t.Parallel()
	const ttl = 3
	etcd := startCluster(t, 1, func(c *memberConfig) { c.TokenTTL = ttl })
	w := &world{etcd: etcd, site: siteOptions{Etcd: etcd.addrs(), Login: "gateway secret"}}
	w.instances = lasting(t, etcd, "0", "1")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, step := range []func() error{
		func() error { _, err := etcd.client.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := etcd.client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := etcd.client.UserAdd(ctx, "gateway", "secret"); return err },
		func() error { _, err := etcd.client.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := etcd.client.RoleGrantPermission(ctx, "reader", key+"/", clientv3.GetPrefixRangeEnd(key+"/"), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := etcd.client.UserGrantRole(ctx, "gateway", "reader"); return err },
		func() error { _, err := etcd.client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	etcd.client = etcd.connect(t, "root", "root")
	w.start(t, addrs(w.instances))
	load := w.load(50)
	time.Sleep(2*ttl*time.Second + time.Second)
	fresh := lasting(t, etcd, "fresh")[0]
	took := w.until(t, 20*time.Second, fresh.addr, "READY")
	// Once more with a watch that has to log in again: the member is restarted, which forgets its
	// tokens.
	etcd.members[0].kill()
	etcd.members[0].start(t)
	time.Sleep(2*ttl*time.Second + time.Second)
	etcd.waitUp(t)
	last := lasting(t, etcd, "last")[0]
	again := w.until(t, 20*time.Second, last.addr, "READY")
	w.instances = append(w.instances, fresh, last)
	h := load.stop(t)
	h.want(t, 0)
	if took > 5*time.Second || again > 5*time.Second {
		t.Errorf("changes were visible after %v and, after a restart, %v, not within 5 s", took, again)
	}
	line := h.row(10, fmt.Sprintf("login to etcd expired (%d s), twice; etcd restarted, tokens lost", ttl))
	line.Recovery, line.Note = max(took, again), "recovered: a change is in use"
	table.add(line)
}

// TestLeasesExpire: all instances stop renewing their leases, and live on.
func TestLeasesExpire(t *testing.T) {
	t.Parallel()
	w := startWorld(t, startCluster(t, 1), 4, siteOptions{Discover: "hold 60s"}, instanceConfig{TTL: 2})
	before := w.accepted(t)
	load := w.load(50)
	time.Sleep(time.Second)
	for _, i := range w.instances {
		i.must(t, "abandon")
	}
	kit.Eventually(t, 20*time.Second, "all registrations are gone", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		resp, err := w.etcd.client.Get(ctx, key+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err == nil && resp.Count > 0 {
			err = fmt.Errorf("%d are left", resp.Count)
		}
		return err
	})
	pause(5*time.Second, 30*time.Second)
	for _, i := range w.instances {
		w.until(t, 5*time.Second, i.addr, "held")
	}
	// One of them dies: it is held no longer, and costs the safe calls nothing.
	w.instances[0].kill()
	w.until(t, 5*time.Second, w.instances[0].addr, "draining", "")
	pause(2*time.Second, 5*time.Second)
	h := load.stop(t)
	h.want(t, 10)
	w.sameConnections(t, before, w.instances[1:]...)
	line := h.row(11, "all leases expire while the instances live, then one dies")
	line.Connections, line.Note = "0 re-dials", "hold 60s"
	table.add(line)
}
