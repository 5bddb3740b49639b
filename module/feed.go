package module

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/snapshot"
)

// sharedFeed is the watch of one source, shared by every channel to the instances that it knows.
type sharedFeed struct {
	key      string
	source   discovery.Source
	events   atomic.Uint64 // lists and changes of what is known about them
	snapshot atomic.Bool   // the list is kept on disk; see applySnapshots

	mu     sync.Mutex
	feed   *discovery.Feed // nil before start
	closed bool

	last discovery.State // that was told of; it is the subscription's own
}

// acquireFeed takes a reference on the feed of the source.
func acquireFeed(source discovery.Source) *sharedFeed {
	key := source.ID()
	f, _ := acquire(feeds, key, func() *sharedFeed { return &sharedFeed{key: key, source: source} })
	return f
}

func (f *sharedFeed) release() { _, _ = feeds.Delete(f.key) } // Destruct returns no error.

// hold takes another reference on a feed that is known to be held.
func (f *sharedFeed) hold() { acquireFeed(f.source) }

// start begins to watch, if that has not begun. It returns nil after the end.
func (f *sharedFeed) start() *discovery.Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed == nil && !f.closed {
		f.feed = discovery.NewFeed(f.kept())
		f.feed.Subscribe(f.changed)
	}
	return f.feed
}

// kept is the source with its snapshot on disk, if it is one that can be out of reach.
func (f *sharedFeed) kept() discovery.Source {
	if _, ok := f.source.(discovery.Fixed); ok {
		return f.source
	}
	return snapshot.New(f.source, snapshotDir(), f.snapshot.Load, lastingLog())
}

// snapshotDir is where the snapshots of all processes with this data directory are.
func snapshotDir() string { return filepath.Join(caddy.AppDataDir(), appName, "snapshots") }

// applySnapshots has the lists kept on disk for which an upstream of the app wants that. It is not part of a feed's key, so that changing it
// changes no connection, and it stays as it is while a feed without upstreams ends.
func (a *App) applySnapshots() {
	wanted := make(map[*sharedFeed]bool)
	for _, u := range a.all() {
		wanted[u.feed] = wanted[u.feed] || u.snapshot
	}
	for f, yes := range wanted {
		f.snapshot.Store(yes)
	}
}

// state is what the source knows; the zero State before start.
func (f *sharedFeed) state() discovery.State {
	f.mu.Lock()
	feed := f.feed
	f.mu.Unlock()
	if feed == nil {
		return discovery.State{}
	}
	return feed.State()
}

// changed is told of each new state. The subscription ends with the feed.
func (f *sharedFeed) changed(s discovery.State) {
	f.events.Add(1)
	before := f.last
	f.last = s
	if listeners.any() {
		f.report(before, s)
	}
}

// Destruct implements caddy.Destructor.
func (f *sharedFeed) Destruct() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if feed := f.feed; feed != nil {
		leaving.run(func() {
			feed.Close()
			pools.forget(f)
		})
	}
	return nil
}
