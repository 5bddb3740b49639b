package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-grpc/gateway/discovery"
)

var errDown = errors.New("etcd is down")

// driven is a source that publishes what it is sent.
type driven chan discovery.State

func (driven) ID() string { return "driven" }

func (d driven) Watch(ctx context.Context, publish func(discovery.State)) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-d:
			publish(s)
		}
	}
}

// setting is a feed over a source with a snapshot, in virtual time.
type setting struct {
	t      *testing.T
	dir    string
	src    driven
	feed   *discovery.Feed
	logs   *observer.ObservedLogs
	wanted atomic.Bool
}

// inTime runs a test in virtual time. Nothing is watched before start.
func inTime(t *testing.T, run func(s *setting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &setting{t: t, dir: t.TempDir()}
		s.wanted.Store(true)
		run(s)
		s.stop()
	})
}

func (s *setting) start() {
	core, logs := observer.New(zapcore.DebugLevel)
	s.src, s.logs = make(driven), logs
	s.feed = discovery.NewFeed(New(s.src, s.dir, s.wanted.Load, zap.New(core)))
	synctest.Wait()
}

func (s *setting) stop() {
	if s.feed != nil {
		s.feed.Close()
		s.feed = nil
	}
}

func (s *setting) publish(st discovery.State) {
	s.src <- st
	synctest.Wait()
}

func (s *setting) path() string { return Path(s.dir, "driven") }

// onDisk are the addresses in the file, separated by spaces; "-" without a file.
func (s *setting) onDisk() string {
	s.t.Helper()
	l, err := load(s.path(), "driven", time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return addrs(l.endpoints)
}

func addrs(endpoints []discovery.Endpoint) string {
	all := make([]string, len(endpoints))
	for i, e := range endpoints {
		all[i] = strings.TrimSuffix(e.Addr, ":1")
	}
	return strings.Join(all, " ")
}

func (s *setting) wantDisk(want string) {
	s.t.Helper()
	if got := s.onDisk(); got != want {
		s.t.Errorf("on disk is %q, want %q", got, want)
	}
}

// put writes a file as an earlier process would have, so long ago.
func (s *setting) put(age time.Duration, revision int64, hosts string) {
	s.t.Helper()
	l := &list{saved: time.Now().Add(-age), revision: revision, endpoints: synced(hosts).Endpoints}
	if err := save(s.path(), "driven", l); err != nil {
		s.t.Fatal(err)
	}
}

// synced is what a healthy registry says: one instance for each host.
func synced(hosts string) discovery.State {
	s := discovery.State{Synced: true, LastContact: time.Now()}
	for _, h := range strings.Fields(hosts) {
		s.Endpoints = append(s.Endpoints, discovery.Endpoint{ID: h, Addr: h + ":1"})
	}
	return s
}

// many are n hosts from the first on.
func many(first, n int) string {
	hosts := make([]string, n)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("h%02d", first+i)
	}
	return strings.Join(hosts, " ")
}

func TestSnapshotStandsIn(t *testing.T) {
	t.Run("after a second of silence", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.put(time.Hour, 7, "a b")
			saved := time.Now().Add(-time.Hour)
			s.start()
			time.Sleep(Grace - time.Millisecond)
			synctest.Wait()
			if got := s.feed.State(); got.Synced {
				t.Fatalf("too early: %+v", got)
			}
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			got := s.feed.State()
			if !got.Synced || !got.Stale || addrs(got.Endpoints) != "a b" || got.Revision != 7 || !errors.Is(got.Err, errSilent) ||
				!got.Snapshot.Equal(saved) || !got.LastContact.Equal(saved) {
				t.Errorf("got %+v", got)
			}
			if s.logs.FilterMessageSnippet("using the snapshot on disk").FilterLevelExact(zapcore.DebugLevel).Len() != 1 {
				t.Errorf("the log does not say it once: %v", s.logs.All())
			}
		})
	})
	t.Run("at once when the source reports trouble, which stays visible", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.put(time.Hour, 7, "a b")
			s.start()
			s.publish(discovery.State{Err: errDown})
			got := s.feed.State()
			if !got.Synced || !got.Stale || addrs(got.Endpoints) != "a b" || !errors.Is(got.Err, errDown) {
				t.Errorf("got %+v", got)
			}
			other := errors.New("no leader")
			s.publish(discovery.State{Err: other})
			if got := s.feed.State(); !errors.Is(got.Err, other) || addrs(got.Endpoints) != "a b" || got.Snapshot.IsZero() {
				t.Errorf("after other trouble: %+v", got)
			}
			time.Sleep(time.Hour)
			if got := s.feed.State(); addrs(got.Endpoints) != "a b" {
				t.Errorf("an hour later: %+v", got)
			}
		})
	})
	t.Run("until the registry answers", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.put(time.Hour, 7, "a b")
			s.start()
			s.publish(discovery.State{Err: errDown})
			s.publish(synced("b c"))
			got := s.feed.State()
			if addrs(got.Endpoints) != "b c" || got.Stale || got.Err != nil || !got.Snapshot.IsZero() {
				t.Errorf("got %+v", got)
			}
			down := got
			down.Err = errDown
			s.publish(down)
			if got := s.feed.State(); addrs(got.Endpoints) != "b c" || !got.Snapshot.IsZero() {
				t.Errorf("in later trouble: %+v", got)
			}
		})
	})
	t.Run("for an empty list of the registry, too, only until then", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.put(time.Hour, 7, "a b")
			s.start()
			s.publish(discovery.State{Err: errDown})
			s.publish(synced(""))
			if got := s.feed.State(); len(got.Endpoints) != 0 || got.Stale {
				t.Errorf("got %+v", got)
			}
		})
	})
}

