package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool/balance"
	"github.com/caddy-grpc/gateway/internal/pool/wire"
)

const (
	// flushEvery is the least time between two pickers while connections come and go. It grows with
	// what a picker costs, up to flushMax, so that making them takes one part in flushShare of a
	// core: with thousands of instances it is garbage before all.
	flushEvery = 5 * time.Millisecond
	flushMax   = 100 * time.Millisecond
	flushShare = 100
	// applyEvery is the least time between two lists of endpoints that are applied. The first is
	// applied at once; those that follow within this time are applied together, which bounds the
	// cost of churn without delaying a single change.
	applyEvery = 50 * time.Millisecond
)

// balancer is what a channel has: its endpoints with their connections, and the policy over them. It
// decides what to dial, what to pick from, and when to let go.
//
// Everything is under one mutex but what calls touch on their way: those read an immutable picker
// and the atomic fields of endpoints. One goroutine (run) does what is due later. Lock order:
// balancer.mu, then grpc's own locks; grpc calls into the balancer holding none of its own but the one
// that keeps state events in order.
type balancer struct {
	service  string
	life     context.Context // ends when the channel begins to close
	end      context.CancelFunc
	settings Settings
	events   *events
	start    time.Time // the zero of the clock that calls use
	random   func() uint64
	picks    sync.Pool // of *pick
	// Of round robin; kept over pickers so that a new one does not start at the first endpoint
	// again.
	turn     atomic.Uint64
	work     sync.WaitGroup // goroutines that end by themselves
	wake     chan struct{}  // the agenda has a new first task
	asked    chan func()    // what calls asked for, see ask
	overflow overflow
	looking  atomic.Bool  // look is on the agenda, or shall never be
	picked   atomic.Int64 // on the clock: when a call got an endpoint, about

	mu            sync.Mutex
	cc            grpcbalancer.ClientConn // nil before the policy is built and after it is closed
	endpoints     map[string]*endpoint
	listed        []discovery.Endpoint // what the endpoints were made from, by ID
	synced        bool
	pending       *discovery.State // to be applied
	applied       time.Time
	ready         []*endpoint // active ones with a READY connection, in no order
	active        int
	registered    int // endpoints with a registration
	hold          holding
	subset        subset
	failing       int // active endpoints that are failing
	weights       balance.WeightCount
	balanceRoom   balance.Room
	cold          int    // ready endpoints that start slowly
	coldDue       bool   // a task to look after them is on the agenda
	ejected       int    // active endpoints that are ejected
	ejections     uint64 // ever
	lastError     error  // of connecting
	lastUnhealthy error  // why an instance was found unhealthy
	noHealth      bool   // the log says that an instance has no health service

	queue    connQueue // of connections to endpoints that had none
	again    connQueue // of others, which go first
	dialing  int
	pace     wire.Pace
	paceDue  bool // a task to go on dialling is on the agenda
	connects uint64
	past     totals // of endpoints that are gone

	agenda    agenda
	dirty     bool // the picker is out of date
	urgent    bool // and must be replaced now
	flushDue  bool // a task to replace it is on the agenda
	flushed   time.Time
	flushCost time.Duration

	readiness chan struct{} // closed while there is a ready endpoint
	listeners map[*listener]struct{}
	closing   bool // run is to end
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
	b.looking.Store(settings.EjectFailures < 0)
	b.picked.Store(-int64(servesFor)) // not yet
	return b
}

// clock is the time on the way of a call, in nanoseconds.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) clock() int64 { return int64(time.Since(b.start)) }

func (b *balancer) lock() { b.mu.Lock() }

// unlock is for those that have only read.
func (b *balancer) unlock() { b.mu.Unlock() }

// publishAndUnlock ends a change: it chooses the subset again if that is due, replaces the picker
// if it is time to, and unlocks. Readers only unlock.
//
// Caller must hold b.mu.
func (b *balancer) publishAndUnlock() {
	b.choose()
	b.flush()
	b.mu.Unlock()
}

