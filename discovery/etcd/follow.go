package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/caddy-grpc/gateway/discovery"
)

// following is one watch, from its start until it fails. Everything happens in the goroutine of
// watcher.run. The other goroutines only wait for something and pass it on.
type following struct {
	*watcher
	ctx  context.Context
	wg   sync.WaitGroup
	from int64 // revision that the watch starts with

	responses chan clientv3.WatchResponse
	ended     error // why responses was closed, set before
	link      chan bool
	lists     chan listResult // capacity 1; at most one list is under way
	listing   bool
	answers   chan leaseAnswer
	asking    int // answers to come

	confirmed time.Time // when etcd confirmed the watch
	published time.Time
	confirm   *time.Timer // the watch is late
	lost      *time.Timer // the connection is away for too long; stopped while it is there
	later     *time.Timer // publish what has changed; stopped while nothing has
	reconcile *time.Timer
}

type listResult struct {
	resp  *clientv3.GetResponse
	err   error
	since int64 // revision when it was asked for
}

// follow applies changes to the table from the revision on, until the watch fails. The error, which
// is never nil, says why.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	f := &following{
		watcher:   w,
		ctx:       ctx,
		from:      w.revision + 1,
		responses: make(chan clientv3.WatchResponse),
		link:      make(chan bool),
		lists:     make(chan listResult, 1),
		answers:   make(chan leaseAnswer),
		confirm:   time.NewTimer(establishTimeout),
		lost:      time.NewTimer(lostAfter),
		later:     time.NewTimer(publishEvery),
		reconcile: time.NewTimer(discovery.Jitter(reconcileEvery, 0.1)),
	}
	f.lost.Stop()
	f.later.Stop()
	defer f.stop(cancel)
	f.wg.Go(f.receive)
	f.wg.Go(f.observeLink)
	for {
		if err := f.step(); err != nil {
			return err
		}
	}
}

// stop ends the helpers and publishes what the last events changed.
func (f *following) stop(cancel context.CancelFunc) {
	cancel()
	f.wg.Wait()
	f.confirm.Stop()
	f.lost.Stop()
	f.later.Stop()
	f.reconcile.Stop()
	f.table.forgetList()
	if f.dirty {
		f.flush()
	}
	if !f.confirmed.IsZero() && time.Since(f.confirmed) >= stableAfter {
		f.backoff.Reset()
		f.proven()
	}
}

// receive passes the responses of the watch on.
func (f *following) receive() {
	defer close(f.responses)
	responses, err := f.store.watch(f.ctx, f.prefix, f.from)
	if err != nil {
		f.ended = fmt.Errorf("watching: %w", err)
		return
	}
	f.ended = errWatchClosed
	for resp := range responses {
		select {
		case f.responses <- resp:
		case <-f.ctx.Done():
			return
		}
	}
}

// observeLink passes on each change of whether there is a connection. It begins with the loss of
// it.
func (f *following) observeLink() {
	for up := false; f.store.awaitLink(f.ctx, up) == nil; up = !up {
		select {
		case f.link <- up:
		case <-f.ctx.Done():
			return
		}
	}
}

// step waits for the next thing to happen and handles it.
func (f *following) step() error {
	select {
	case <-f.ctx.Done():
		return f.ctx.Err()
	case resp, ok := <-f.responses:
		if !ok {
			return f.ended
		}
		return f.response(&resp)
	case up := <-f.link:
		if up {
			f.lost.Stop()
		} else {
			f.lost.Reset(lostAfter)
		}
	case <-f.lost.C:
		return f.lostError()
	case <-f.confirm.C:
		return errUnconfirmed
	case <-f.later.C:
		f.flushNow()
	case <-f.reconcile.C:
		f.startList()
	case a := <-f.answers:
		f.takeAnswer(a)
	case result := <-f.lists:
		return f.takeList(result)
	}
	return nil
}

