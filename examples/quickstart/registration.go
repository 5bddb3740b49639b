package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// leaseTTL is how long a registration outlives an instance that died without saying so, in
	// seconds.
	leaseTTL = 5
	// etcdTimeout bounds one request to etcd.
	etcdTimeout = 3 * time.Second
	// The wait before another attempt to register doubles from firstWait to longestWait.
	firstWait, longestWait = 200 * time.Millisecond, 5 * time.Second
)

// registration keeps an address registered in etcd in the way of go-zero: the key is
// <service key>/<lease id>, the value host:port, and the lease is kept alive.
//
// A lease can be lost while the instance lives: the process was suspended, the machine slept, etcd
// was away for too long, or somebody revoked the lease. Then the address is registered again under
// a new lease. An instance that registers only once at its start gets no calls after that.
type registration struct {
	etcd      *clientv3.Client
	key, addr string
	cancel    context.CancelCauseFunc
	done      chan struct{} // closed when the registration is withdrawn
}

// register registers addr and keeps it registered until close. The first attempt must succeed
// before ctx ends.
func register(ctx context.Context, etcd *clientv3.Client, key, addr string) (*registration, error) {
	r := &registration{etcd: etcd, key: key, addr: addr, done: make(chan struct{})}
	lease, err := r.put(ctx)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancelCause(context.Background())
	r.cancel = cancel
	go func() {
		defer close(r.done)
		r.run(life, lease)
	}()
	return r, nil
}

// errKilled ends a registration without withdrawing it.
var errKilled = errors.New("killed")

// run keeps the lease alive, and replaces it when it is lost, until ctx is done.
func (r *registration) run(ctx context.Context, lease clientv3.LeaseID) {
	for {
		r.keepAlive(ctx, lease)
		if ctx.Err() != nil {
			if !errors.Is(context.Cause(ctx), errKilled) {
				r.revoke(lease)
			}
			return
		}
		var ok bool
		if lease, ok = r.putAgain(ctx); !ok {
			return
		}
	}
}

// keepAlive returns when the lease is lost or ctx is done.
func (r *registration) keepAlive(ctx context.Context, lease clientv3.LeaseID) {
	responses, err := r.etcd.KeepAlive(ctx, lease)
	if err != nil {
		return
	}
	for range responses { // The client closes the channel when the lease is lost.
	}
}

// putAgain tries to register until it succeeds. ok is false when ctx is done.
func (r *registration) putAgain(ctx context.Context) (lease clientv3.LeaseID, ok bool) {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		if lease, err := r.put(ctx); err == nil {
			return lease, true
		}
		// With jitter, so that many instances do not come back at the same moment.
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
			return 0, false
		}
	}
}

// put makes one attempt to register under a new lease.
func (r *registration) put(ctx context.Context) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdTimeout)
	defer cancel()
	grant, err := r.etcd.Grant(ctx, leaseTTL)
	if err != nil {
		return 0, fmt.Errorf("ask etcd for a lease: %w", err)
	}
	key := fmt.Sprintf("%s/%d", r.key, grant.ID)
	if _, err := r.etcd.Put(ctx, key, r.addr, clientv3.WithLease(grant.ID)); err != nil {
		r.revoke(grant.ID)
		return 0, fmt.Errorf("register %s in etcd: %w", r.addr, err)
	}
	return grant.ID, nil
}

// revoke withdraws a registration. If etcd is away, the lease ends by itself.
func (r *registration) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), etcdTimeout)
	defer cancel()
	_, _ = r.etcd.Revoke(ctx, lease)
}

// close withdraws the registration and waits until that is done.
func (r *registration) close() {
	r.cancel(nil)
	<-r.done
}

// abandon leaves the registration to its lease, as a process does that is killed.
func (r *registration) abandon() {
	r.cancel(errKilled)
	<-r.done
}
