package pool

import (
	"context"
	"slices"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// pickerState is what grpc shall pick from now.
//
// Caller must hold f.mu.
func (f *fleet) pickerState() balancer.State {
	if len(f.ready) == 0 {
		if trouble := f.trouble(); trouble != nil {
			return balancer.State{ConnectivityState: connectivity.TransientFailure, Picker: failingPicker{trouble}}
		}
		return balancer.State{ConnectivityState: connectivity.Connecting, Picker: waitingPicker{}}
	}
	return balancer.State{ConnectivityState: connectivity.Ready, Picker: f.newPicker()}
}

// newPicker makes a picker of the policy that is configured. Further policies go in here.
//
// Caller must hold f.mu.
func (f *fleet) newPicker() balancer.Picker {
	p := &picker{fleet: f, endpoints: slices.Clone(f.ready)}
	set := balance.Set{Endpoints: make([]*balance.Endpoint, len(p.endpoints)), Random: f.random}
	for i, ep := range p.endpoints {
		set.Endpoints[i] = &ep.Endpoint
	}
	if !f.weights.Uniform() || f.mixed() {
		set.Weights = f.weightsOf(p.endpoints)
	}
	switch f.settings.Balance {
	case BalanceRoundRobin:
		p.policy = balance.NewRoundRobin(set, &f.turn)
	case BalanceHash:
		p.policy, p.keyed = balance.NewHash(set, &f.balanceRoom), true
	default:
		p.policy = balance.NewP2C(set, &f.balanceRoom)
	}
	return p
}

// waitingPicker has calls wait: a connection may come up.
type waitingPicker struct{}

func (waitingPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
}

// failingPicker ends calls at once. Its error has a status, so that grpc passes it on as it is.
type failingPicker struct{ err *UnavailableError }

func (p failingPicker) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{}, p.err
}

// picker gives calls to the endpoints that a policy chooses. It is never changed: a new one
// replaces it.
type picker struct {
	fleet     *fleet
	endpoints []*endpoint // at least one, in the order of the policy's
	policy    balance.Policy
	keyed     bool // calls have keys, see WithHash
}

type hashKey struct{}

// WithHash gives calls that are made with the context the key for BalanceHash: equal keys go to the
// same endpoint as long as it is there. The other policies ignore it.
func WithHash(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, xxhash.Sum64String(key))
}

// Pick is called by grpc for each attempt of a call.
//
// Called on the call path; takes no lock of the fleet.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	l := leaseFrom(info.Ctx)
	call := balance.Call{Now: p.fleet.clock()}
	if l != nil && l.attempts != nil {
		call.Safe, call.Tried, call.Since = true, l.attempts.tried, l.attempts.since
	}
	if p.keyed {
		call.Key, call.HasKey = info.Ctx.Value(hashKey{}).(uint64)
	}
	return p.take(p.policy.Choose(call), l, call.Now)
}

// take gives the call to the endpoint, or to the next one that is fit for it: an endpoint whose
// last connection was lost stays among the candidates until the next picker, one may have as many
// streams as the instance allows, and a retry goes elsewhere if it can. When no connection is left,
// or when another one is about to come up, the call waits for the next picker.
//
// Called on the call path; takes no lock of the fleet.
func (p *picker) take(chosen int, l *lease, now int64) (balancer.PickResult, error) {
	var (
		unfit   *endpoint
		unfitOn *conn
		full    = true // the unfit one is so for want of room
		probes  int
	)
	n := len(p.endpoints)
	for i := range n {
		ep := p.endpoints[(chosen+i)%n]
		conn, room := ep.pickConn()
		for ; room && !l.triedAt(ep); conn, room = ep.pickConn() {
			if res, ok := p.fleet.take(ep, conn, l, now, false); ok {
				return res, nil
			}
		}
		if conn == nil {
			continue
		}
		if unfit == nil || room && full {
			unfit, unfitOn, full = ep, conn, !room
		}
		if probes++; probes == balance.Probes {
			break
		}
	}
	if unfit == nil || full && now < unfit.growUntil.Load() {
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	res, _ := p.fleet.take(unfit, unfitOn, l, now, true)
	return res, nil
}

// pick is a call's claim on an endpoint, from the pick to the end of the attempt. It is used again
// for other calls.
type pick struct {
	fleet    *fleet
	endpoint *endpoint
	conn     *conn
	lease    *lease // nil: a call without one
	at       int64  // when, on the fleet's clock
	done     func(balancer.DoneInfo)

	before, after *pick // among those of the endpoint
}

// take makes a claim, beyond the connection's limit only if it must. grpc calls Done exactly once.
//
// Called on the call path; takes no lock of the fleet.
func (f *fleet) take(ep *endpoint, c *conn, l *lease, now int64, must bool) (balancer.PickResult, bool) {
	n, limit := c.inFlight.Add(1), c.limit.Load()
	if limit > 0 && nearlyFull(n, limit) {
		f.wantMore(ep, now)
		if n > int64(limit) && !must {
			c.inFlight.Add(-1) // others were faster
			return balancer.PickResult{}, false
		}
	}
	p, _ := f.picks.Get().(*pick)
	if p == nil {
		p = &pick{fleet: f}
		p.done = p.end
	}
	p.endpoint, p.conn, p.lease, p.at = ep, c, l, now
	if l != nil {
		l.endpoint.Store(ep)
		l.picked.Store(now)
	}
	ep.InFlight.Add(1)
	ep.calls.add(p)
	if !f.looking.Load() {
		f.watch()
	}
	if l.counts() {
		ep.picks.Add(1)
		f.notePick(now)
	}
	return balancer.PickResult{SubConn: c.sub, Done: p.done}, true
}

// end returns the claim. How the call went is left to lease.end: grpc reports an attempt that
// failed while it was sending as one without an error here.
//
// Called on the call path; takes no lock of the fleet.
func (p *pick) end(info balancer.DoneInfo) {
	f, ep, c := p.fleet, p.endpoint, p.conn
	ep.calls.remove(p)
	counts := p.lease.counts()
	if p.lease != nil {
		p.lease.evidence = evidence{started: info.BytesSent, received: info.BytesReceived, trailer: info.Trailer}
	}
	p.endpoint, p.conn, p.lease = nil, nil, nil
	f.picks.Put(p)

	if info.Err == nil && !info.BytesSent && counts {
		// The connection was lost before grpc could use it, and it picks again.
		ep.picks.Add(^uint64(0))
	}
	c.inFlight.Add(-1)
	if ep.InFlight.Add(-1) == 0 && ep.draining.Load() {
		f.drained(ep)
	}
}

// speaksAgainst tells the codes that speak against the instance from those that speak against the
// request.
func speaksAgainst(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.DataLoss:
		return true
	default:
		return false
	}
}
