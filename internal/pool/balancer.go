package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/balance"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

const (
	// flushEvery is the minimum time between two pickers while connections come and go. It grows
	// with the cost of a picker, up to flushMax. So pickers take at most one part in flushShare of
	// a core. With thousands of instances most of this cost is garbage.
	flushEvery = 5 * time.Millisecond
	flushMax   = 100 * time.Millisecond
	flushShare = 100
	// applyEvery is the minimum time between two lists of endpoints that are applied. The first
	// list is applied at once. Those that follow within this time are applied together. This bounds
	// the cost of churn and does not delay a single change.
	applyEvery = 50 * time.Millisecond
)

// balancer has the endpoints of a channel, their connections, and the policy over them. It decides
// what to dial, what to pick from, and when to let an endpoint go.
//
// One mutex guards everything except what calls touch. Calls read an immutable picker and the
// atomic fields of endpoints. One goroutine (run) does what is due later.
//
// The lock order is balancer.mu, then grpc's own locks. When grpc calls into the balancer, it holds
// only the lock that keeps state events in order.
type balancer struct {
	service string
	// life ends when the channel begins to close.
	life     context.Context
	end      context.CancelFunc
	settings Settings
	events   *events
	// start is the zero of the clock that calls use.
	start  time.Time
	random func() uint64
	// picks holds *pick values that are free to be used again.
	picks sync.Pool
	// turn is the turn of round robin. It is kept from picker to picker, so that a new one does not
	// start at the first endpoint again.
	turn atomic.Uint64
	// work counts goroutines that end by themselves.
	work sync.WaitGroup
	// wake says that the agenda has a new first task.
	wake chan struct{}
	// asked has what calls asked for. See ask.
	asked    chan func()
	overflow overflow
	// looking is true while lookForSilence is on the agenda, or if it must never be.
	looking atomic.Bool
	// picked is about when a call last got an endpoint, on the clock.
	picked atomic.Int64
	// current has the picker for calls.
	current currentPicker
	// clientConn makes the calls over links of grpc. It is set before the first one.
	clientConn *grpc.ClientConn
	wireParts

	mu sync.Mutex
	// cc is nil before grpc builds the policy and after grpc closes it.
	cc        grpcbalancer.ClientConn
	endpoints map[string]*endpoint
	// listed is the list that the endpoints were made from, sorted by ID.
	listed []discovery.Endpoint
	synced bool
	// pending is the state that is to be applied next.
	pending *discovery.State
	applied time.Time
	// ready has the endpoints in use that have a READY connection, in no order.
	ready []*endpoint
	// active is the number of endpoints in use.
	active int
	// registered is the number of endpoints with a registration.
	registered int
	hold       holding
	outage     outage
	subset     subset
	// failing is the number of endpoints in use that are failing.
	failing     int
	weights     balance.WeightCount
	balanceRoom balance.Room
	// cold is the number of ready endpoints that start slowly.
	cold int
	// coldDue is true if a task for the cold endpoints is on the agenda.
	coldDue bool
	// ejected is the number of endpoints in use that are ejected.
	ejected int
	// ejections counts all ejections since the start.
	ejections uint64
	// lastError is the last error of connecting.
	lastError error
	// lastUnhealthy says why an instance was last found unhealthy.
	lastUnhealthy error
	// noHealth is true once the log has said that an instance has no health service.
	noHealth bool

	// queue has connections to endpoints that had none. They wait for their turn to dial.
	queue connQueue
	// again has other connections that wait. They go first.
	again connQueue
	// dialing is the number of connections that are being set up.
	dialing int
	pace    wire.Pace
	// paceDue is true if a task to go on dialling is on the agenda.
	paceDue bool
	// connects counts the connections made since the start.
	connects uint64
	// past has the counts of endpoints that are gone.
	past totals

	agenda agenda
	// dirty is true if the picker is out of date.
	dirty bool
	// urgent is true if the picker must be replaced now.
	urgent bool
	// flushDue is true if a task to replace the picker is on the agenda.
	flushDue  bool
	flushed   time.Time
	flushCost time.Duration

	// readiness is closed while there is a ready endpoint that the picker knows.
	readiness chan struct{}
	// isReady is true while readiness is closed.
	isReady   bool
	listeners map[*listener]struct{}
	// closing is true when run must end.
	closing bool
}

