package pool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/net/http2"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// openWire opens a channel over rpcwire to one instance, and waits until it is connected.
func openWire(t testing.TB, s Settings, addr string) *Channel {
	t.Helper()
	s.Transport = TransportWire
	c := openChannel(t, s, oneInstance(addr))
	ready(t, c)
	return c
}

// badServer is an instance that sends bytes of a test's choice when a request has ended, if bad is
// true. Otherwise it answers.
type badServer struct {
	addr string
	bad  atomic.Bool
}

func startBadServer(t *testing.T, bytes func(s *script, id uint32)) *badServer {
	t.Helper()
	b := new(badServer)
	b.bad.Store(true)
	b.addr = startScript(t, func(s *script, id uint32) {
		if b.bad.Load() {
			bytes(s, id)
			return
		}
		s.header(id)
		s.message(id, 7)
		s.headers(id, true, "grpc-status: 0")
	})
	return b
}

// TestFallback: an instance that violates HTTP/2 gets connections of grpc-go for an hour.
func TestFallback(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes func(s *script, id uint32)
		frame string // is in the log
	}{
		{"DATA on a stream that nobody has begun", func(s *script, id uint32) { _ = s.WriteRawFrame(http2.FrameData, 0, id+100, nil) },
			"in DATA frame (flags 0x0, stream 101, 0 bytes)"},
		{"a header block that is not HPACK", func(s *script, id uint32) {
			_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, EndHeaders: true})
		}, "in HEADERS frame"},
		{"a push", func(s *script, id uint32) { _ = s.WriteRawFrame(http2.FramePushPromise, 4, id, make([]byte, 4)) }, "in PUSH_PROMISE frame"},
		{"a frame that is too long", func(s *script, id uint32) { _ = s.WriteRawFrame(http2.FrameData, 0, id, make([]byte, 20_000)) }, "in DATA frame"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := startBadServer(t, tc.bytes)
			core, logs := observer.New(zapcore.InfoLevel)
			other := startBackend(t, "")
			f := new(manualFeed)
			f.list(b.addr, other.addr)
			c, err := open("user.rpc", Settings{Transport: TransportWire, EjectFailures: -1, BackoffBase: time.Millisecond}, f, zap.New(core), newRandom(1))
			if err != nil {
				t.Fatal(err)
			}
			defer closeNow(c)
			eventually(t, "both are connected by wire", func() bool { return maps.Equal(wired(c), map[string]int{b.addr: 1, other.addr: 1}) })

			ep := endpointAt(c, b.addr)
			eventually(t, "the instance is asked and violates HTTP/2", func() bool {
				var reply mem.BufferSlice
				defer func() { reply.Free() }()
				_ = c.Invoke(t.Context(), methodEcho, raw("hello"), &reply)
				c.balancer.lock()
				defer c.balancer.unlock()
				return !ep.fallbackUntil.IsZero()
			})
			b.bad.Store(false)
			eventually(t, "both are connected, one by grpc", func() bool {
				return readyEndpoints(c) == 2 && maps.Equal(wired(c), map[string]int{b.addr: 0, other.addr: 1})
			})
			for range 20 {
				var reply mem.BufferSlice
				if err := c.Invoke(t.Context(), methodEcho, raw("hello"), &reply); err != nil {
					t.Error(err)
				}
				reply.Free()
			}
			lines := logs.FilterMessageSnippet("violated HTTP/2").All()
			if len(lines) != 1 {
				t.Fatalf("%d lines about it, want one", len(lines))
			}
			fields := lines[0].ContextMap()
			if text := fmt.Sprint(fields["error"]); fields["instance"] != b.addr || !strings.Contains(text, tc.frame) || fields["for"] != fallbackTime {
				t.Errorf("the log says %v", fields)
			}

			// When the time is over, the next connection is one of wire again.
			c.balancer.lock()
			ep.fallbackUntil = time.Now()
			c.balancer.unlock()
			ep.wires.Sever()
			eventually(t, "both are connected by wire again", func() bool {
				return readyEndpoints(c) == 2 && maps.Equal(wired(c), map[string]int{b.addr: 1, other.addr: 1})
			})
		})
	}
}