func TestSnapshotDoesNotStandIn(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(s *setting)
		first   discovery.State
		want    string // addresses
		synced  bool
	}{
		"for a registry that answers at once":                  {nil, synced("c"), "c", true},
		"for a registry that answers at once that it is empty": {nil, synced(""), "", true},
		"when it is not wanted":                                {func(s *setting) { s.wanted.Store(false) }, discovery.State{Err: errDown}, "", false},
		"when it is too old":                                   {func(s *setting) { s.put(25*time.Hour, 7, "a b") }, discovery.State{Err: errDown}, "", false},
		"when it is broken":                                    {func(s *setting) { s.scribble() }, discovery.State{Err: errDown}, "", false},
		"when there is none":                                   {func(s *setting) { _ = os.Remove(s.path()) }, discovery.State{Err: errDown}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(s *setting) {
				s.put(time.Hour, 7, "a b")
				if c.prepare != nil {
					c.prepare(s)
				}
				s.start()
				s.publish(c.first)
				time.Sleep(10 * Grace)
				synctest.Wait()
				if got := s.feed.State(); addrs(got.Endpoints) != c.want || got.Synced != c.synced || !got.Snapshot.IsZero() {
					t.Errorf("got %+v", got)
				}
				warned := s.logs.FilterMessageSnippet("cannot be used").Len()
				if want := strings.Contains(name, "too old") || strings.Contains(name, "broken"); (warned == 1) != want {
					t.Errorf("the log has %d lines on it: %v", warned, s.logs.All())
				}
			})
		})
	}
}

func (s *setting) scribble() {
	if err := os.WriteFile(s.path(), []byte(`{"version":1,`), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// TestMinorityAndSnapshot is a start with etcd's quorum lost: of the list that one member knows and
// the one on disk the newer one is used.
func TestMinorityAndSnapshot(t *testing.T) {
	minority := func(revision int64, hosts string) discovery.State {
		s := synced(hosts)
		s.Stale, s.Revision, s.Err = true, revision, errDown
		return s
	}
	for name, c := range map[string]struct {
		states []discovery.State
		want   string
	}{
		"the member is behind":                  {[]discovery.State{minority(6, "old")}, "a b"},
		"the member is behind, and said so":     {[]discovery.State{{Err: errDown}, minority(6, "old")}, "a b"},
		"the member knows as much":              {[]discovery.State{minority(7, "a c")}, "a c"},
		"the member knows more, after an error": {[]discovery.State{{Err: errDown}, minority(8, "new")}, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(s *setting) {
				s.put(time.Hour, 7, "a b")
				s.start()
				for _, st := range c.states {
					s.publish(st)
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := s.feed.State(); addrs(got.Endpoints) != c.want || !got.Stale || got.Err == nil {
					t.Errorf("got %+v, want %s", got, c.want)
				}
				s.stop()
				s.wantDisk("a b") // and nothing of this is saved
			})
		})
	}
}

// TestPanicDoesNotBringAnOldListBack: the feed has a better list than the disk when a source is
// watched again.
func TestPanicDoesNotBringAnOldListBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := save(Path(dir, "panics"), "panics", &list{saved: time.Now(), endpoints: synced("old").Endpoints}); err != nil {
			t.Fatal(err)
		}
		f := discovery.NewFeed(New(&panics{}, dir, func() bool { return true }, zap.NewNop()))
		defer f.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := f.State(); addrs(got.Endpoints) != "new" || !got.Snapshot.IsZero() {
			t.Errorf("got %+v", got)
		}
	})
}

// panics publishes a list, panics, and is silent when it is watched again.
type panics struct{ watched int }

func (*panics) ID() string { return "panics" }

func (p *panics) Watch(ctx context.Context, publish func(discovery.State)) {
	if p.watched++; p.watched == 1 {
		publish(synced("new"))
		panic("no more")
	}
	<-ctx.Done()
}