func newBalancer(service string, settings Settings, log *zap.Logger, random func() uint64) *balancer {
	life, end := context.WithCancel(context.Background())
	b := &balancer{
		life:      life,
		end:       end,
		service:   service,
		settings:  settings,
		events:    newEvents(log),
		start:     time.Now(),
		random:    random,
		wake:      make(chan struct{}, 1),
		asked:     make(chan func(), 64),
		endpoints: make(map[string]*endpoint),
		weights:   make(balance.WeightCount),
		readiness: make(chan struct{}),
		subset:    newSubset(settings),
		hold:      holding{lost: make(map[string]time.Time)},
		listeners: make(map[*listener]struct{}),
	}
	b.events.observer = settings.Observer
	b.wireParts.init()
	b.current.replace(waitingPicker{})
	b.looking.Store(settings.EjectFailures < 0)
	b.picked.Store(-int64(servesFor)) // not yet
	return b
}

// clock returns the time since the start, in nanoseconds. Calls use this clock.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) clock() int64 { return int64(time.Since(b.start)) }

func (b *balancer) lock() { b.mu.Lock() }

// unlock is for functions that have only read.
func (b *balancer) unlock() { b.mu.Unlock() }

// publishAndUnlock ends a change. It chooses the subset again if that is due, replaces the picker
// if it is time to, and unlocks. Readers only unlock.
//
// Caller must hold b.mu.
func (b *balancer) publishAndUnlock() {
	b.choose()
	b.flush()
	b.mu.Unlock()
}

// attach gives the balancer the means to make SubConns and pickers.
func (b *balancer) attach(cc grpcbalancer.ClientConn) {
	b.lock()
	defer b.publishAndUnlock()
	if b.cc != nil {
		return
	}
	b.cc = cc
	b.changed(true)
	b.pump()
}

// detach takes them away, because grpc is closing the channel.
func (b *balancer) detach() {
	b.lock()
	defer b.publishAndUnlock()
	b.cc = nil
}

// refresh updates what follows from the states of an endpoint's connections.
//
// Caller must hold b.mu.
func (b *balancer) refresh(ep *endpoint) {
	ready := make([]*conn, 0, len(ep.conns))
	state, failing := connectivity.Idle, len(ep.conns) > 0
	for _, c := range ep.conns {
		failing = failing && (c.failed || c.health.state == healthBad)
		if b.usable(c) {
			ready = append(ready, c)
		}
		switch {
		case c.state == connectivity.Ready:
			state = connectivity.Ready
		case state == connectivity.Ready:
		case c.state == connectivity.Connecting, c.state == connectivity.TransientFailure && state == connectivity.Idle:
			state = c.state
		}
	}
	if old := ep.ready.Load(); old == nil && len(ready) > 0 || old != nil && !sameConns(*old, ready) {
		ep.ready.Store(&ready)
		// The picker must change even if other connections remain. A call that found a lost
		// connection waits for the next picker. A call that found all connections full waits for
		// the one that came up.
		b.changed(len(ready) > 1)
		b.grown(ep)
	}
	// A health check changes what operators see, although the connection stays.
	checked := state == connectivity.Ready && ep.usable != (len(ready) > 0)
	if ep.inUse && (state != ep.state || checked) {
		ep.state, ep.since = state, time.Now()
	}
	b.connected(ep, state == connectivity.Ready, len(ready) > 0)
	b.count(ep, ep.inUse && ep.usable && !ep.ejected, ep.inUse && failing)
}

// connected notes whether an endpoint has a connection, and whether it has a usable one. It reports
// the first and the last of each.
//
// Caller must hold b.mu.
func (b *balancer) connected(ep *endpoint, yes, usable bool) {
	if yes && !ep.connected {
		b.events.connected(ep.addr)
	}
	ep.connected = yes
	if usable == ep.usable {
		return
	}
	ep.usable = usable
	b.subset.stale = b.subset.stale || b.settings.Subset > 0
	if !usable {
		ep.lost = time.Now()
		if ep.silence.stalled {
			// A stalled endpoint will not connect before it answers, so it needs no ejection.
			b.clearEjection(ep)
		}
		b.watchLacking(ep)
		if ep.inUse && b.cc != nil {
			b.events.lost(ep.addr)
		}
		return
	}
	ep.lacking = false
	ep.clearError()
	b.events.ready(ep.addr)
	b.announce(ep.addr)
	if time.Since(ep.lost) > coldAfter {
		ep.warmFrom = time.Now()
	}
}

