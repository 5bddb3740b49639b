package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

// The times of the loop, see docs/discovery.md.
const (
	listTimeout      = 5 * time.Second        // one list, linearizable or serializable
	pingTimeout      = 2 * time.Second        // one cheap read
	establishTimeout = 10 * time.Second       // until etcd confirms a watch
	lostAfter        = time.Second            // without a connection until operators are told and the watch is made anew
	reconcileEvery   = 5 * time.Minute        // full list, jittered by a tenth
	staleEvery       = 5 * time.Second        // the same while the list is one that a minority member answered
	publishEvery     = 50 * time.Millisecond  // at most, so that a burst does not build a list per key
	publishEach      = 20 * time.Microsecond  // on top for each entry: a list of thousands is worth waiting for more
	stableAfter      = 10 * time.Second       // a watch that lasted so long starts the backoff anew
	unreachableMax   = 3 * time.Second        // longest wait between tries to make a client
	leaderlessMax    = 3 * time.Second        // longest wait while a member answers that there is no leader
	reconnectSpread  = 300 * time.Millisecond // gateways do not come back in the same instant
)

// store is what the watch loop needs of an etcd cluster. session is the real one.
type store interface {
	// connect makes the client, if there is none. With a user name that logs in, for which the cluster's dial_timeout is the time.
	connect(ctx context.Context) error
	// list reads every key under prefix: linearizable, or serializable, which a member without a quorum answers too.
	list(ctx context.Context, prefix string, serializable bool) (*clientv3.GetResponse, error)
	// ping is a read that costs nothing. It also gets a new auth token when the old one has expired.
	ping(ctx context.Context, prefix string) error
	// watch is a watch of prefix from revision on, on a stream of its own, with a created notification, progress notifications and
	// a leader required. It may block until etcd answers or ctx is done; the error is that there is no client.
	watch(ctx context.Context, prefix string, revision int64) (clientv3.WatchChan, error)
	// hasLease reports whether a lease lives.
	hasLease(ctx context.Context, id int64) (bool, error)
	// awaitLink waits until the connection to etcd is up (or is down), or ctx is done, which is the only error.
	awaitLink(ctx context.Context, up bool) error
	// renew throws the client away, so that the next call makes a new one.
	renew()
}

// watcher keeps a table of the registrations under a prefix in step with etcd:
//
//	list -> watch from the next revision -> apply events -> on trouble: keep the table, wait, watch again from where it was
//	                                                     -> on compaction: list again and apply the difference
//
// A watcher is used for one run.
type watcher struct {
	store   store
	prefix  string
	log     *zap.Logger
	outages *outages // of the cluster
	publish func(discovery.State)

	table    *table
	revision int64 // up to which the table is complete
	listed   bool  // the table came from a complete list, and events since then are known or can be had
	state    discovery.State
	dirty    bool // the table has changed since state was built

	backoff      discovery.Backoff
	authFailures int
	compactions  int // in a row
}

func newWatcher(s store, prefix string, layout Layout, o *outages) *watcher {
	return &watcher{
		store:   s,
		prefix:  prefix,
		log:     o.log.With(zap.String("prefix", discovery.Printable(prefix))),
		outages: o,
		table:   newTable(prefix, layout),
	}
}

var (
	errWatchClosed   = errors.New("the watch ended without a reason")
	errUnconfirmed   = fmt.Errorf("etcd did not confirm the watch within %v", establishTimeout)
	errRewound       = errors.New("the revision of the cluster went back, as after a restore")
	errMinorityStale = errors.New("etcd has no quorum: the list is what one member knew")
)

// run watches until ctx is done.
func (w *watcher) run(ctx context.Context, publish func(discovery.State)) {
	w.publish = publish
	defer w.outages.forget(w)
	for {
		err := w.cycle(ctx)
		if ctx.Err() != nil {
			return
		}
		if w.handle(ctx, err) {
			w.pause(ctx, err)
		}
	}
}

