package module

import (
	"sync"
	"sync/atomic"

	"github.com/caddy-grpc/gateway/discovery"
)

// sharedFeed is the watch of one source, shared by every channel to the instances that it knows.
type sharedFeed struct {
	key    string
	source discovery.Source
	events atomic.Uint64 // lists and changes of what is known about them

	mu     sync.Mutex
	feed   *discovery.Feed // nil before start
	closed bool
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
		f.feed = discovery.NewFeed(f.source)
		f.feed.Subscribe(f.changed)
	}
	return f.feed
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
func (f *sharedFeed) changed(discovery.State) { f.events.Add(1) }

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
