package pool

import (
	"context"
	"slices"

	"github.com/cespare/xxhash/v2"
	grpcbalancer "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	"github.com/caddy-grpc/gateway/internal/pool/balance"
)

// pickerState is what grpc shall pick from now.
//
// Caller must hold b.mu.
func (b *balancer) pickerState() grpcbalancer.State {
	if len(b.ready) == 0 {
		if trouble := b.trouble(); trouble != nil {
			return grpcbalancer.State{ConnectivityState: connectivity.TransientFailure, Picker: failingPicker{trouble}}
		}
		return grpcbalancer.State{ConnectivityState: connectivity.Connecting, Picker: waitingPicker{}}
	}
	return grpcbalancer.State{ConnectivityState: connectivity.Ready, Picker: b.newPicker()}
}

// newPicker makes a picker of the policy that is configured. Further policies go in here.
//
// Caller must hold b.mu.
func (b *balancer) newPicker() grpcbalancer.Picker {
	p := &picker{balancer: b, endpoints: slices.Clone(b.ready)}
	set := balance.Set{Endpoints: make([]*balance.Endpoint, len(p.endpoints)), Random: b.random}
	for i, ep := range p.endpoints {
		set.Endpoints[i] = &ep.Endpoint
	}
	if !b.weights.Uniform() || b.mixed() {
		set.Weights = b.weightsOf(p.endpoints)
	}
	switch b.settings.Balance {
	case BalanceRoundRobin:
		p.policy = balance.NewRoundRobin(set, &b.turn)
	case BalanceHash:
		p.policy, p.keyed = balance.NewHash(set, &b.balanceRoom), true
	default:
		p.policy = balance.NewP2C(set, &b.balanceRoom)
	}
	return p
}

// waitingPicker has calls wait: a connection may come up.
type waitingPicker struct{}

func (waitingPicker) Pick(grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
}

// failingPicker ends calls at once. Its error has a status, so that grpc passes it on as it is.
type failingPicker struct{ err *UnavailableError }

func (p failingPicker) Pick(grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	return grpcbalancer.PickResult{}, p.err
}

// picker gives calls to the endpoints that a policy chooses. It is never changed: a new one
// replaces it.
type picker struct {
	balancer  *balancer
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
// Called on the call path; takes no lock of the balancer.
func (p *picker) Pick(info grpcbalancer.PickInfo) (grpcbalancer.PickResult, error) {
	l := leaseFrom(info.Ctx)
	call := balance.Call{Now: p.balancer.clock()}
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
// Called on the call path; takes no lock of the balancer.
func (p *picker) take(chosen int, l *lease, now int64) (grpcbalancer.PickResult, error) {
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
			if res, ok := p.balancer.take(ep, conn, l, now, false); ok {
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
		return grpcbalancer.PickResult{}, grpcbalancer.ErrNoSubConnAvailable
	}
	res, _ := p.balancer.take(unfit, unfitOn, l, now, true)
	return res, nil
}

// pick is a call's claim on an endpoint, from the pick to the end of the attempt. It is used again
// for other calls.
type pick struct {
	balancer *balancer
	endpoint *endpoint
	conn     *conn
	lease    *lease // nil: a call without one
	at       int64  // when, on the balancer's clock
	done     func(grpcbalancer.DoneInfo)

	before, after *pick // among those of the endpoint
}

// take makes a claim, beyond the connection's limit only if it must. grpc calls Done exactly once.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) take(ep *endpoint, c *conn, l *lease, now int64, must bool) (grpcbalancer.PickResult, bool) {
	n, limit := c.inFlight.Add(1), c.limit.Load()
	if limit > 0 && nearlyFull(n, limit) {
		b.wantMore(ep, now)
		if n > int64(limit) && !must {
			c.inFlight.Add(-1) // others were faster
			return grpcbalancer.PickResult{}, false
		}
	}
	p, _ := b.picks.Get().(*pick)
	if p == nil {
		p = &pick{balancer: b}
		p.done = p.end
	}
	p.endpoint, p.conn, p.lease, p.at = ep, c, l, now
	if l != nil {
		l.endpoint.Store(ep)
		l.picked.Store(now)
	}
	ep.InFlight.Add(1)
	ep.calls.add(p)
	if !b.looking.Load() {
		b.watch()
	}
	if l.counts() {
		ep.picks.Add(1)
		b.notePick(now)
	}
	return grpcbalancer.PickResult{SubConn: c.sub, Done: p.done}, true
}

// end returns the claim. How the call went is left to lease.end: grpc reports an attempt that
// failed while it was sending as one without an error here.
//
// Called on the call path; takes no lock of the balancer.
func (p *pick) end(info grpcbalancer.DoneInfo) {
	b, ep, c := p.balancer, p.endpoint, p.conn
	ep.calls.remove(p)
	counts := p.lease.counts()
	if p.lease != nil {
		p.lease.evidence = evidence{started: info.BytesSent, received: info.BytesReceived, trailer: info.Trailer}
	}
	p.endpoint, p.conn, p.lease = nil, nil, nil
	b.picks.Put(p)

	if info.Err == nil && !info.BytesSent && counts {
		// The connection was lost before grpc could use it, and it picks again.
		ep.picks.Add(^uint64(0))
	}
	c.inFlight.Add(-1)
	if ep.InFlight.Add(-1) == 0 && ep.draining.Load() {
		b.drained(ep)
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
