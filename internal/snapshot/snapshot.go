// Package snapshot keeps the last known instances of a source on disk, for a start while the
// registry is away. It is a discovery.Source around another source. It never slows the other source
// down: states pass at once, and other goroutines read and write the files.
//
// It has nothing to do with the pool's Snapshot, which is for operators.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

// Grace is how long a source may take for its first list until the list on disk replaces it. If the
// source reports trouble, the list on disk is used at once.
const Grace = time.Second

// errSilent is the trouble with a source that has not said anything.
var errSilent = fmt.Errorf("the registry has not answered within %v", Grace)

// Source is a source whose list is kept on disk.
//
// While the inner source has no list, the list on disk is published as Synced and Stale, with the
// trouble in Err and the time at which it was saved in Snapshot. The first list of the registry
// replaces it for good. A list that is itself Stale, as a minority of etcd members answers,
// replaces it only if its revision is not older.
//
// The file has what the registry last vouched for. Nothing is written while the registry is in
// trouble, and a list from disk is not written again. A list that has lost more than half of four
// or more instances, or the last one, is believed after a minute without trouble. An empty list
// then removes the file, so that a service that is scaled to nothing does not come back.
//
// The inner source may be a catalog, whose list has the endpoints of many services. They are
// published with the ages of their services, see ages.
type Source struct {
	inner  discovery.Source
	path   string
	wanted func() bool
	log    *zap.Logger
	synced atomic.Bool // the registry has answered once

	ages     *ages // for one call of Watch at a time
	recalled bool  // ages has what an earlier process knew
}

// New wraps a source. Its file is in dir, which is made when it is needed. wanted reports whether
// the file may be used and written. The answer may change at any time.
func New(inner discovery.Source, dir string, wanted func() bool, log *zap.Logger) *Source {
	return &Source{
		inner:  inner,
		path:   Path(dir, inner.ID()),
		wanted: wanted,
		ages:   newAges(),
		log:    log.With(zap.String("source", inner.ID())),
	}
}

// ID implements discovery.Source.
func (s *Source) ID() string { return s.inner.ID() }

// Watch implements discovery.Source.
func (s *Source) Watch(ctx context.Context, publish func(discovery.State)) {
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{
		Source:   s,
		publish:  publish,
		keeper:   newKeeper(s.path, s.ID(), s.wanted, s.log),
		trouble:  make(chan struct{}, 1),
		answered: make(chan struct{}),
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel()
	// If a source panicked and is watched again, the feed has a better list.
	if !s.synced.Load() {
		helpers.Go(func() { w.rescue(ctx) })
	}
	helpers.Go(func() { w.keeper.run(ctx) })
	s.inner.Watch(ctx, w.take)
}

// watch is one call of Watch.
type watch struct {
	*Source
	publish func(discovery.State)
	keeper  *keeper
	// trouble gets a signal when the source has nothing better than the list on disk. Capacity 1.
	trouble  chan struct{}
	answered chan struct{} // closed when the registry has answered

	mu   sync.Mutex // publish is called under it, one call at a time
	done bool       // answered is closed
	last discovery.State
	disk *list // in use in place of the source's list; nil: it is not
}

// take passes a state of the source on.
func (w *watch) take(s discovery.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Endpoints = w.aged(s.Endpoints)
	w.last = s
	w.keeper.note(&s)
	switch {
	case s.Synced && !s.Stale:
		if !w.done {
			w.done = true
			close(w.answered)
			w.synced.Store(true)
		}
	case s.Err != nil || s.Stale:
		select {
		case w.trouble <- struct{}{}:
		default:
		}
	}
	if w.disk != nil && w.disk.isOlder(&s) {
		w.log.Debug("the registry answers; the snapshot is not needed any more", zap.Int("instances", len(s.Endpoints)))
		w.disk = nil
	}
	if w.disk != nil {
		s = w.disk.standIn(s)
	}
	w.publish(s)
}

// aged returns the list of a catalog with the ages of its services. The first list waits for the
// file, because who is older must not change a moment later.
func (w *watch) aged(list []discovery.Endpoint) []discovery.Endpoint {
	if len(list) == 0 && !w.recalled || len(list) > 0 && list[0].Service == "" {
		return list
	}
	if !w.recalled {
		w.recalled = true
		if w.wanted() {
			if l, err := load(w.path, w.ID(), time.Now()); err == nil {
				w.ages.recall(l.endpoints)
			}
		}
	}
	return w.ages.apply(list)
}

// rescue publishes the list on disk if the source has no list in time.
func (w *watch) rescue(ctx context.Context) {
	patience := time.NewTimer(Grace)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return
	case <-w.answered:
		return
	case <-w.trouble:
	case <-patience.C:
	}
	if !w.wanted() {
		return
	}
	l, err := load(w.path, w.ID(), time.Now())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			w.log.Warn("the snapshot of instances cannot be used", zap.String("file", w.path), zap.Error(err))
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil || w.done || l.isOlder(&w.last) {
		return
	}
	w.disk = l
	s := l.standIn(w.last)
	w.log.Debug("the registry has no list of instances yet; using the snapshot on disk until it has",
		zap.Int("instances", len(l.endpoints)), zap.Time("saved", l.saved), zap.Error(s.Err))
	w.publish(s)
}

// isOlder reports whether a state of the source replaces the list on disk.
func (l *list) isOlder(s *discovery.State) bool {
	return s.Synced && (!s.Stale || s.Revision >= l.revision)
}

// standIn returns the state of the source with the list from disk.
func (l *list) standIn(s discovery.State) discovery.State {
	s.Synced, s.Stale, s.Snapshot = true, true, l.saved
	s.Endpoints, s.Revision = l.endpoints, l.revision
	if s.LastContact.Before(l.saved) {
		s.LastContact = l.saved
	}
	if s.Err == nil {
		s.Err = errSilent
	}
	return s
}

// Interface guard.
var _ discovery.Source = (*Source)(nil)
