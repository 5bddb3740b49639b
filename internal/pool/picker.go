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

// picker gives calls to connections. It never changes. A new one replaces it.
type picker interface {
	// choose claims a connection for a call. It returns nil if the call must wait for the next
	// picker. l is nil for a call without a lease.
	//
	// Called on the call path; takes no lock of the balancer.
	choose(ctx context.Context, l *lease) (*pick, error)
}

// nextPicker returns the picker that calls should use now, and the state of the channel.
//
// Caller must hold b.mu.
func (b *balancer) nextPicker() (picker, connectivity.State) {
	if len(b.ready) == 0 {
		if trouble := b.trouble(); trouble != nil {
			return failingPicker{trouble}, connectivity.TransientFailure
		}
		return waitingPicker{}, connectivity.Connecting
	}
	return b.newPicker(), connectivity.Ready
}

// newPicker makes a picker with the configured policy. A new policy is added here.
//
// Caller must hold b.mu.
func (b *balancer) newPicker() *policyPicker {
	p := &policyPicker{balancer: b, endpoints: slices.Clone(b.ready)}
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

// waitingPicker makes calls wait, because a connection may come up.
type waitingPicker struct{}

func (waitingPicker) choose(context.Context, *lease) (*pick, error) { return nil, nil }

// failingPicker ends calls at once. Its error has a status, so grpc passes it on unchanged.
type failingPicker struct{ err *UnavailableError }

func (p failingPicker) choose(context.Context, *lease) (*pick, error) { return nil, p.err }

// policyPicker gives calls to the endpoints that a policy chooses.
type policyPicker struct {
	balancer *balancer
	// endpoints has at least one endpoint. The order is that of the policy.
	endpoints []*endpoint
	policy    balance.Policy
	// keyed is true if calls have keys. See WithHash.
	keyed bool
}

type hashKey struct{}

// WithHash returns a context whose calls have the key for BalanceHash. Equal keys go to the same
// endpoint as long as it is there. The other policies ignore the key.
func WithHash(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, xxhash.Sum64String(key))
}

// Called on the call path; takes no lock of the balancer.
func (p *policyPicker) choose(ctx context.Context, l *lease) (*pick, error) {
	call := balance.Call{Now: p.balancer.clock()}
	if l != nil && l.attempts != nil {
		call.Safe, call.Tried, call.Since = true, l.attempts.tried, l.attempts.since
	}
	if p.keyed {
		call.Key, call.HasKey = ctx.Value(hashKey{}).(uint64)
	}
	return p.take(p.policy.Choose(call), l, call.Now), nil
}

// take gives the call to the chosen endpoint, or to the next one that is fit for it. An endpoint is
// not fit in three cases. Its last connection was lost since the picker was made. Or it has as many
// streams as the instance allows. Or an earlier attempt of the call went there.
//
// If no endpoint is fit, an endpoint that is unfit but connected gets the call. If no connection is
// left, or another one is about to come up, the call waits for the next picker.
//
// Called on the call path; takes no lock of the balancer.
func (p *policyPicker) take(chosen int, l *lease, now int64) *pick {
	var (
		unfit   *endpoint
		unfitOn *conn
		full    = true // the unfit endpoint has no room
		probes  int
	)
	n := len(p.endpoints)
	for i := range n {
		ep := p.endpoints[(chosen+i)%n]
		conn, room := ep.pickConn()
		for ; room && !l.triedAt(ep); conn, room = ep.pickConn() {
			if claim := p.balancer.take(ep, conn, l, now, false); claim != nil {
				return claim
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
		return nil
	}
	return p.balancer.take(unfit, unfitOn, l, now, true)
}

// pick is a call's claim on an endpoint, from the pick to the end of the attempt. Later calls use
// it again.
type pick struct {
	balancer *balancer
	endpoint *endpoint
	conn     *conn
	// term is the number of the term in which the claim was made. The picker itself would stay in
	// memory for as long as the call. 0: it is not known.
	term uint64
	// lease is nil for a call without a lease.
	lease *lease
	// at is the time of the pick, on the balancer's clock.
	at   int64
	done func(grpcbalancer.DoneInfo)
	// owned is true if the claim is a part of its wireCall.
	owned bool

	// before and after are the neighbours in the endpoint's callList.
	before, after *pick
}

// take makes a claim. It exceeds the connection's limit only if must is true. Otherwise it returns
// nil. A claim must be ended exactly once.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) take(ep *endpoint, c *conn, l *lease, now int64, must bool) *pick {
	n, limit := c.inFlight.Add(1), c.limit.Load()
	if limit > 0 && nearlyFull(n, limit) {
		b.wantMore(ep, now)
		if n > int64(limit) && !must {
			c.inFlight.Add(-1) // other calls took the last room first
			return nil
		}
	}
	p := b.newPick(c, l)
	p.endpoint, p.conn, p.lease, p.at, p.term = ep, c, l, now, 0
	ep.InFlight.Add(1)
	ep.calls.add(p)
	if !b.looking.Load() {
		b.watch()
	}
	if l.counts() {
		ep.picks.Add(1)
		b.notePick(now)
	}
	return p
}

// newPick returns an object for a claim on the connection. A whole call over rpcwire has its own.
//
// Called on the call path; takes no lock of the balancer.
func (b *balancer) newPick(c *conn, l *lease) *pick {
	if l != nil && l.whole != nil {
		if _, ok := c.link.(*wireLink); ok {
			p := &l.whole.overWire().claim
			p.balancer, p.owned = b, true
			return p
		}
	}
	p, _ := b.picks.Get().(*pick)
	if p == nil {
		p = &pick{balancer: b}
		p.done = p.end
	}
	return p
}

// begin notes in the lease that an attempt begins on the claimed connection.
//
// Called on the call path; takes no lock of the balancer.
func (p *pick) begin() {
	if p.lease != nil {
		p.lease.endpoint.Store(p.endpoint)
		p.lease.picked.Store(p.at)
	}
}

// end returns the claim. It leaves the outcome of the call to lease.end, because grpc reports an
// attempt that failed while sending as one without an error here.
//
// Called on the call path; takes no lock of the balancer.
func (p *pick) end(info grpcbalancer.DoneInfo) {
	// If this is true, the connection was lost before grpc could use it. Grpc picks again.
	unused := info.Err == nil && !info.BytesSent
	b, term := p.balancer, p.term
	p.finish(evidence{started: info.BytesSent, received: info.BytesReceived, trailer: info.Trailer}, unused)
	if unused {
		b.replaceAfter(term)
	}
}

// finish returns the claim, and gives the evidence to the lease. If unused is true, the instance
// had no chance to get the call, so it does not count.
//
// Called on the call path; takes no lock of the balancer.
func (p *pick) finish(e evidence, unused bool) {
	b, ep, c := p.balancer, p.endpoint, p.conn
	ep.calls.remove(p)
	if unused && p.lease.counts() {
		ep.picks.Add(^uint64(0))
	}
	if p.lease != nil {
		p.lease.evidence = e
	}
	p.endpoint, p.conn, p.lease = nil, nil, nil
	if !p.owned {
		b.picks.Put(p)
	}
	c.inFlight.Add(-1)
	if ep.InFlight.Add(-1) == 0 && ep.draining.Load() {
		b.drained(ep)
	}
}

// speaksAgainst reports whether a code speaks against the instance. The other codes speak against
// the request.
func speaksAgainst(code codes.Code) bool {
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Internal, codes.DataLoss:
		return true
	default:
		return false
	}
}