// response applies one response of the watch.
func (f *following) response(resp *clientv3.WatchResponse) error {
	if err := resp.Err(); err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	f.contact()
	if resp.Created {
		f.confirm.Stop()
		f.confirmed = time.Now()
		f.healthy()
		f.flushNow()
		// A member may be behind the others, which does no harm. A cluster that is behind was
		// restored from a backup. Only a linearizable list can tell. Without it, the watch of a
		// future revision would stay silent until the cluster gets there.
		if f.state.Stale || resp.Header.GetRevision() < f.revision {
			f.startList()
		}
		return nil
	}
	f.proven()
	if resp.IsProgressNotify() {
		f.advance(resp.Header.GetRevision())
		f.flushSoon()
		return nil
	}
	known := f.revision // a list may be ahead of the watch
	for i, ev := range resp.Events {
		if ev.Kv.ModRevision <= known {
			continue
		}
		// Not the revision of the header: a watch that catches up gets its events in portions.
		f.advance(ev.Kv.ModRevision)
		if ev.Type == clientv3.EventTypeDelete {
			if alone(resp.Events, i) {
				f.inquire(string(ev.Kv.Key))
			}
			f.dirty = f.table.remove(string(ev.Kv.Key), ev.Kv.ModRevision) || f.dirty
		} else {
			f.dirty = f.table.put(ev.Kv) || f.dirty
		}
	}
	if f.dirty {
		f.flushSoon()
	}
	return nil
}

// alone reports whether an event is the only one of its revision. When a lease ends, and when a
// whole prefix is deleted, the keys go in one revision.
func alone(events []*clientv3.Event, i int) bool {
	at := events[i].Kv.ModRevision
	return (i == 0 || events[i-1].Kv.ModRevision != at) && (i == len(events)-1 || events[i+1].Kv.ModRevision != at)
}

// inquire finds out whether a key that is about to leave the table was deleted on purpose: it had
// no lease, or its lease lives. If etcd does not say, it counts as lost.
func (f *following) inquire(key string) {
	const most = 16 // questions at a time
	e := f.table.entries[key]
	switch {
	case e == nil:
	case e.lease == 0:
		f.table.withdraw(e, time.Now())
	case f.asking < most:
		f.asking++
		f.wg.Go(func() {
			ctx, cancel := context.WithTimeout(f.ctx, pingTimeout)
			defer cancel()
			lives, err := f.store.hasLease(ctx, e.lease)
			select {
			case f.answers <- leaseAnswer{e, err == nil && lives}:
			case <-f.ctx.Done():
			}
		})
	}
}

// leaseAnswer says whether the lease of an entry lives.
type leaseAnswer struct {
	entry *entry
	lives bool
}

// takeAnswer publishes that an entry was deleted on purpose.
func (f *following) takeAnswer(a leaseAnswer) {
	f.asking--
	if a.lives {
		f.table.withdraw(a.entry, time.Now())
		f.dirty = true
		f.flushNow()
	}
}

func (f *following) advance(revision int64) { f.revision = max(f.revision, revision) }

// flushSoon publishes at once if the last time was long enough ago. Otherwise it waits for
// publishEvery, and longer for a long list.
func (f *following) flushSoon() {
	if wait := publishEvery + time.Duration(len(f.table.entries))*publishEach - time.Since(f.published); wait > 0 {
		f.later.Reset(wait)
		return
	}
	f.flushNow()
}

func (f *following) flushNow() {
	f.later.Stop()
	f.published = time.Now()
	f.flush()
}

// startList asks for a linearizable list while the watch goes on.
func (f *following) startList() {
	if f.listing {
		return
	}
	f.listing = true
	f.table.expectList()
	since := f.revision
	f.wg.Go(func() {
		resp, err := f.read(f.ctx, false)
		f.lists <- listResult{resp, err, since}
	})
}

// takeList compares the table with a list, so that what a watch misses is found within minutes.
func (f *following) takeList(result listResult) error {
	f.listing = false
	next := reconcileEvery
	if result.err != nil {
		f.table.forgetList()
		f.log.Debug("etcd could not be listed for comparison", errorField(result.err))
		if f.state.Stale {
			next = staleEvery
		}
		f.reconcile.Reset(discovery.Jitter(next, 0.1))
		return nil
	}
	f.reconcile.Reset(discovery.Jitter(next, 0.1))
	revision := result.resp.Header.GetRevision()
	f.dirty = f.table.replace(result.resp.Kvs, revision) || f.dirty
	f.contact()
	f.state.Stale = false
	if !f.confirmed.IsZero() {
		f.healthy()
	}
	if revision < result.since {
		f.revision = revision
		f.flushNow()
		return errRewound
	}
	f.advance(revision)
	f.flushNow()
	return nil
}

// lostError says why there is no connection. The error of a cheap read tells more than the state of
// a connection.
func (f *following) lostError() error {
	ctx, cancel := context.WithTimeout(f.ctx, pingTimeout)
	defer cancel()
	if err := f.store.ping(ctx, f.prefix); err != nil {
		return fmt.Errorf("connection lost: %w", err)
	}
	return fmt.Errorf("connection lost for %v", lostAfter)
}
