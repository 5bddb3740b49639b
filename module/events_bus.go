package module

import (
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// maxOccurrences is the maximum number of occurrences that wait for slow handlers. More are left
// out.
const maxOccurrences = 4096

// eventBus takes what happens in pools and registries to the newest config whose upstreams use
// them. A post never waits. Handlers run one at a time, in a goroutine that exists only while there
// is something to tell. Without a subscriber a post costs one atomic read. The zero value is ready
// for use.
type eventBus struct {
	// wanted is the number of audiences that have a subscriber, or may have one.
	wanted atomic.Int32

	mu        sync.Mutex
	audiences []*audience  // oldest first
	queue     []occurrence // to be told, in order
	held      []occurrence // of upstreams of configs that are about to run
	telling   bool         // there is a goroutine for the queue
	dropped   int
}

// audience is an app that may emit events.
type audience struct {
	app *App
	// labels are of the upstreams that use a *sharedChannel, *sharedFeed or *sharedSchema.
	labels map[any][]string
	ready  bool // its config runs, so that its subscriptions are complete
	counts bool // in wanted
}

// any reports whether somebody may want to know of an occurrence.
func (b *eventBus) any() bool { return b.wanted.Load() > 0 }

// begin adds an app that is about to start. What happens to its upstreams waits until it is ready.
func (b *eventBus) begin(a *App) {
	labels := a.labels()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.audiences = append(b.audiences, &audience{app: a, labels: labels, counts: true})
	b.wanted.Add(1)
}

// relabel takes over the upstreams that an app has now.
func (b *eventBus) relabel(a *App) {
	labels := a.labels()
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.find(a); i >= 0 {
		b.audiences[i].labels = labels
	}
}

// labels returns the labels of the upstreams that use a *sharedChannel or *sharedFeed.
func (a *App) labels() map[any][]string {
	labels := make(map[any][]string)
	for _, u := range a.all() {
		for _, of := range []any{u.channel, u.feed, u.schema} {
			if !slices.Contains(labels[of], u.label()) {
				labels[of] = append(labels[of], u.label())
			}
		}
	}
	for _, c := range a.catalogs {
		labels[c.feed] = append(labels[c.feed], c.label())
		labels[c] = []string{c.label()}
	}
	return labels
}

// ready is called when the config of the app runs.
func (b *eventBus) ready(a *App) {
	subscribed := slices.ContainsFunc(eventNames[:], a.events.ShouldEmit)
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(a)
	if i < 0 {
		return
	}
	b.audiences[i].ready = true
	b.count(b.audiences[i], subscribed)
	b.release()
}

// end removes an app.
func (b *eventBus) end(a *App) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(a)
	if i < 0 {
		return
	}
	b.count(b.audiences[i], false)
	b.audiences = slices.Delete(b.audiences, i, i+1)
	b.release()
}

func (b *eventBus) find(a *App) int {
	return slices.IndexFunc(b.audiences, func(l *audience) bool { return l.app == a })
}

func (b *eventBus) count(l *audience, yes bool) {
	if l.counts && !yes {
		b.wanted.Add(-1)
	}
	l.counts = l.counts && yes
}

// release looks again at the occurrences that wait for an app.
func (b *eventBus) release() {
	b.queue = append(b.held, b.queue...)
	b.held = nil
	b.start()
}

// post adds an occurrence. It never waits.
func (b *eventBus) post(o occurrence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue)+len(b.held) >= maxOccurrences {
		b.dropped++
		return
	}
	b.queue = append(b.queue, o)
	b.start()
}

// start makes sure that a goroutine works on the queue.
func (b *eventBus) start() {
	if len(b.queue) > 0 && !b.telling {
		b.telling = true
		leaving.run(b.tell)
	}
}

// tell works on the queue until it is empty.
func (b *eventBus) tell() {
	for {
		o, app, labels, ok := b.next()
		if !ok {
			return
		}
		app.emit(&o, labels)
	}
}

// next returns the next occurrence, and whom to tell.
func (b *eventBus) next() (o occurrence, app *App, labels []string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 {
		o := b.queue[0]
		b.queue = b.queue[1:]
		switch l := b.audience(o.of); {
		case l == nil: // No upstream uses it any more.
		case l.ready:
			b.reportDropped(l.app)
			return o, l.app, l.labels[o.of], true
		default:
			b.held = append(b.held, o)
		}
	}
	b.queue, b.telling = nil, false
	return occurrence{}, nil, nil, false
}

// audience returns the newest app that uses a channel, a feed or a schema. It prefers one whose
// config runs.
func (b *eventBus) audience(of any) (best *audience) {
	for _, l := range slices.Backward(b.audiences) {
		if len(l.labels[of]) == 0 {
			continue
		}
		if l.ready {
			return l
		}
		if best == nil {
			best = l
		}
	}
	return best
}

func (b *eventBus) reportDropped(a *App) {
	if b.dropped > 0 {
		a.log.Warn("events were left out because their handlers take too long", zap.Int("events", b.dropped))
		b.dropped = 0
	}
}
