package discovery

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a source that does in Watch what the test says.
type scripted struct {
	watch   func(ctx context.Context, publish func(State))
	watched int // how many times Watch was called
}

func (*scripted) ID() string { return "scripted" }

func (s *scripted) Watch(ctx context.Context, publish func(State)) {
	s.watched++
	s.watch(ctx, publish)
}

// driven is a source that publishes what it is sent.
type driven chan State

func (driven) ID() string { return "driven" }

func (d driven) Watch(ctx context.Context, publish func(State)) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-d:
			publish(s)
		}
	}
}

// listener records what a subscriber is told and when.
type listener struct {
	start time.Time

	mu     sync.Mutex
	states []State
	times  []time.Duration
}

func newListener() *listener { return &listener{start: time.Now()} }

func (l *listener) hear(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, s)
	l.times = append(l.times, time.Since(l.start))
}

func (l *listener) heard() ([]State, []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]State(nil), l.states...), append([]time.Duration(nil), l.times...)
}

func synced(addrs ...string) State {
	s := State{Synced: true}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, Endpoint{ID: a, Addr: a})
	}
	return s
}

func wantTimes(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("states at %v, want %v", got, want)
	}
}

func TestFeedHandsTheFirstListOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := make(driven)
		f := NewFeed(src)
		defer f.Close()
		l := newListener()
		defer f.Subscribe(l.hear)()

		src <- State{Err: errors.New("not yet")}
		synctest.Wait()
		src <- synced("a:1")
		synctest.Wait()
		_, times := l.heard()
		wantTimes(t, times, 0, 0)
		if got := f.State(); !got.Synced || len(got.Endpoints) != 1 {
			t.Errorf("State() = %+v", got)
		}
	})
}

func TestFeedCollectsChanges(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		every time.Duration // between changes
		n     int
		want  []time.Duration
	}{
		"one change waits for quiet":             {every: 0, n: 1, want: []time.Duration{0, 50 * ms}},
		"a burst is one change":                  {every: 20 * ms, n: 10, want: []time.Duration{0, 230 * ms}},
		"an endless burst is cut after 500 ms":   {every: 20 * ms, n: 30, want: []time.Duration{0, 500 * ms, 630 * ms}},
		"changes far apart are handed on each":   {every: 100 * ms, n: 3, want: []time.Duration{0, 50 * ms, 150 * ms, 250 * ms}},
		"nothing more is told without a change ": {n: 0, want: []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := make(driven)
				f := NewFeed(src)
				defer f.Close()
				l := newListener()
				defer f.Subscribe(l.hear)()
				src <- synced()
				synctest.Wait()
				for i := range c.n {
					if i > 0 {
						time.Sleep(c.every)
					}
					src <- State{Synced: true, Revision: int64(i + 1)}
				}
				time.Sleep(5 * time.Second)
				states, times := l.heard()
				wantTimes(t, times, c.want...)
				if last := states[len(states)-1]; last.Revision != int64(c.n) {
					t.Errorf("last state has revision %d, want %d", last.Revision, c.n)
				}
			})
		})
	}
}

