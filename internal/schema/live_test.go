package schema

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// fakeLoader returns what the test sets, and remembers when it was asked.
type fakeLoader struct {
	mu      sync.Mutex
	schema  *Schema
	err     error
	panics  bool
	takes   time.Duration
	starts  []time.Duration // since begin
	begin   time.Time
	changed func()
}

func (f *fakeLoader) set(s *Schema, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.schema, f.err = s, err
}

func (f *fakeLoader) Load(ctx context.Context) (*Schema, error) {
	f.mu.Lock()
	f.starts = append(f.starts, time.Since(f.begin))
	takes := f.takes
	f.mu.Unlock()
	sleep(ctx, takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.panics {
		panic("hostile")
	}
	return f.schema, f.err
}

func (f *fakeLoader) Watch(ctx context.Context, changed func()) {
	f.mu.Lock()
	f.changed = changed
	f.mu.Unlock()
	<-ctx.Done()
}

func (f *fakeLoader) loads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.starts)
}

// fixtureSchemas are two different schemas and one that equals the first.
func fixtureSchemas(t *testing.T) (a, b, again *Schema) {
	t.Helper()
	descs := sources(t, fixture)
	for _, s := range []struct {
		to    **Schema
		files []string
	}{{&a, []string{"acme/other.proto"}}, {&b, []string{"acme/other.proto", "acme/types.proto"}}, {&again, []string{"acme/other.proto"}}} {
		var err error
		if *s.to, err = New(setOf(descs, s.files...)); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, again
}

// pass lets virtual time pass, and waits until everything that is due has happened.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// inBubble runs a test of a Live with a fake loader in virtual time.
func inBubble(t *testing.T, f *fakeLoader, opts LiveOptions, test func(t *testing.T, l *Live)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.begin = time.Now()
		l := NewLive(f, opts)
		defer l.Close()
		synctest.Wait()
		test(t, l)
	})
}

func TestLiveRetriesWithBackoffUntilTheFirstSuccess(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{err: errors.New("down")}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		pass(time.Minute)
		if l.Current() != nil {
			t.Error("a schema out of nothing")
		}
		if st := l.Status(); st.Loaded || st.LastError != "down" || !errors.Is(st.Err, f.err) || st.ErrorSince.IsZero() {
			t.Errorf("status %+v", st)
		}
		wait := 200 * time.Millisecond
		for i := 1; i < len(f.starts); i++ {
			got := f.starts[i] - f.starts[i-1]
			if got < wait*8/10 || got > wait*12/10 {
				t.Errorf("wait %d: %v, want about %v", i, got, wait)
			}
			wait = min(2*wait, 10*time.Second)
		}
		if len(f.starts) < 9 {
			t.Errorf("%d loads in a minute", len(f.starts))
		}
		f.set(a, nil)
		pass(13 * time.Second)
		n := f.loads()
		pass(time.Hour)
		if l.Current() != a || f.loads() != n {
			t.Errorf("current %v, %d loads after success", l.Current(), f.loads()-n)
		}
	})
}

func TestLiveTriggers(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	second := time.Second
	for _, tc := range []struct {
		name     string
		triggers []time.Duration // times since the start
		takes    time.Duration
		want     []time.Duration // times of loads
	}{
		{"none", nil, 0, []time.Duration{0}},
		{"one, late", []time.Duration{5 * second}, 0, []time.Duration{0, 5 * second}},
		{"one, soon after a load", []time.Duration{second / 4}, 0, []time.Duration{0, second}},
		{"a burst", []time.Duration{5 * second, 5*second + 1, 5*second + 2, 5*second + 3}, 0, []time.Duration{0, 5 * second, 6 * second}},
		{"while loading", []time.Duration{second / 2}, 3 * second, []time.Duration{0, 3 * second}},
		{"at the end of a quiet time", []time.Duration{5 * second, 5*second + second/2}, 0, []time.Duration{0, 5 * second, 6 * second}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeLoader{schema: a, takes: tc.takes}
			inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
				// The interval counts from the first schema on. That comes before the first trigger
				// here, unless loading takes long.
				for _, at := range tc.triggers {
					pass(time.Until(f.begin.Add(at)))
					l.Trigger()
				}
				pass(time.Minute)
				if !slices.Equal(f.starts, tc.want) {
					t.Errorf("loads at %v, want %v", f.starts, tc.want)
				}
			})
		})
	}
}

