package faults

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// silent is a way for an instance to fall silent without a word to its peers, and back.
type silent struct {
	instance *instance
	addr     string // where the gateway reaches it
	begin    func(t *testing.T)
	end      func(t *testing.T)
}

// TestSilent: an instance answers no more and closes nothing, and with `eject off` nobody looks
// whether it answers: what remains is what tells that the connection is dead.
//
// Where the kernel of the instance still acknowledges packets (SIGSTOP, a proxy), only a ping can
// tell: the keepalive is set to 10 s and 3 s, which these instances permit. Where packets vanish,
// TCP_USER_TIMEOUT tells as well, with a keepalive of five minutes. Calls may take longer than
// that, and safe ones then succeed elsewhere.
func TestSilent(t *testing.T) {
	t.Parallel()
	const pings = "keepalive 10s 3s\neject off"
	for _, c := range []struct {
		name, upstream string
		limit          time.Duration // of the detection
		make           func(t *testing.T, etcd *cluster) silent
	}{
		{"frozen by SIGSTOP, keepalive 10s 3s", pings, 15 * time.Second, frozen},
		{"black-holed by a proxy, keepalive 10s 3s", pings, 15 * time.Second, behindProxy},
		{"black-holed in a network namespace, keepalive 5m10s " + either("3s", "20s"), "keepalive 5m10s " + either("3s", "20s") + "\neject off", either(6*time.Second, 22*time.Second), inNamespace},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, quiet := startSilent(t, c.make, siteOptions{Upstream: c.upstream, Handler: "timeout 50s"})

			load := w.load(50)
			time.Sleep(time.Second)
			quiet.begin(t)
			began := time.Now()
			detected := w.lost(t, c.limit+10*time.Second, quiet.addr)
			lost := time.Now()
			if detected > c.limit {
				t.Errorf("noticed after %v, not within %v", detected, c.limit)
			}
			pause(2*time.Second, 30*time.Second)
			quiet.end(t)
			healed := w.until(t, 30*time.Second, quiet.addr, "READY")
			time.Sleep(time.Second)
			h := load.stop(t)
			// Unsafe calls may fail that the silent instance had: none that was made after the
			// detection.
			h.want(t, len(h.unsafe))
			if late := after(h.unsafeFailed, lost); len(late) > 0 {
				t.Errorf("%d unsafe calls failed that were made after the detection:\n%s", len(late), some(late))
			}
			if stuck := len(after(h.unsafeFailed, began.Add(-time.Second))); stuck > 40 {
				t.Errorf("%d calls went to the silent instance; it has no answer to show for the first ones", stuck)
			}
			line := h.row(6, c.name+", eject off")
			line.Detection, line.Recovery, line.Note = detected, healed, "recovered: READY after the end of it; the slowest call took "+ms(slowest(append(h.safe, h.unsafe...))).String()
			table.add(line)
		})
	}
}

// TestSilentByDefault: the same with the default settings, which ping after five minutes and give a
// call five seconds. The instance is noticed by its silence, early enough for the safe calls that
// it has to be made again within their deadline. Others run into it, but none that is made after
// the detection.
func TestSilentByDefault(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		make func(t *testing.T, etcd *cluster) silent
	}{
		{"frozen by SIGSTOP, all defaults", frozen},
		{"black-holed by a proxy, all defaults", behindProxy},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, quiet := startSilent(t, c.make, siteOptions{})
			load := w.load(50)
			time.Sleep(time.Second)
			began := time.Now()
			quiet.begin(t)
			// When it was the slower one it has no calls that wait, until it is tried again after
			// five seconds.
			detected := w.until(t, 10*time.Second, quiet.addr, "ejected")
			lost := time.Now()
			_, had := w.look(t, quiet.addr)
			pause(10*time.Second, 90*time.Second)
			if got := w.state(t, quiet.addr); got != "ejected" {
				t.Errorf("while it was silent it became %q", got)
			}
			quiet.end(t)
			ended := time.Now()
			healed := w.until(t, 10*time.Second, quiet.addr, "READY")
			time.Sleep(6 * time.Second) // the deadline of the calls that it has
			h := load.stop(t)
			h.want(t, had)
			if late := after(h.unsafeFailed, lost); len(late) > 0 {
				t.Errorf("%d unsafe calls failed that were made after the detection:\n%s", len(late), some(late))
			}
			line := h.row(6, c.name)
			line.Detection, line.Recovery = detected, healed
			line.Note = fmt.Sprintf("for %v; others in flight there when it was noticed: %d; recovered: READY after the end of it; the slowest safe call took %v",
				ended.Sub(began).Round(time.Second), had, ms(slowest(h.safe)))
			table.add(line)
		})
	}
}