func TestSaving(t *testing.T) {
	t.Run("a list is saved when it has settled", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			s.publish(synced("a b"))
			time.Sleep(settleTime - time.Millisecond)
			s.wantDisk("-")
			time.Sleep(2 * time.Millisecond)
			synctest.Wait()
			s.wantDisk("a b")
		})
	})
	t.Run("many changes are few writes", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			writes, last := 0, "-"
			for i := range 600 { // a minute
				s.publish(synced("a " + fmt.Sprint("b", i/20)))
				time.Sleep(100 * time.Millisecond)
				if now := s.onDisk(); now != last {
					writes, last = writes+1, now
				}
			}
			if writes < 8 || writes > 13 {
				t.Errorf("%d writes in a minute", writes)
			}
		})
	})
	t.Run("what is not saved yet is saved at the end", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			s.publish(synced("a b"))
			s.stop()
			s.wantDisk("a b")
		})
	})
	t.Run("an unchanged list does not age", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			s.publish(synced("a b"))
			time.Sleep(100 * time.Hour)
			synctest.Wait()
			l, err := load(s.path(), "driven", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if age := time.Since(l.saved); age > refreshEvery+lookAgain {
				t.Errorf("it is %v old", age)
			}
		})
	})
	t.Run("a list that the registry does not vouch for does age", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			s.publish(synced("a b"))
			time.Sleep(time.Minute)
			down := synced("a b")
			down.Err = errDown
			s.publish(down)
			time.Sleep(25 * time.Hour)
			synctest.Wait()
			if _, err := load(s.path(), "driven", time.Now()); err == nil {
				t.Error("it is as good as new")
			}
		})
	})
	t.Run("a list in trouble is not saved", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.start()
			s.publish(synced("a b"))
			time.Sleep(time.Minute)
			down := synced("c d")
			down.Err = errDown
			s.publish(down)
			time.Sleep(time.Hour)
			s.stop()
			s.wantDisk("a b")
		})
	})
	t.Run("nothing is saved that is not wanted, until it is", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.wanted.Store(false)
			s.start()
			s.publish(synced("a b"))
			time.Sleep(time.Hour)
			s.wantDisk("-")
			synctest.Wait()
			s.wanted.Store(true)
			time.Sleep(2 * lookAgain)
			synctest.Wait()
			s.wantDisk("a b")
		})
	})
	t.Run("a disk that takes nothing is told once and tried again", func(t *testing.T) {
		inTime(t, func(s *setting) {
			root := s.dir
			s.dir = filepath.Join(root, "file", "snapshots")
			if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s.start()
			s.publish(synced("a b"))
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := s.logs.FilterMessageSnippet("cannot save the snapshot").FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
				t.Errorf("%d warnings: %v", n, s.logs.All())
			}
			if err := os.Remove(filepath.Join(root, "file")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			s.wantDisk("a b")
		})
	})
}

func TestMassLossIsSavedWhenItLasts(t *testing.T) {
	eight := many(0, 8)
	for name, c := range map[string]struct {
		then  []string // lists, two seconds apart; "!" is trouble with the list before it
		after time.Duration
		want  string
	}{
		"one of eight goes":                       {[]string{many(1, 7)}, 10 * time.Second, many(1, 7)},
		"half go":                                 {[]string{many(4, 4)}, 10 * time.Second, many(4, 4)},
		"more than half go, not for long":         {[]string{many(5, 3)}, 50 * time.Second, eight},
		"more than half go, for good":             {[]string{many(5, 3)}, 70 * time.Second, many(5, 3)},
		"all go, not for long":                    {[]string{""}, 50 * time.Second, eight},
		"all go, for good":                        {[]string{""}, 70 * time.Second, "-"},
		"all go and come back":                    {[]string{"", eight}, 70 * time.Second, eight},
		"all go, and then there is trouble":       {[]string{"", "!"}, time.Hour, eight},
		"trouble begins the time again":           {[]string{"", "!", ""}, 59 * time.Second, eight},
		"loss that goes on counts from its start": {[]string{many(5, 3), many(6, 2), ""}, 58 * time.Second, "-"},
		"all are others":                          {[]string{many(20, 8)}, 10 * time.Second, many(20, 8)},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, func(s *setting) {
				s.start()
				s.publish(synced(eight))
				time.Sleep(time.Minute)
				s.wantDisk(eight)
				last := synced(eight)
				for i, hosts := range c.then {
					if i > 0 {
						time.Sleep(2 * time.Second)
					}
					if hosts == "!" {
						last.Err = errDown
					} else {
						last = synced(hosts)
					}
					s.publish(last)
				}
				time.Sleep(c.after)
				s.stop()
				s.wantDisk(c.want)
			})
		})
	}
	t.Run("even over a restart", func(t *testing.T) {
		inTime(t, func(s *setting) {
			s.put(time.Hour, 7, eight)
			s.start()
			s.publish(synced("h00"))
			time.Sleep(30 * time.Second)
			s.stop()
			s.wantDisk(eight)
			s.start()
			s.publish(synced("h00"))
			time.Sleep(61 * time.Second)
			s.stop()
			s.wantDisk("h00")
		})
	})
}