func sameConns(a, b []*conn) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// count maintains balancer.ready and balancer.failing.
//
// Caller must hold b.mu.
func (b *balancer) count(ep *endpoint, ready, failing bool) {
	if failing != ep.failing {
		ep.failing = failing
		if failing {
			b.failing++
		} else {
			b.failing--
		}
		b.changed(false)
	}
	switch {
	case ready && ep.place < 0:
		ep.place = len(b.ready)
		b.ready = append(b.ready, ep)
		first := len(b.ready) == 1
		if first {
			b.endOutage()
		}
		b.joinCold(ep)
		b.changed(first) // the present picker may be one that fails all calls
	case !ready && ep.place >= 0:
		last := len(b.ready) - 1
		b.ready[ep.place] = b.ready[last]
		b.ready[ep.place].place = ep.place
		b.ready[last] = nil
		b.ready = b.ready[:last]
		ep.place = -1
		b.leaveCold(ep)
		if last == 0 {
			if b.isReady {
				b.readiness, b.isReady = make(chan struct{}), false
			}
			b.watchOutage(outageAfter)
			b.unejectAll()
		}
		b.changed(false)
	}
}

// changed asks for a new picker. It is urgent if the present picker would give calls to an endpoint
// that must not get any, or fail calls although there is an endpoint for them.
//
// Caller must hold b.mu.
func (b *balancer) changed(urgent bool) {
	b.dirty = true
	b.urgent = b.urgent || urgent
}

// flush replaces the picker. If the last picker is too young, it puts the replacement on the
// agenda.
//
// Caller must hold b.mu.
func (b *balancer) flush() {
	if !b.dirty || b.cc == nil || b.closing {
		return
	}
	due := b.flushed.Add(flushAfter(b.flushCost))
	if now := time.Now(); !b.urgent && now.Before(due) {
		if !b.flushDue {
			b.flushDue = true
			b.at(due, func() { b.flushDue, b.urgent = false, b.dirty })
		}
		return
	}
	began := time.Now()
	p, state := b.nextPicker()
	b.flushCost = time.Since(began)
	b.flushed = began
	b.dirty, b.urgent = false, false
	// The calls' own picker comes first. So it is never older than grpc's. See replaceAfter.
	b.current.replace(p)
	b.cc.UpdateState(grpcbalancer.State{ConnectivityState: state, Picker: grpcPicker{p}})
	if len(b.ready) > 0 && !b.isReady {
		close(b.readiness)
		b.isReady = true
	}
}

// flushAfter returns how long a picker stays, given the time that it took to make. An urgent
// successor does not wait for this.
func flushAfter(cost time.Duration) time.Duration {
	return min(max(flushEvery, flushShare*cost), flushMax)
}

// trouble returns why no call can be given to an instance now. It returns nil while an instance may
// still connect.
//
// Caller must hold b.mu.
func (b *balancer) trouble() *UnavailableError {
	switch {
	case b.active == 0 && !b.synced:
		return &UnavailableError{Service: b.service, Reason: NotKnownYet}
	case b.active == 0:
		return &UnavailableError{Service: b.service, Reason: NoInstances}
	case b.failing == b.active && b.anyUnhealthy():
		return &UnavailableError{Service: b.service, Reason: Unhealthy, Cause: b.lastUnhealthy}
	case b.failing == b.active:
		return &UnavailableError{Service: b.service, Reason: Unreachable, Cause: b.lastError}
	}
	return nil
}

// anyUnhealthy reports whether some instance is connected although calls must not go to it. It is
// asked only when no instance can be called.
//
// Caller must hold b.mu.
func (b *balancer) anyUnhealthy() bool {
	if !b.settings.HealthCheck {
		return false
	}
	for _, ep := range b.endpoints {
		if ep.inUse && ep.connected {
			return true
		}
	}
	return false
}

// waitReady waits until an endpoint is READY.
func (b *balancer) waitReady(ctx context.Context, closed <-chan struct{}) error {
	b.lock()
	readiness := b.readiness
	b.unlock()
	select {
	case <-readiness:
		return nil
	case <-closed:
		return &UnavailableError{Service: b.service, Reason: Closed}
	case <-ctx.Done():
	}
	b.lock()
	defer b.unlock()
	return b.notReady(ctx.Err())
}
