package module

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

// answerTime is how long a registry may take to answer before the log says that it has not.
const answerTime = 5 * time.Second

// sharedFeed is the watch of one source, shared by every channel to the instances that it knows.
type sharedFeed struct {
	key    string
	source discovery.Source
	// events counts the published states.
	events atomic.Uint64
	// losses and restores count how often the registry was lost, and was there again.
	losses, restores atomic.Uint64
	// division divides the list of a catalog among its services. It is nil for other sources.
	division *division
	// whole is the feed of the catalog, with a reference, if this one is of one of its services.
	whole *sharedFeed
	// snapshot says whether the list is kept on disk, see App.applySnapshots.
	snapshot atomic.Bool

	mu     sync.Mutex
	feed   *discovery.Feed // nil before start
	late   *time.Timer     // logs that the registry has not answered; nil before start
	closed bool

	// last is the state before the present one. It belongs to the subscription.
	last discovery.State
	// lost says that the log tells that the registry is in trouble. It belongs to the subscription.
	lost bool
}

// acquireFeed takes a reference on the feed of the source.
func acquireFeed(source discovery.Source) *sharedFeed {
	key := source.ID()
	f, _ := acquire(feeds, key, func() *sharedFeed { return &sharedFeed{key: key, source: source} })
	return f
}

// acquireCatalogFeed is acquireFeed for all services of a registry.
func acquireCatalogFeed(source registry) *sharedFeed {
	key := source.ID()
	f, _ := acquire(feeds, key, func() *sharedFeed { return &sharedFeed{key: key, source: source, division: newDivision()} })
	return f
}

// acquirePart is acquireFeed for one service of a catalog. The feed of the catalog lives as long as
// that of the service.
func acquirePart(p *part) *sharedFeed {
	key := p.ID()
	p.whole.hold()
	f, loaded := acquire(feeds, key, func() *sharedFeed { return &sharedFeed{key: key, source: p, whole: p.whole} })
	if loaded {
		p.whole.release()
	}
	return f
}

func (f *sharedFeed) release() { _, _ = feeds.Delete(f.key) } // Destruct returns no error.

// hold takes another reference. The caller must know that somebody holds one.
func (f *sharedFeed) hold() { acquireFeed(f.source) }

// start begins to watch, unless the watch has begun. It returns nil after the end.
func (f *sharedFeed) start() *discovery.Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.feed == nil && !f.closed {
		f.feed = discovery.NewFeed(f.kept())
		f.feed.Subscribe(f.changed)
		if f.whole != nil {
			return f.feed // The feed of the catalog tells of trouble.
		}
		f.late = time.AfterFunc(answerTime, f.unanswered)
	}
	return f.feed
}

// state returns what the source knows. Before start it is the zero State.
func (f *sharedFeed) state() discovery.State {
	f.mu.Lock()
	feed := f.feed
	f.mu.Unlock()
	if feed == nil {
		return discovery.State{}
	}
	return feed.State()
}

// changed gets each new state. The subscription ends with the feed.
func (f *sharedFeed) changed(s discovery.State) {
	f.events.Add(1)
	before := f.last
	f.last = s
	if f.division != nil {
		f.division.update(s)
	}
	if f.whole == nil {
		f.logSnapshot(before, s)
		f.noteTrouble(before, s)
	}
	if bus.any() {
		f.report(before, s)
	}
}

// unanswered logs that the registry has not answered since the start.
func (f *sharedFeed) unanswered() {
	s := f.state()
	if s.Synced {
		return
	}
	var fields []zap.Field
	if s.Err != nil {
		fields = append(fields, zap.String("error", discovery.Printable(s.Err.Error())))
	}
	unanswered.add(f.key, fields...)
}

// Destruct implements caddy.Destructor.
func (f *sharedFeed) Destruct() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.late != nil {
		f.late.Stop()
	}
	feed := f.feed
	if feed == nil {
		if f.whole != nil {
			f.whole.release()
		}
		return nil
	}
	leaving.run(func() {
		feed.Close()
		pools.forget(f)
		if f.whole != nil {
			f.whole.release()
		}
	})
	return nil
}
