package module

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/netpolicy"
	"github.com/caddy-grpc/gateway/internal/pool"
)

// Networks limits which addresses the gateway connects to. Some addresses are refused by default if
// they come from a registry or from DNS: link-local, multicast and unspecified addresses, the
// metadata services of clouds, and the addresses at which this gateway itself listens.
type Networks struct {
	// The networks that instances may be in: CIDR ranges such as `10.0.0.0/8`, or single IP
	// addresses. Every other address is refused. An entry also lifts a refusal by default if it is
	// not wider than the refused network: `169.254.10.0/24` does so, and `0.0.0.0/0` does not.
	// Default: all networks that are not refused by default.
	Allow []string `json:"allow,omitempty"`

	// The networks that instances must not be in, in the same form. They win over `allow`. Default:
	// none.
	Deny []string `json:"deny,omitempty"`
}

func (n *Networks) parse() (allow, deny []netip.Prefix, err error) {
	if n == nil {
		return nil, nil, nil
	}
	if allow, err = parseNetworks(n.Allow); err != nil {
		return nil, nil, fmt.Errorf("allow: %w", err)
	}
	if deny, err = parseNetworks(n.Deny); err != nil {
		return nil, nil, fmt.Errorf("deny: %w", err)
	}
	return allow, deny, nil
}

func parseNetworks(texts []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, text := range texts {
		network, err := netpolicy.Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, network)
	}
	return list, nil
}

// compile makes the policy for the addresses of a source. The config is known to be valid.
func (n *Networks) compile(source discovery.Source) *netpolicy.Policy {
	p := &netpolicy.Policy{Own: listensAt}
	p.Allow, p.Deny, _ = n.parse()
	_, p.ByHand = source.(discovery.Fixed)
	return p
}

// RefusedView is an instance that is not connected because of its address. Its JSON is public.
type RefusedView struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// admission leaves out the instances of a feed whose address the policy refuses. It implements what
// a channel needs of a feed. It also guards the dials of the channel, because the addresses of a
// host name are known only then.
type admission struct {
	feed   *discovery.Feed
	policy *netpolicy.Policy
	log    *zap.Logger
	count  atomic.Uint64 // of refused instances and dials since the start

	// publishing is held while subscribers are called.
	publishing  sync.Mutex
	subscribers map[*func(discovery.State)]struct{}

	mu      sync.Mutex
	refused []RefusedView
	only    string // the one address that is used while the channel rests; "": all are
}

// State returns the state of the feed without refused instances.
func (a *admission) State() discovery.State { return a.admit(a.feed.State()) }

// Subscribe passes on each state of the feed without refused instances.
func (a *admission) Subscribe(fn func(discovery.State)) (cancel func()) {
	a.publishing.Lock()
	if a.subscribers == nil {
		a.subscribers = make(map[*func(discovery.State)]struct{})
	}
	a.subscribers[&fn] = struct{}{}
	a.publishing.Unlock()
	stop := a.feed.Subscribe(func(s discovery.State) {
		a.publishing.Lock()
		defer a.publishing.Unlock()
		fn(a.admit(s))
	})
	return func() {
		stop()
		a.publishing.Lock()
		defer a.publishing.Unlock()
		delete(a.subscribers, &fn)
	}
}

// admit returns the state without the instances that are refused.
func (a *admission) admit(s discovery.State) discovery.State {
	var refused []RefusedView
	admitted, withdrawn := s.Endpoints, s.Withdrawn[:len(s.Withdrawn):len(s.Withdrawn)]
	for i, e := range s.Endpoints {
		if err := a.policy.CheckAddr(e.Addr); err != nil {
			if len(refused) == 0 {
				admitted = append(make([]discovery.Endpoint, 0, len(s.Endpoints)), s.Endpoints[:i]...)
			}
			withdrawn = append(withdrawn, e)
			refused = append(refused, RefusedView{ID: e.ID, Address: e.Addr, Reason: err.Error()})
		} else if len(refused) > 0 {
			admitted = append(admitted, e)
		}
	}
	// An instance that is refused from now on must not be held.
	s.Endpoints, s.Withdrawn = a.rested(admitted, withdrawn)
	a.note(refused)
	return s
}

// note keeps the refused instances for operators, and logs the new ones.
func (a *admission) note(refused []RefusedView) {
	const most = 5 // lines at a time; the admin API shows all instances
	a.mu.Lock()
	defer a.mu.Unlock()
	known := make(map[RefusedView]bool, len(a.refused))
	for _, r := range a.refused {
		known[r] = true
	}
	a.refused = refused
	fresh := 0
	for _, r := range refused {
		if known[r] {
			continue
		}
		a.count.Add(1)
		if fresh++; fresh <= most {
			a.log.Warn("instance refused because of its address", zap.String("instance", r.Address),
				zap.String("key", r.ID), zap.String("reason", r.Reason))
		}
	}
	if fresh > most {
		a.log.Warn("more instances refused because of their addresses", zap.Int("count", fresh-most))
	}
}

// views returns the instances that are refused at present.
func (a *admission) views() []RefusedView {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// Control implements pool.Guard. The pool logs and shows the refusal as the reason why it cannot
// connect to the instance.
func (a *admission) Control(addr string) pool.Control {
	check := a.policy.Guard(addr)
	return func(ctx context.Context, network, address string, c syscall.RawConn) error {
		err := check(ctx, network, address, c)
		if err != nil {
			a.count.Add(1)
		}
		return err
	}
}