// startSilent starts a gateway over three instances, one of which can fall silent.
func startSilent(t *testing.T, one func(t *testing.T, etcd *cluster) silent, site siteOptions) (*world, silent) {
	etcd := startCluster(t, 1)
	quiet := one(t, etcd)
	etcd.put(t, key+"/silent", quiet.addr)
	w := &world{etcd: etcd, site: site}
	w.instances = lasting(t, etcd, "1", "2")
	w.start(t, append(addrs(w.instances), quiet.addr))
	w.instances = append(w.instances, quiet.instance)
	return w, quiet
}

func slowest(results []kit.Result) time.Duration {
	var most time.Duration
	for _, r := range results {
		most = max(most, r.Latency)
	}
	return most
}

func frozen(t *testing.T, _ *cluster) silent {
	i := startInstance(t, instanceConfig{})
	return silent{i, i.addr, func(*testing.T) { i.freeze() }, func(*testing.T) { i.thaw() }}
}

func behindProxy(t *testing.T, _ *cluster) silent {
	i := startInstance(t, instanceConfig{})
	proxy := testkit.StartProxy(t, i.addr)
	return silent{i, proxy.Addr(), func(*testing.T) { proxy.BlackHole() }, func(*testing.T) { proxy.Heal() }}
}

// inNamespace runs the instance in a network namespace of its own, and loses every packet on the
// way there and back. Where that is not permitted it says so; the other rows of the test run
// everywhere.
func inNamespace(t *testing.T, _ *cluster) silent {
	const here, there = "10.213.77.1", "10.213.77.2"
	name := fmt.Sprintf("faults-%d", os.Getpid())
	host, guest := fmt.Sprintf("fh%d", os.Getpid()%1e6), fmt.Sprintf("fg%d", os.Getpid()%1e6)
	if err := run("ip netns add " + name); err != nil {
		t.Skipf("NO NETWORK NAMESPACE HERE, the black hole is tested by a proxy alone: %v", err)
	}
	t.Cleanup(func() { _ = run("ip netns del " + name) })
	t.Cleanup(func() { _ = run("ip link del " + host) })
	inside := "ip netns exec " + name + " "
	for _, command := range []string{
		"ip link add " + host + " type veth peer name " + guest + " netns " + name,
		"ip addr add " + here + "/30 dev " + host,
		"ip link set " + host + " up",
		inside + "ip addr add " + there + "/30 dev " + guest,
		inside + "ip link set " + guest + " up",
		inside + "ip link set lo up",
	} {
		if err := run(command); err != nil {
			t.Fatal(err)
		}
	}
	i := startInstance(t, instanceConfig{Addr: there + ":9000"}, strings.Fields(inside)...)
	both := func(t *testing.T, drop bool) {
		t.Helper()
		for prefix, device := range map[string]string{"": host, inside: guest} {
			if err := lossy(prefix, device, drop); err != nil {
				t.Fatal(err)
			}
		}
	}
	return silent{
		i, i.addr,
		func(t *testing.T) {
			both(t, true)
			// A black hole that lets anything through or answers anything would show nothing.
			conn, err := net.DialTimeout("tcp", i.addr, 300*time.Millisecond)
			if err == nil {
				conn.Close()
			}
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Fatalf("a connection into the black hole: %v, not a timeout", err)
			}
		},
		func(t *testing.T) { both(t, false) },
	}
}

// lossy has a device drop all that it sends, or ends that. A kernel without netem can still shape
// to a rate at which no packet fits.
func lossy(prefix, device string, drop bool) error {
	if !drop {
		return run(prefix + "tc qdisc del dev " + device + " root")
	}
	if err := run(prefix + "tc qdisc add dev " + device + " root netem loss 100%"); err == nil {
		return nil
	}
	return run(prefix + "tc qdisc add dev " + device + " root tbf rate 8bit burst 1 latency 1ms")
}

func run(command string) error {
	argv := strings.Fields(command)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}