// at puts work on the agenda.
//
// Caller must hold b.mu.
func (b *balancer) at(t time.Time, run func()) {
	if b.agenda.add(t, run) {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// run does what is on the agenda until the balancer is closing.
func (b *balancer) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := b.due()
		if wait < 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-b.wake:
		case do := <-b.asked:
			b.lock()
			do()
			b.publishAndUnlock()
		}
	}
}

// ask has run do something with the balancer locked. It is for calls, which must not wait for the
// lock; false when there are too many that ask, and then another one will.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) ask(do func()) bool {
	select {
	case b.asked <- do:
		return true
	default:
		return false
	}
}

// mustAsk is ask for what nobody else would ask for again. It is for calls.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) mustAsk(do func()) {
	if b.ask(do) {
		return
	}
	b.overflow.mu.Lock()
	b.overflow.do = append(b.overflow.do, do)
	b.overflow.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// overflow has what calls asked for when too many did.
type overflow struct {
	mu sync.Mutex
	do []func()
}

func (o *overflow) take() []func() {
	o.mu.Lock()
	defer o.mu.Unlock()
	do := o.do
	o.do = nil
	return do
}

// due runs the tasks that are due and says how long it is to the next; -1 ends the run.
func (b *balancer) due() time.Duration {
	b.lock()
	defer b.publishAndUnlock()
	for _, do := range b.overflow.take() {
		do()
	}
	for !b.closing {
		task, wait := b.agenda.next(time.Now())
		switch {
		case task != nil:
			task()
		case wait < 0:
			return time.Hour
		default:
			return wait
		}
	}
	return -1
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

// detach takes them away: grpc is closing the channel.
func (b *balancer) detach() {
	b.lock()
	defer b.publishAndUnlock()
	b.cc = nil
}

// refresh brings what follows from the states of an endpoint's connections up to date.
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
		// Also when other connections remain: a call that found a lost one waits for the next
		// picker. And those that found all connections full wait for the one that came up.
		b.changed(len(ready) > 1)
		b.grown(ep)
	}
	if ep.inUse && state != ep.state {
		ep.state, ep.since = state, time.Now()
	}
	b.connected(ep, state == connectivity.Ready, len(ready) > 0)
	b.count(ep, ep.inUse && ep.usable && !ep.ejected, ep.inUse && failing)
}

// connected notes that an endpoint has got its first connection or lost its last, and the same of
// its first and last usable one.
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
			b.clearEjection(ep) // It is not connected, and will not be before it answers.
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

// count keeps balancer.ready and balancer.failing.
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
		if len(b.ready) == 1 {
			close(b.readiness)
		}
		b.joinCold(ep)
		b.changed(false)
	case !ready && ep.place >= 0:
		last := len(b.ready) - 1
		b.ready[ep.place] = b.ready[last]
		b.ready[ep.place].place = ep.place
		b.ready[last] = nil
		b.ready = b.ready[:last]
		ep.place = -1
		b.leaveCold(ep)
		if last == 0 {
			b.readiness = make(chan struct{})
			b.unejectAll()
		}
		b.changed(false)
	}
}

// changed asks for a new picker, urgently when the present one would give calls to an endpoint that
// must not get any.
//
// Caller must hold b.mu.
func (b *balancer) changed(urgent bool) {
	b.dirty = true
	b.urgent = b.urgent || urgent
}

// flush replaces the picker, or sees to it that this is done when the last one is old enough.
//
// Caller must hold b.mu.
func (b *balancer) flush() {
	if !b.dirty || b.cc == nil {
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
	state := b.pickerState()
	b.flushCost = time.Since(began)
	b.flushed = began
	b.dirty, b.urgent = false, false
	b.cc.UpdateState(state)
}

// flushAfter is how long a picker that took so long to make stays, unless its successor is urgent.
func flushAfter(cost time.Duration) time.Duration {
	return min(max(flushEvery, flushShare*cost), flushMax)
}

// trouble is why no call can be given to an instance now; nil while some may be connecting.
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

// anyUnhealthy tells whether there is an instance that is connected and says that it is not to be
// called. It is asked for only when no instance can be called.
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