func TestFeedSubscribers(t *testing.T) {
	t.Run("a late one is told the present state, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			src <- synced("a:1")
			time.Sleep(time.Minute)
			l := newListener()
			defer f.Subscribe(l.hear)()
			time.Sleep(time.Minute)
			_, times := l.heard()
			wantTimes(t, times, 0)
		})
	})
	t.Run("one that subscribes while changes are collected is not told the same twice", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			src <- synced()
			synctest.Wait()
			src <- synced("a:1")
			synctest.Wait()
			l := newListener()
			defer f.Subscribe(l.hear)()
			time.Sleep(time.Minute)
			states, _ := l.heard()
			if len(states) != 1 || len(states[0].Endpoints) != 1 {
				t.Errorf("got %+v", states)
			}
		})
	})
	t.Run("a slow one holds up nobody and skips to the newest", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			slow, quick := newListener(), newListener()
			defer f.Subscribe(func(s State) { time.Sleep(time.Second); slow.hear(s) })()
			defer f.Subscribe(quick.hear)()
			for i := range 5 {
				src <- State{Synced: true, Revision: int64(i)}
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			states, _ := slow.heard()
			if len(states) != 2 || states[0].Revision != 0 || states[1].Revision != 4 {
				t.Errorf("the slow one got %+v", states)
			}
			if states, _ := quick.heard(); len(states) != 5 {
				t.Errorf("the quick one got %+v", states)
			}
		})
	})
	t.Run("cancel waits for the running call and is the last one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			running, calls := false, 0
			cancel := f.Subscribe(func(State) {
				running = true
				time.Sleep(time.Second)
				running, calls = false, calls+1
			})
			src <- synced("a:1")
			synctest.Wait()
			cancel()
			if running || calls != 1 {
				t.Errorf("after cancel: running %v, calls %d", running, calls)
			}
			src <- synced("b:1")
			time.Sleep(time.Minute)
			cancel()
			if calls != 1 {
				t.Errorf("called %d times", calls)
			}
		})
	})
	t.Run("nobody is called after Close, and a closed feed takes no one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			l := newListener()
			cancel := f.Subscribe(l.hear)
			src <- synced("a:1")
			synctest.Wait()
			f.Close()
			f.Close()
			cancel()
			defer f.Subscribe(l.hear)()
			time.Sleep(time.Minute)
			if states, _ := l.heard(); len(states) != 1 {
				t.Errorf("got %+v", states)
			}
		})
	})
}

func TestFeedSurvivesItsSource(t *testing.T) {
	t.Run("a panic becomes an error, keeps the list and starts the source again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := &scripted{}
			src.watch = func(ctx context.Context, publish func(State)) {
				if src.watched == 1 {
					publish(synced("a:1"))
					panic("no more")
				}
				publish(State{Err: errors.New("starting")})
				<-ctx.Done()
			}
			f := NewFeed(src)
			defer f.Close()
			synctest.Wait()
			got := f.State()
			var p *PanicError
			if !errors.As(got.Err, &p) || p.Value != "no more" || len(p.Stack) == 0 {
				t.Errorf("Err = %v", got.Err)
			}
			if len(got.Endpoints) != 1 || !got.Synced {
				t.Errorf("the list is lost: %+v", got)
			}
			time.Sleep(1200 * time.Millisecond)
			synctest.Wait()
			got = f.State()
			if src.watched != 2 || len(got.Endpoints) != 1 || !got.Synced || !got.Stale {
				t.Errorf("after the restart (%d watches): %+v", src.watched, got)
			}
			wantError(t, got.Err, "starting")
		})
	})
	t.Run("a source that returns early is started again, with backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := &scripted{watch: func(context.Context, func(State)) {}}
			f := NewFeed(src)
			defer f.Close()
			time.Sleep(time.Hour)
			synctest.Wait()
			wantError(t, f.State().Err, "stopped watching by itself")
			if src.watched < 100 || src.watched > 160 {
				t.Errorf("watched %d times in an hour", src.watched)
			}
		})
	})
	t.Run("endpoints out of order are sorted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			unsorted := synced("b:1", "a:1")
			src <- unsorted
			synctest.Wait()
			if got := f.State().Endpoints; got[0].ID != "a:1" {
				t.Errorf("got %+v", got)
			}
			if unsorted.Endpoints[0].ID != "b:1" {
				t.Error("the source's own slice was written to")
			}
		})
	})
	t.Run("an empty list that is synced is believed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			src := make(driven)
			f := NewFeed(src)
			defer f.Close()
			src <- synced("a:1")
			src <- synced()
			synctest.Wait()
			if got := f.State(); len(got.Endpoints) != 0 || got.Stale {
				t.Errorf("got %+v", got)
			}
		})
	})
}