// An instance whose first SETTINGS are wrong gets no connection of wire at all.
func TestFallbackFromTheHandshake(t *testing.T) {
	addr := startScript(t, func(s *script, id uint32) {
		s.header(id)
		s.message(id, 7)
		s.headers(id, true, "grpc-status: 0")
	}, http2.Setting{ID: http2.SettingEnablePush, Val: 1})
	c := openWire(t, Settings{BackoffBase: time.Millisecond}, addr)
	if got := wired(c); got[addr] != 0 {
		t.Errorf("connections of wire: %v", got)
	}
	if n, err := sendAll(t, c, true, 1, "hello"); n != 7 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// wired returns how many READY connections of wire each READY instance has.
func wired(c *Channel) map[string]int {
	n := make(map[string]int)
	for _, e := range c.Snapshot().Endpoints {
		if e.State == StateReady {
			n[e.Address] = e.WireConnections
		}
	}
	return n
}

func endpointAt(c *Channel, addr string) *endpoint {
	c.balancer.lock()
	defer c.balancer.unlock()
	return c.balancer.endpoints[addr]
}

// closeNow closes a channel without waiting for its calls.
func closeNow(c *Channel) {
	ended, end := context.WithCancel(context.Background())
	end()
	_ = c.Shutdown(ended)
}

// stateLog notes the states that a link reports.
type stateLog struct {
	mu     sync.Mutex
	states []connectivity.State
}

func (l *stateLog) add(s grpcbalancer.SubConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, s.ConnectivityState)
}

func (l *stateLog) is(want ...connectivity.State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Equal(l.states, want)
}

// startLink returns a link of wire to an address that reports to a log and not to a balancer.
func startLink(t *testing.T, addr string, s Settings) (*wireLink, *stateLog) {
	t.Helper()
	s.Transport = TransportWire
	c := openChannel(t, s, new(manualFeed)) // lends its dialer
	b := c.balancer
	log := new(stateLog)
	k := newWireLink(b, &conn{balancer: b, endpoint: newEndpoint(addr, time.Now())})
	k.tell = log.add
	t.Cleanup(k.shutdown)
	return k, log
}

// States are reported in the order of a SubConn of grpc-go.
func TestWireLinkStates(t *testing.T) {
	const (
		connecting = connectivity.Connecting
		up         = connectivity.Ready
		idle       = connectivity.Idle
		failed     = connectivity.TransientFailure
	)
	goodbye := func(s *script, _ uint32) { _ = s.WriteGoAway(0, http2.ErrCodeNo, nil) }
	for _, tc := range []struct {
		name    string
		respond func(s *script, id uint32) // of the instance. Nil: nobody listens.
		want    []connectivity.State
	}{
		{"nobody listens", nil, []connectivity.State{connecting, failed, idle}},
		{"the connection closes", func(s *script, _ uint32) { s.conn.Close() }, []connectivity.State{connecting, up, idle}},
		{"GOAWAY", goodbye, []connectivity.State{connecting, up, idle}},
		{"GOAWAY, and again, and the connection closes", func(s *script, id uint32) {
			goodbye(s, id)
			goodbye(s, id)
			s.conn.Close()
		}, []connectivity.State{connecting, up, idle}},
		{"a violation", func(s *script, id uint32) { _ = s.WriteRawFrame(http2.FrameData, 0, id+100, nil) }, []connectivity.State{connecting, up, idle}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var addr string
			if tc.respond != nil {
				addr = startScript(t, tc.respond)
			} else {
				dead := startBackend(t, "")
				dead.kill()
				addr = dead.addr
			}
			k, log := startLink(t, addr, Settings{BackoffBase: time.Millisecond})
			k.connect()
			if tc.respond != nil {
				eventually(t, "it is up", func() bool { return k.current.Load() != nil })
				_ = k.calls().Invoke(t.Context(), methodEcho, raw("x"), new(mem.BufferSlice))
			}
			eventually(t, "the states are reported", func() bool { return log.is(tc.want...) })
			time.Sleep(20 * time.Millisecond) // nothing more is reported
			if !log.is(tc.want...) {
				t.Errorf("states are %v, want %v", log.states, tc.want)
			}
			if err := k.calls().Invoke(t.Context(), methodEcho, raw("x"), new(mem.BufferSlice)); status.Code(err) != codes.Unavailable {
				t.Errorf("a call over a link that is down: %v", err)
			}
		})
	}
}