func TestLiveTriggersAreLimitedUnderAStorm(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{schema: a}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		for range 1000 {
			l.Trigger()
			pass(10 * time.Millisecond)
		}
		if n := f.loads(); n < 9 || n > 11 {
			t.Errorf("%d loads in 10s", n)
		}
	})
}

// An instance that becomes ready ends the wait for the first schema.
func TestLiveTriggerEndsTheBackoff(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{err: errors.New("down")}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		pass(time.Minute)
		f.set(a, nil)
		l.Trigger()
		pass(201 * time.Millisecond)
		if l.Current() != a {
			t.Error("not loaded")
		}
	})
}

func TestLiveReloads(t *testing.T) {
	a, b, again := fixtureSchemas(t)
	for _, tc := range []struct {
		name    string
		schema  *Schema
		err     error
		panics  bool
		current *Schema
		reloads map[Result]uint64
		told    []*Schema
	}{
		{"a new schema is put in force", b, nil, false, b, map[Result]uint64{Changed: 2}, []*Schema{a, b}},
		{"an equal one is not", again, nil, false, a, map[Result]uint64{Changed: 1, Unchanged: 1}, []*Schema{a}},
		{"a broken one is not", nil, errors.New("broken"), false, a, map[Result]uint64{Changed: 1, Failed: 1}, []*Schema{a}},
		{"one that panics is not", nil, nil, true, a, map[Result]uint64{Changed: 1, Failed: 1}, []*Schema{a}},
		{"none is not", nil, nil, false, a, map[Result]uint64{Changed: 1, Failed: 1}, []*Schema{a}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeLoader{schema: a}
			counted := map[Result]uint64{}
			// The backoff is so long that a failure occurs once.
			opts := LiveOptions{BackoffBase: time.Minute, BackoffMax: time.Hour, OnReload: func(r Result) { counted[r]++ }}
			inBubble(t, f, opts, func(t *testing.T, l *Live) {
				var told []*Schema
				l.Subscribe(func(s *Schema) { told = append(told, s) })
				f.mu.Lock()
				f.schema, f.err, f.panics = tc.schema, tc.err, tc.panics
				f.mu.Unlock()
				f.changed() // as the loader's Watch does
				pass(2 * time.Second)
				if l.Current() != tc.current {
					t.Error("another schema is in force")
				}
				if !slices.Equal(told, tc.told) {
					t.Errorf("subscribers were told %d schemas, want %d", len(told), len(tc.told))
				}
				st := l.Status()
				if !maps.Equal(st.Reloads, tc.reloads) || !maps.Equal(counted, tc.reloads) {
					t.Errorf("reloads %v, counted %v, want %v", st.Reloads, counted, tc.reloads)
				}
				if failed := tc.reloads[Failed] > 0; (st.LastError != "") != failed || !st.Loaded || st.Fingerprint != tc.current.Fingerprint() {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

func TestLiveRefresh(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{schema: a}
	inBubble(t, f, LiveOptions{Refresh: time.Minute}, func(t *testing.T, l *Live) {
		pass(time.Hour)
		if n := f.loads(); n < 55 || n > 67 {
			t.Errorf("%d loads in an hour", n)
		}
	})
}

func TestLiveLogsAFailureOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{err: errors.New("down")}
	inBubble(t, f, LiveOptions{Log: zap.New(core)}, func(t *testing.T, l *Live) {
		pass(time.Minute)
		if n := logs.FilterMessage("reading the schema failed").Len(); n != 1 {
			t.Errorf("%d log lines for one error", n)
		}
		f.set(a, nil)
		pass(time.Minute)
		if logs.FilterMessage("the schema can be read again").Len() != 1 || logs.FilterMessage("schema loaded").Len() != 1 {
			t.Errorf("logs: %v", logs.All())
		}
	})
}

func TestLiveSubscribe(t *testing.T) {
	a, b, _ := fixtureSchemas(t)
	f := &fakeLoader{err: errors.New("down")}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		var early, late, gone []*Schema
		l.Subscribe(func(s *Schema) { early = append(early, s) })
		cancel := l.Subscribe(func(s *Schema) { gone = append(gone, s) })
		if len(early) != 0 {
			t.Error("called before there was a schema")
		}
		f.set(a, nil)
		pass(10 * time.Second)
		l.Subscribe(func(s *Schema) { late = append(late, s) })
		if !slices.Equal(late, []*Schema{a}) {
			t.Error("a late subscriber is not told the schema in force")
		}
		cancel()
		f.set(b, nil)
		l.Trigger()
		pass(10 * time.Second)
		for name, got := range map[string][]*Schema{"early": early, "late": late} {
			if !slices.Equal(got, []*Schema{a, b}) {
				t.Errorf("%s was told %d schemas", name, len(got))
			}
		}
		if !slices.Equal(gone, []*Schema{a}) {
			t.Errorf("who unsubscribed was told %d schemas", len(gone))
		}
	})
}

func TestLiveWait(t *testing.T) {
	a, _, _ := fixtureSchemas(t)
	f := &fakeLoader{err: errors.New("it is down")}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := l.Wait(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		wantError(t, err, "it is down")
		f.set(a, nil)
		if err := l.Wait(t.Context()); err != nil || l.Current() != a {
			t.Errorf("got %v", err)
		}
	})
}

func TestLiveCloseEndsALoad(t *testing.T) {
	f := &fakeLoader{takes: time.Hour, err: errors.New("x")}
	inBubble(t, f, LiveOptions{}, func(t *testing.T, l *Live) {
		start := time.Now()
		l.Close()
		l.Close()
		if time.Since(start) != 0 || l.Status().LastError != "" {
			t.Errorf("closed after %v with %q", time.Since(start), l.Status().LastError)
		}
	})
}

func TestLiveFollowsAFile(t *testing.T) {
	descs := sources(t, fixture)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.pb")
	l := NewLive(Protoset(path), LiveOptions{})
	t.Cleanup(l.Close)
	told := make(chan *Schema, 10)
	l.Subscribe(func(s *Schema) { told <- s })
	next := func() *Schema {
		t.Helper()
		select {
		case s := <-told:
			return s
		case <-time.After(15 * time.Second):
			t.Fatal("no schema")
			return nil
		}
	}
	writeFile(t, path, string(marshal(t, setOf(descs, "acme/other.proto"))))
	wantMethods(t, next(), "acme.Other/Do")
	writeFile(t, path, string(marshal(t, setOf(descs, "acme/other.proto", "acme/user.proto", "acme/types.proto", "acme/opts.proto"))))
	wantMethods(t, next(), fixtureMethods...)
}

// A service without reflection is deployed again, with reflection.
func TestLiveFollowsAServer(t *testing.T) {
	b := testkit.StartBackend(t, testkit.WithReflection(false, false))
	l := NewLive(Reflection(dial(t, b.Addr()), ReflectionOptions{}), LiveOptions{})
	t.Cleanup(l.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var none *NoReflectionError
	if err := l.Wait(ctx); !errors.As(err, &none) {
		t.Fatalf("got %v", err)
	}
	b.Stop()
	next := testkit.StartBackend(t, testkit.WithAddress(b.Addr()))
	l.Trigger()
	if err := l.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if l.Current().Method("gateway.test.v1.Echo/Unary") == nil || next.Calls() == 0 {
		t.Error("the method is missing")
	}
}
