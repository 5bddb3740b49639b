package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

// newRandom returns a source of random numbers with a fixed seed. It is safe for concurrent use.
func newRandom(seed uint64) func() uint64 {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, seed))
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Uint64()
	}
}

// fakeGRPC replaces the grpc.ClientConn under a balancer. Its SubConns dial nothing and change
// their state when they are told to.
type fakeGRPC struct {
	grpcbalancer.ClientConn

	mu      sync.Mutex
	subs    map[string]*fakeSub     // the live SubConn of each address
	made    map[string]int          // the number of SubConns made for each address
	dials   map[string][]time.Time  // the dials to each address
	watches map[string][]*fakeWatch // the health watches of each address
	probes  map[string]int          // the number of probes of each address
	frozen  map[string]bool         // the addresses that do not answer
	pickers int
	state   grpcbalancer.State
	open    bool          // dials succeed
	takes   time.Duration // how long a dial takes
}

type fakeSub struct {
	grpcbalancer.SubConn

	grpc   *fakeGRPC
	addr   string
	conn   *conn
	lost   chan struct{} // closed when the connection breaks
	listen func(grpcbalancer.SubConnState)
	down   bool
	state  connectivity.State
}

func newFakeGRPC() *fakeGRPC {
	return &fakeGRPC{subs: make(map[string]*fakeSub), made: make(map[string]int), dials: make(map[string][]time.Time),
		watches: make(map[string][]*fakeWatch), probes: make(map[string]int), frozen: make(map[string]bool)}
}

func (g *fakeGRPC) NewSubConn(addrs []resolver.Address, opts grpcbalancer.NewSubConnOptions) (grpcbalancer.SubConn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sub := &fakeSub{grpc: g, addr: addrs[0].Addr, listen: opts.StateListener}
	sub.lost = make(chan struct{})
	sub.conn, _ = wire.OwnerOf(addrs[0].Attributes).(*conn)
	g.subs[sub.addr] = sub
	g.made[sub.addr]++
	return sub, nil
}

func (g *fakeGRPC) UpdateState(s grpcbalancer.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.state = s
	g.pickers++
}

// Connect is called with the balancer locked. So events come from another goroutine, as in grpc.
func (s *fakeSub) Connect() {
	s.grpc.mu.Lock()
	defer s.grpc.mu.Unlock()
	s.grpc.dials[s.addr] = append(s.grpc.dials[s.addr], time.Now())
	open, takes := s.grpc.open, s.grpc.takes
	go func() {
		s.become(connectivity.Connecting, nil)
		if open {
			time.Sleep(takes)
			s.become(connectivity.Ready, nil)
		}
	}()
}

func (s *fakeSub) Shutdown() {
	s.grpc.mu.Lock()
	defer s.grpc.mu.Unlock()
	s.down = true
	if s.grpc.subs[s.addr] == s {
		delete(s.grpc.subs, s.addr)
	}
}

func (s *fakeSub) become(state connectivity.State, err error) {
	s.grpc.mu.Lock()
	s.state = state
	s.grpc.mu.Unlock()
	s.listen(grpcbalancer.SubConnState{ConnectivityState: state, ConnectionError: err})
}

// lose breaks the connection, if there is one.
func (s *fakeSub) lose() {
	s.grpc.mu.Lock()
	up := s.state == connectivity.Ready
	if up {
		close(s.lost)
		s.lost = make(chan struct{})
	}
	s.grpc.mu.Unlock()
	if up {
		s.become(connectivity.Idle, nil)
	}
}

// refuse makes the dial fail.
func (s *fakeSub) refuse() { s.become(connectivity.TransientFailure, errors.New("refused")) }

func (g *fakeGRPC) sub(addr string) *fakeSub {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.subs[addr]
}

func (g *fakeGRPC) dialled(addr string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.dials[addr])
}

func (g *fakeGRPC) pickerCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pickers
}

// pick makes the present picker choose for a call.
func (g *fakeGRPC) pick(ctx context.Context) (addr string, done func(grpcbalancer.DoneInfo), err error) {
	g.mu.Lock()
	picker := g.state.Picker
	g.mu.Unlock()
	res, err := picker.Pick(grpcbalancer.PickInfo{Ctx: ctx})
	if err != nil {
		return "", nil, err
	}
	sub, _ := res.SubConn.(*fakeSub)
	return sub.addr, res.Done, nil
}

// startBalancer runs a balancer over a fake grpc until the test ends.
func startBalancer(t testing.TB, s Settings) (*balancer, *fakeGRPC) {
	t.Helper()
	s, err := s.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	b, g := newBalancer("user.rpc", s, zap.NewNop(), newRandom(1)), newFakeGRPC()
	b.attach(g)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run()
	}()
	t.Cleanup(func() {
		b.lock()
		b.finish()
		b.publishAndUnlock()
		<-ended
		b.work.Wait()
	})
	return b, g
}

func (b *balancer) list(addrs ...string) { b.onFeed(synced(instances(addrs...)...)) }

func (b *balancer) weighted(weights map[string]uint32) {
	var list []discovery.Endpoint
	for addr, w := range weights {
		list = append(list, discovery.Endpoint{ID: addr, Addr: addr, Weight: w})
	}
	b.onFeed(synced(list...))
}
