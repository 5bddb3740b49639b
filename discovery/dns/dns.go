// Package dns is a source of endpoints that DNS knows. It is the guest module
// http.grpc_gateway.discovery.dns. Endpoints are the A and AAAA records of a name, with a port from
// the config, or SRV records, which have ports and weights. It asks the resolver of the operating
// system, or the name servers of the config, and keeps no cache besides the last list.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

const (
	defaultRefresh = 30 * time.Second
	minRefresh     = time.Second
	lookupTimeout  = 5 * time.Second

	// believeAbsence is how many times in a row DNS must say that there is no such name until a
	// list is dropped: a single such answer often comes from a server that is just starting or from
	// a search domain.
	believeAbsence = 3
)

// resolver is what is needed of *net.Resolver.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// poller asks DNS again and again. It is used for one run.
type poller struct {
	resolver resolver
	lookup   func(context.Context, resolver) (list, error)
	refresh  time.Duration
	// limit is the maximum time of one lookup. 0: lookupTimeout.
	limit time.Duration

	state   discovery.State
	absent  int // answers in a row that there is no such name
	backoff discovery.Backoff
}

// list is what one lookup found.
type list struct {
	endpoints []discovery.Endpoint
	skipped   []discovery.Skipped
}

// run polls until ctx is done. After an error it asks sooner, with backoff from 1 s.
func (p *poller) run(ctx context.Context, publish func(discovery.State)) {
	p.backoff.Max = p.refresh
	for {
		err := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		publish(p.state)
		wait := discovery.Jitter(p.refresh, 0.1)
		if err != nil {
			wait = p.backoff.Next()
		} else {
			p.backoff.Reset()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// poll asks once. An error keeps the last list. An answer that there is no such name does too,
// unless it is repeated.
func (p *poller) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(p.limit, lookupTimeout))
	defer cancel()
	found, err := p.lookup(ctx, p.resolver)
	p.state.Err = err
	var dnsErr *net.DNSError
	absent := errors.As(err, &dnsErr) && dnsErr.IsNotFound
	switch {
	case err == nil:
		p.absent = 0
	case absent:
		p.state.LastContact = time.Now()
		if p.absent++; p.absent < believeAbsence {
			return err
		}
	default:
		return err
	}
	p.state.Synced = true
	p.state.Endpoints, p.state.Skipped = found.endpoints, found.skipped
	p.state.LastContact = time.Now()
	return err
}

// lookupHost asks for the addresses of a name.
func lookupHost(host, port string) func(context.Context, resolver) (list, error) {
	return func(ctx context.Context, r resolver) (list, error) {
		ips, err := r.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return list{}, fmt.Errorf("looking up the addresses of %s: %w", host, err)
		}
		var l list
		for _, ip := range ips {
			l.add(net.JoinHostPort(ip.Unmap().String(), port), 0)
		}
		l.sort()
		return l, nil
	}
}

// lookupService asks for SRV records and takes those with the lowest priority number, as RFC 2782
// says. Each connection resolves the names in them, unless resolve is set: the name servers of the
// config may know names that the operating system does not.
func lookupService(name string, resolve bool) func(context.Context, resolver) (list, error) {
	return func(ctx context.Context, r resolver) (list, error) {
		_, records, err := r.LookupSRV(ctx, "", "", name)
		if err != nil && len(records) == 0 {
			return list{}, fmt.Errorf("looking up the SRV records of %s: %w", name, err)
		}
		// An error together with records says that some records had invalid names and were left
		// out.
		var l list
		best := preferred(records)
		// "Decidedly not available at this domain."
		best = slices.DeleteFunc(best, func(s *net.SRV) bool { return s.Target == "." })
		weighted := slices.ContainsFunc(best, func(s *net.SRV) bool { return s.Weight > 0 })
		targets := make(map[string]*addresses, len(best))
		if resolve {
			for _, record := range best {
				targets[record.Target] = new(addresses)
			}
			lookupAll(ctx, r, targets)
		}
		for _, record := range best {
			weight := uint32(record.Weight)
			if weighted && weight == 0 {
				weight = 1 // "a very small chance", where other weights are, as RFC 2782 has it
			}
			if err := l.addRecord(record, weight, targets[record.Target]); err != nil {
				return list{}, err
			}
		}
		l.sort()
		return l, nil
	}
}

func preferred(records []*net.SRV) []*net.SRV {
	var best []*net.SRV
	for _, r := range records {
		switch {
		case len(best) == 0 || r.Priority < best[0].Priority:
			best = []*net.SRV{r}
		case r.Priority == best[0].Priority:
			best = append(best, r)
		}
	}
	return best
}

// addRecord appends the address in an SRV record, or those that its name was resolved to. A name
// that does not exist is skipped.
func (l *list) addRecord(record *net.SRV, weight uint32, resolved *addresses) error {
	host, port := strings.TrimSuffix(record.Target, "."), strconv.Itoa(int(record.Port))
	if resolved == nil {
		l.add(net.JoinHostPort(host, port), weight)
		return nil
	}
	var dnsErr *net.DNSError
	switch {
	case errors.As(resolved.err, &dnsErr) && dnsErr.IsNotFound:
		reason := "expected a name with addresses: " + resolved.err.Error()
		l.skipped = append(l.skipped, discovery.Skipped{ID: net.JoinHostPort(host, port), Reason: reason})
	case resolved.err != nil:
		return fmt.Errorf("looking up the addresses of %s: %w", host, resolved.err)
	}
	for _, ip := range resolved.ips {
		l.add(net.JoinHostPort(ip.String(), port), weight)
	}
	return nil
}

// add appends an address once; its weights in several records add up.
func (l *list) add(addr string, weight uint32) {
	if err := discovery.CheckAddr(addr); err != nil {
		l.skipped = append(l.skipped, discovery.Skipped{ID: addr, Reason: err.Error()})
		return
	}
	i := slices.IndexFunc(l.endpoints, func(e discovery.Endpoint) bool { return e.Addr == addr })
	if i >= 0 {
		l.endpoints[i].Weight += weight
		return
	}
	l.endpoints = append(l.endpoints, discovery.Endpoint{ID: addr, Addr: addr, Weight: weight})
}

func (l *list) sort() {
	slices.SortFunc(l.endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(l.skipped, func(a, b discovery.Skipped) int { return strings.Compare(a.ID, b.ID) })
}

// checkRefresh refuses intervals that would harm name servers.
func checkRefresh(d time.Duration) (time.Duration, error) {
	switch {
	case d == 0:
		return defaultRefresh, nil
	case d < minRefresh:
		return 0, fmt.Errorf("expected a refresh of at least %v, found %v", minRefresh, d)
	}
	return d, nil
}

// checkService checks the name of SRV records.
func checkService(name string) error {
	if err := discovery.CheckAddr(net.JoinHostPort(name, "1")); err != nil || strings.Contains(name, ":") {
		return fmt.Errorf("expected a name of SRV records such as _grpc._tcp.user.internal, found %s", discovery.Excerpt(name))
	}
	return nil
}