// cycle lists if needed and then follows the changes until that fails.
func (w *watcher) cycle(ctx context.Context) error {
	if err := w.store.connect(ctx); err != nil {
		return err
	}
	if !w.listed {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	return w.follow(ctx)
}

// handle does what an error asks for and reports whether to wait before the next cycle.
func (w *watcher) handle(ctx context.Context, err error) (wait bool) {
	switch {
	case errors.Is(err, errRewound):
		w.log.Warn("etcd went back to an older revision; the list was read again", zap.Int64("revision", w.revision))
		return true
	case errors.Is(err, rpctypes.ErrCompacted):
		w.listed = false
		w.compactions++
		w.log.Info("etcd compacted the revisions since the last change seen; listing again", zap.Int64("revision", w.revision))
		return w.compactions > 1
	}
	w.fail(err)
	if isAuthError(err) {
		w.logIn(ctx, err)
	}
	return true
}

// logIn gets a new token when etcd did not accept the present one: by a read, after which etcd's client has a new one for the next
// watch, and if that does not help by a new client.
func (w *watcher) logIn(ctx context.Context, err error) {
	w.authFailures++
	if w.authFailures == 1 {
		ctx, cancel := context.WithTimeout(ctx, pingTimeout)
		defer cancel()
		if err = w.store.ping(ctx, w.prefix); err == nil || !isAuthError(err) {
			return
		}
	}
	w.log.Debug("making a new etcd client, because the present one is not let in", errorField(err))
	w.store.renew()
}

// pause waits with backoff. When there is no connection, its return ends the wait.
func (w *watcher) pause(ctx context.Context, err error) {
	d := w.backoff.Next()
	var unreachable *unreachableError
	switch {
	case errors.As(err, &unreachable):
		d = min(d, unreachableMax)
	case errors.Is(err, rpctypes.ErrNoLeader):
		d = min(d, leaderlessMax)
	}
	timed, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	down, cancelProbe := context.WithTimeout(timed, 0)
	defer cancelProbe()
	if w.store.awaitLink(down, false) != nil { // the link is up: only time helps
		<-timed.Done()
		return
	}
	if w.store.awaitLink(timed, true) != nil {
		return
	}
	w.backoff.Reset()
	spread, cancelSpread := context.WithTimeout(ctx, rand.N(reconnectSpread)) //nolint:gosec // spreads load, guards nothing
	defer cancelSpread()
	<-spread.Done()
}

// list makes the table from a complete list. Without a quorum, and with nothing better at hand, a member's own view has to do.
func (w *watcher) list(ctx context.Context) error {
	resp, err := w.read(ctx, false)
	if err == nil {
		w.take(resp, false)
		return nil
	}
	if !isQuorumError(err) {
		return fmt.Errorf("listing: %w", err)
	}
	resp, err2 := w.read(ctx, true)
	if err2 != nil {
		return fmt.Errorf("listing: %w", err)
	}
	if w.state.Synced && resp.Header.GetRevision() < w.revision {
		return fmt.Errorf("listing: %w (the member at hand is behind, its answer was not used)", err)
	}
	w.log.Debug("etcd has no quorum; using what one member knows", errorField(err))
	w.outages.begin(w, trouble{prefix: w.prefix, err: fmt.Errorf("%w: %w", errMinorityStale, err), instances: len(resp.Kvs)})
	w.take(resp, true)
	return nil
}

func (w *watcher) read(ctx context.Context, serializable bool) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return w.store.list(ctx, w.prefix, serializable)
}

// take makes a list the present table and publishes it.
func (w *watcher) take(resp *clientv3.GetResponse, stale bool) {
	if w.table.replace(resp.Kvs, resp.Header.GetRevision()) || !w.state.Synced {
		w.dirty = true
	}
	w.listed = true
	w.revision = resp.Header.GetRevision()
	w.state.Synced, w.state.Stale = true, stale
	if stale {
		w.state.Err = errMinorityStale
	}
	w.contact()
	w.flush()
}

// contact notes that etcd answered.
func (w *watcher) contact() { w.state.LastContact = time.Now() }

// fail publishes an error; everything else stays.
func (w *watcher) fail(err error) {
	err = fmt.Errorf("etcd %s: %w", w.prefix, err)
	w.log.Debug("trouble with etcd; the last known instances stay in use", errorField(err), zap.Int("instances", len(w.state.Endpoints)))
	w.outages.begin(w, trouble{prefix: w.prefix, err: err, instances: len(w.state.Endpoints)})
	w.state.Err = err
	w.flush()
}

// healthy clears the error, unless the list is known to be stale.
func (w *watcher) healthy() {
	if w.state.Stale {
		return
	}
	w.outages.end(w, w.revision)
	w.state.Err = nil
}

// proven is called when a watch has shown that it works, which a mere confirmation does not: a refusal may follow it.
func (w *watcher) proven() { w.authFailures, w.compactions = 0, 0 }

// flush publishes the present state.
func (w *watcher) flush() {
	if w.dirty {
		w.state.Endpoints, w.state.Skipped = w.table.lists()
		w.state.Withdrawn = w.table.takenOut(time.Now())
		w.dirty = false
		w.logNews()
	}
	w.state.Revision = w.revision
	w.publish(w.state)
}

// logNews tells of entries that cannot be used, once each.
func (w *watcher) logNews() {
	const most = 5 // lines at a time; the admin API shows all
	news := w.table.takeNews()
	for i, s := range news {
		if i == most {
			w.log.Warn("more etcd entries skipped", zap.Int("entries", len(news)-most))
			return
		}
		w.log.Warn("etcd entry skipped", zap.String("key", discovery.Printable(s.ID)), zap.String("reason", discovery.Printable(s.Reason)))
	}
}
