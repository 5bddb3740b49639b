package module

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// handlerFunc is a handler of events.
type handlerFunc func(caddy.Event)

func (h handlerFunc) Handle(_ context.Context, e caddy.Event) error {
	h(e)
	return nil
}

// eventApp makes an app with one upstream that uses the channel and the feed. It subscribes if
// handle is not nil.
func eventApp(t *testing.T, name string, c *sharedChannel, handle func(caddy.Event)) (*App, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	// Without debug logs, for which every event is worth emitting.
	config := &caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("events")
	if err != nil {
		t.Fatal(err)
	}
	events := app.(*caddyevents.App)
	if handle != nil {
		if err := events.On(eventEndpointReady, handlerFunc(handle)); err != nil {
			t.Fatal(err)
		}
	}
	u := &upstream{name: name, channel: c, feed: c.feed}
	return &App{origin: ctx, log: zap.New(core), events: events, upstreams: map[string]*upstream{name: u}}, logs
}

// heard collects the upstreams and instances of events.
type heard struct{ events chan string }

func newHeard() heard { return heard{make(chan string, 2*maxOccurrences)} }

func (h heard) handle(e caddy.Event) {
	h.events <- e.Data["upstream"].(string) + " " + e.Data["instance"].(string)
}

// all are the events once nothing waits any more.
func (h heard) all(t *testing.T) (all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := leaving.wait(ctx); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case e := <-h.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func (h heard) want(t *testing.T, want ...string) {
	t.Helper()
	if got := h.all(t); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func ready(of any, instance string) occurrence {
	return occurrence{eventEndpointReady, of, map[string]any{"instance": instance}}
}

func TestEventsGoToTheNewestConfigThatRuns(t *testing.T) {
	shared := &sharedChannel{feed: new(sharedFeed)}
	mine := &sharedChannel{feed: shared.feed}
	var bus eventBus
	first, second := newHeard(), newHeard()
	a, _ := eventApp(t, "a", shared, first.handle)
	b, _ := eventApp(t, "b", shared, second.handle)
	b.inline = append(b.inline, &upstream{name: "mine", channel: mine, feed: mine.feed})

	bus.begin(a)
	bus.post(ready(shared, "1"))
	first.want(t) // subscriptions may still be added
	bus.ready(a)
	first.want(t, "a 1")

	bus.begin(b)
	bus.post(ready(shared, "2"))
	bus.post(ready(mine, "3"))
	bus.post(ready(shared, "4"))
	first.want(t, "a 2", "a 4")
	second.want(t)
	bus.ready(b)
	second.want(t, "mine 3")
	bus.post(ready(shared, "5"))
	bus.post(ready(shared.feed, "6"))
	second.want(t, "b 5", "b 6", "mine 6")

	bus.end(a)
	bus.end(a)
	bus.post(ready(&sharedChannel{}, "of no upstream"))
	bus.post(ready(mine, "7"))
	second.want(t, "mine 7")
	first.want(t)
	bus.end(b)
	if bus.any() || len(bus.queue)+len(bus.held) > 0 {
		t.Errorf("left over: %+v", &bus)
	}
}

func TestConfigThatFailsToStartHearsNothing(t *testing.T) {
	c := &sharedChannel{feed: new(sharedFeed)}
	var bus eventBus
	h := newHeard()
	a, _ := eventApp(t, "a", c, h.handle)
	bus.begin(a)
	bus.post(ready(c, "1"))
	bus.end(a)
	h.want(t)
	if bus.any() || len(bus.held) > 0 {
		t.Errorf("left over: %+v", &bus)
	}
}

func TestNobodySubscribes(t *testing.T) {
	var bus eventBus
	a, _ := eventApp(t, "a", &sharedChannel{feed: new(sharedFeed)}, nil)
	bus.begin(a)
	if !bus.any() {
		t.Error("events are not held while subscriptions may still come")
	}
	bus.ready(a)
	if bus.any() {
		t.Error("events are made for nobody")
	}
	bus.end(a)
}

// TestHandlerThatHangs checks that posting does not wait, that occurrences above the limit are left
// out, and that the log says how many.
func TestHandlerThatHangs(t *testing.T) {
	c := &sharedChannel{feed: new(sharedFeed)}
	var bus eventBus
	release, calls := make(chan struct{}), atomic.Int64{}
	a, logs := eventApp(t, "a", c, func(caddy.Event) {
		<-release
		calls.Add(1)
	})
	bus.begin(a)
	bus.ready(a)
	bus.post(ready(c, "0"))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		bus.mu.Lock()
		taken := len(bus.queue) == 0
		bus.mu.Unlock()
		if taken {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody works on the queue")
		}
	}
	for range maxOccurrences + 10 {
		bus.post(ready(c, "1"))
	}
	close(release)
	newHeard().all(t)
	if n := calls.Load(); n != 1+maxOccurrences {
		t.Errorf("%d events, want %d", n, 1+maxOccurrences)
	}
	lines := logs.FilterMessageSnippet("events were left out").All()
	if len(lines) != 1 || lines[0].ContextMap()["events"] != int64(10) {
		t.Errorf("the log says %v", lines)
	}
	bus.end(a)
}

func TestHandlerThatPanics(t *testing.T) {
	c := &sharedChannel{feed: new(sharedFeed)}
	var bus eventBus
	h := newHeard()
	a, logs := eventApp(t, "a", c, func(e caddy.Event) {
		if e.Data["instance"] == "1" {
			panic("no")
		}
		h.handle(e)
	})
	bus.begin(a)
	bus.ready(a)
	bus.post(ready(c, "1"))
	bus.post(ready(c, "2"))
	h.want(t, "a 2")
	if logs.FilterMessageSnippet("panicked").Len() != 1 {
		t.Errorf("the log says %v", logs.All())
	}
	bus.end(a)
}
