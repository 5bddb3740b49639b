package module

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// This file holds all state that is not of one config but of the process. Configs come and go; the values in the pools stay as long as
// one config refers to them, so that a reload keeps connections, watches and schemas that it does not change.
//
// A channel holds a reference on its feed, and a schema that is read by reflection one on its channel. A reference is given back when
// the holder has really ended, not when it is told to: a channel that drains still needs to hear of its instances.
//
// The values do nothing before their start method is called, which is when a config starts: validating a config touches no
// network. Their constructors are instant and cannot fail, and their Destruct only begins the end, because Caddy holds its
// config lock meanwhile. What is on its way out is counted in leaving.
var (
	feeds    = caddy.NewUsagePool() // *sharedFeed by the ID of its source
	channels = caddy.NewUsagePool() // *sharedChannel by channelKey
	schemas  = caddy.NewUsagePool() // *sharedSchema by schemaKey

	leaving  background
	draining channelSet // those of leaving that are channels with a connection
	running  appList

	// listeners are those apps of running, or about to be, whose config subscribes to events.
	listeners eventBus

	// configuredListeners are where the HTTP servers of the newest config listen, or are about to.
	configuredListeners atomic.Pointer[map[string]bool]

	// These tell of registries that many services depend on.
	unanswered = digest{
		message: "the registry has not answered yet; calls fail with 503 until it does",
		write:   (*zap.Logger).Warn,
	}
	snapshotsUsed = digest{
		message: "the registry has no list of instances yet; using the snapshot on disk until it has",
		write:   (*zap.Logger).Warn,
	}
	snapshotsLeft = digest{
		message: "the registry answers; the snapshot is not needed any more",
		write:   (*zap.Logger).Info,
	}

	// exitDrain ends streams when the process exits.
	exitDrain = frontend.NewDrain()
)

// acquire takes a reference on the value under the key, which is made if there is none. Release it with pool.Delete(key).
func acquire[T caddy.Destructor](pool *caddy.UsagePool, key string, create func() T) (value T, loaded bool) {
	v, loaded, _ := pool.LoadOrNew(key, func() (caddy.Destructor, error) { return create(), nil })
	return v.(T), loaded
}

// background counts work that outlives the config that began it. The zero value is ready.
type background struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to 0; nil while it is 0
}

// run calls fn in a goroutine of its own.
func (b *background) run(fn func()) {
	b.mu.Lock()
	if b.n == 0 {
		b.idle = make(chan struct{})
	}
	b.n++
	b.mu.Unlock()
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.n--; b.n == 0 {
				close(b.idle)
				b.idle = nil
			}
		}()
		fn()
	}()
}

// wait waits until nothing runs, also of what running work begins meanwhile.
func (b *background) wait(ctx context.Context) error {
	for {
		b.mu.Lock()
		idle := b.idle
		b.mu.Unlock()
		if idle == nil {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// appList are the apps that are started, oldest first. During a reload there are two; if the new one fails, the old one stays.
type appList struct {
	mu   sync.Mutex
	apps []*App
}

func (l *appList) add(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.apps = append(l.apps, a)
}

func (l *appList) remove(a *App) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.apps {
		if other == a {
			l.apps = append(l.apps[:i:i], l.apps[i+1:]...)
			return
		}
	}
}

// newest is the app of the config in force, nil when there is none.
func (l *appList) newest() *App {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.apps) == 0 {
		return nil
	}
	return l.apps[len(l.apps)-1]
}

// channelSet are channels that no config refers to any more and that still have calls, or wait for late ones.
type channelSet struct {
	mu       sync.Mutex
	channels map[*sharedChannel]struct{}
}

func (s *channelSet) add(c *sharedChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels == nil {
		s.channels = make(map[*sharedChannel]struct{})
	}
	s.channels[c] = struct{}{}
}

func (s *channelSet) remove(c *sharedChannel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.channels, c)
}

func (s *channelSet) all() []*sharedChannel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.channels))
}
