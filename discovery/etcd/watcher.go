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
	// listTimeout bounds one list, linearizable or serializable.
	listTimeout = 5 * time.Second
	// pingTimeout bounds one cheap read.
	pingTimeout = 2 * time.Second
	// establishTimeout is how long etcd may take to confirm a watch.
	establishTimeout = 10 * time.Second
	// lostAfter is how long there may be no connection until operators are told and the watch is
	// made again.
	lostAfter = time.Second
	// reconcileEvery is the time between two full lists, with a tenth of jitter.
	reconcileEvery = 5 * time.Minute
	// staleEvery replaces reconcileEvery while the list comes from a member without a quorum.
	staleEvery = 5 * time.Second
	// publishEvery is the least time between two lists in a burst of changes.
	publishEvery = 50 * time.Millisecond
	// publishEach is added to publishEvery for each entry: a long list costs more to build.
	publishEach = 20 * time.Microsecond
	// stableAfter is how long a watch must last for the backoff to begin again.
	stableAfter = 10 * time.Second
	// unreachableMax is the longest wait between two attempts to make a client.
	unreachableMax = 3 * time.Second
	// leaderlessMax is the longest wait while a member answers that there is no leader.
	leaderlessMax = 3 * time.Second
	// reconnectSpread keeps gateways from coming back at the same moment.
	reconnectSpread = 300 * time.Millisecond
)

// store is what the watch loop needs of an etcd cluster. session is the real one.
type store interface {
	// connect makes the client, if there is none. With a user name this logs in, which may take the
	// cluster's dial_timeout.
	connect(ctx context.Context) error
	// list reads every key under prefix. A member without a quorum answers serializable reads only.
	list(ctx context.Context, prefix string, serializable bool) (*clientv3.GetResponse, error)
	// ping is a read that costs little. It gets a new token if the old one has expired.
	ping(ctx context.Context, prefix string) error
	// watch watches prefix from revision on, on its own stream. It asks for a created notification
	// and for progress notifications, and requires a leader. It may block until etcd answers or ctx
	// is done. An error means that there is no client.
	watch(ctx context.Context, prefix string, revision int64) (clientv3.WatchChan, error)
	// hasLease reports whether a lease lives.
	hasLease(ctx context.Context, id int64) (bool, error)
	// awaitLink waits until the connection to etcd is up, or down. The only error is that of ctx.
	awaitLink(ctx context.Context, up bool) error
	// renew discards the client. The next call makes a new one.
	renew()
}

// watcher keeps a table of the registrations under a prefix in step with etcd:
//
//	list -> watch from the next revision -> apply events
//	  on trouble:    keep the table, wait, watch again from the same revision
//	  on compaction: list again, apply the difference
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
	// listed is true if the table came from a complete list, and the events since then are known or
	// can still be read.
	listed bool
	state  discovery.State
	dirty  bool // the table has changed since state was built

	backoff      discovery.Backoff
	authFailures int
	compactions  int // in a row

	newsSince  time.Time // when the present newsEvery began
	newsTold   int       // lines since then
	newsUntold int       // entries that the log does not mention yet
	newsMore   bool      // whether the line about more entries was written
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

// handle reacts to an error, and reports whether to wait before the next cycle.
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

// logIn gets a new token when etcd did not accept the present one. It makes a read first, after
// which etcd's client has a new token for the next watch. If that does not help, it discards the
// client.
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

// pause waits with backoff. If there is no connection, the wait ends when it is back.
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
	wait := rand.N(reconnectSpread) //nolint:gosec // It spreads load and guards nothing.
	spread, cancelSpread := context.WithTimeout(ctx, wait)
	defer cancelSpread()
	<-spread.Done()
}

// list makes the table from a complete list. Without a quorum it takes what one member knows,
// unless something newer is known.
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
		return fmt.Errorf("listing: %w (the answer of one member was older and was not used)", err)
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

// take makes a list the table and publishes it.
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

// proven is called when a watch has shown that it works. A confirmation alone does not show that,
// because a refusal may follow it.
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

// newsEvery is the time in which at most newsLines entries that cannot be used have a line of their
// own in the log. Somebody may write entries without end. The admin API shows all of them.
const (
	newsEvery = time.Minute
	newsLines = 5
)

// logNews tells of entries that cannot be used, once each.
func (w *watcher) logNews() {
	news := w.table.takeNews()
	if len(news) == 0 {
		return
	}
	if now := time.Now(); now.Sub(w.newsSince) > newsEvery {
		w.newsSince, w.newsTold, w.newsMore = now, 0, false
	}
	for _, s := range news {
		if w.newsTold < newsLines {
			w.newsTold++
			w.log.Warn("etcd entry skipped", zap.String("key", discovery.Printable(s.ID)), zap.String("reason", discovery.Printable(s.Reason)))
		} else {
			w.newsUntold++
		}
	}
	if w.newsUntold > 0 && !w.newsMore {
		w.log.Warn("more etcd entries skipped", zap.Int("entries", w.newsUntold))
		w.newsUntold, w.newsMore = 0, true
	}
}