// After shutdown nothing is reported, whenever it comes.
func TestWireLinkShutdown(t *testing.T) {
	b := startBackend(t, "")
	for _, delay := range []time.Duration{0, 50 * time.Microsecond, 200 * time.Microsecond, time.Millisecond, 50 * time.Millisecond} {
		for range 10 {
			k, log := startLink(t, b.addr, Settings{})
			k.connect()
			time.Sleep(delay)
			k.shutdown()
			log.mu.Lock()
			before := len(log.states)
			log.mu.Unlock()
			eventually(t, "the connection is closed", func() bool {
				k.balancer.wireConns.mu.Lock()
				defer k.balancer.wireConns.mu.Unlock()
				return len(k.balancer.wireConns.open) == 0
			})
			log.mu.Lock()
			// A report that had begun may still be among them.
			if n := len(log.states); n > before+1 || n > 2 {
				t.Errorf("after %s: states are %v, %d of them before shutdown", delay, log.states, before)
			}
			log.mu.Unlock()
		}
	}
}

// The pause between attempts grows like grpc-go's.
func TestWireBackoff(t *testing.T) {
	k := &wireLink{balancer: &balancer{settings: Settings{BackoffBase: 100 * time.Millisecond, BackoffMax: time.Second}}}
	for _, tc := range []struct {
		random   uint64
		failures int
		want     time.Duration
	}{
		{0, 0, 100 * time.Millisecond}, // the first has no jitter
		{1 << 63, 1, 160 * time.Millisecond},
		{1 << 63, 2, 256 * time.Millisecond},
		{1 << 63, 100, time.Second},
		{0, 1, 128 * time.Millisecond},
		{0, 100, 800 * time.Millisecond},
		{1<<64 - 1, 100, 1200 * time.Millisecond},
	} {
		k.balancer.random, k.failures = func() uint64 { return tc.random }, tc.failures
		if got := k.backoff().Round(time.Microsecond); got != tc.want {
			t.Errorf("after %d failures the pause is %s, want %s", tc.failures, got, tc.want)
		}
	}
}

// An instance that is pinged too often makes the pings rarer, as with grpc-go.
func TestWirePingsSlowDown(t *testing.T) {
	s, err := Settings{KeepaliveTime: time.Second}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	b := newBalancer("user.rpc", s, nil, newRandom(1))
	k := newWireLink(b, &conn{balancer: b, endpoint: newEndpoint("127.0.0.1:1", time.Now())})
	defer k.end()
	time10 := func() time.Duration { return k.options(new(wireConn)).KeepaliveTime }
	if got := time10(); got != shortestKeepalive {
		t.Errorf("the keepalive time is %s, want the minimum", got)
	}
	b.slowDownPings(shortestKeepalive)
	b.slowDownPings(shortestKeepalive) // another connection with the same time
	if got := time10(); got != 2*shortestKeepalive {
		t.Errorf("the keepalive time is %s, want twice the minimum", got)
	}
	b.end()
}

// A limit of streams that changes is followed.
func TestWireFollowsTheStreamLimit(t *testing.T) {
	var limit atomic.Uint32
	limit.Store(50)
	addr := startScript(t, func(s *script, id uint32) {
		_ = s.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: limit.Load()})
		s.headers(id, true, ":status: 200", "content-type: application/grpc", "grpc-status: 5")
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 100})
	c := openWire(t, Settings{MaxConnections: 1}, addr)
	ep := endpointAt(c, addr)
	now := func() uint32 { return (*ep.ready.Load())[0].limit.Load() }
	if got := now(); got != 100 {
		t.Errorf("the limit is %d, want 100", got)
	}
	for _, tc := range []struct{ limit, want uint32 }{{50, 50}, {1<<32 - 1, 0}, {7, 7}} {
		limit.Store(tc.limit)
		_ = wholeCallError(t.Context(), c)
		eventually(t, fmt.Sprintf("the limit is %d", tc.want), func() bool { return now() == tc.want })
	}
}
