package etcd

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestFollowsChanges(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		first := p.last(t)
		wantAddrs(t, first, "a:1", "b:1")
		if !first.Synced || first.Stale || first.Err != nil || first.Revision != 4 || first.LastContact.IsZero() {
			t.Errorf("first state %+v", first)
		}
		time.Sleep(time.Second)
		s.put("user/3", "c:1")
		wantAddrs(t, p.last(t), "a:1", "b:1", "c:1") // at once, after a time of quiet
		time.Sleep(time.Second)
		s.put("user2/2", "y:1")
		s.put("use", "x:1")
		wantAddrs(t, p.last(t), "a:1", "b:1", "c:1")
		s.put("user/2", "d:1")
		time.Sleep(time.Second)
		wantAddrs(t, p.last(t), "a:1", "d:1", "c:1")
		s.delete("user/1")
		time.Sleep(time.Second)
		last := p.last(t)
		wantAddrs(t, last, "d:1", "c:1")
		if last.Revision != 9 {
			t.Errorf("revision %d, want 9", last.Revision)
		}
		wantAddrs(t, first, "a:1", "b:1") // what was published is not written to
		if !slices.Equal(s.seen().watchedFrom, []int64{5}) {
			t.Errorf("watched from %v, want 5", s.seen().watchedFrom)
		}
	})
}

func TestAnEmptyPrefixIsAResult(t *testing.T) {
	watching(t, func() *fakeStore { return newFakeStore() }, func(t *testing.T, s *fakeStore, p *published) {
		if got := p.last(t); !got.Synced || got.Err != nil {
			t.Errorf("got %+v", got)
		}
	})
}

// TestBurstsArePublishedTogether: twenty times a second, and less often where the list is so long
// that making it is work.
func TestBurstsArePublishedTogether(t *testing.T) {
	tests := []struct {
		name     string
		known    int // instances before
		min, max int // states for a second of changes
	}{
		{"a short list", 10, 20, 22},
		{"a thousand", 1_000, 13, 16},
		{"ten thousand", 10_000, 4, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var known []string
			for i := range tt.known {
				known = append(known, fmt.Sprintf("user/k%d", i), fmt.Sprintf("k%d:1", i))
			}
			watching(t, func() *fakeStore { return newFakeStore(known...) }, func(t *testing.T, s *fakeStore, p *published) {
				time.Sleep(time.Second)
				before := p.count()
				for i := range 100 {
					s.put(fmt.Sprintf("user/n%d", i), fmt.Sprintf("n%d:1", i))
					time.Sleep(10 * time.Millisecond)
				}
				time.Sleep(time.Second)
				if got := p.count() - before; got < tt.min || got > tt.max {
					t.Errorf("%d states for a second of changes, want %d to %d", got, tt.min, tt.max)
				}
				if got := len(p.last(t).Endpoints); got != tt.known+100 {
					t.Errorf("%d endpoints, want %d", got, tt.known+100)
				}
			})
		})
	}
}

func TestBadEntries(t *testing.T) {
	watching(t, func() *fakeStore { return newFakeStore("user/1", "a:1", "user/2", "junk") }, func(t *testing.T, s *fakeStore, p *published) {
		got := p.last(t)
		wantAddrs(t, got, "a:1")
		if len(got.Skipped) != 1 || got.Skipped[0].ID != "user/2" || got.Skipped[0].Reason != `expected host:port, found "junk"` || got.Err != nil {
			t.Errorf("skipped %+v, error %v", got.Skipped, got.Err)
		}
		s.put("user/1", `{"some":"thing"}`) // A bad value replaces a good one.
		s.put("user/2", "b:1")
		time.Sleep(time.Second)
		got = p.last(t)
		wantAddrs(t, got, "b:1")
		if len(got.Skipped) != 1 || got.Skipped[0].ID != "user/1" {
			t.Errorf("skipped %+v", got.Skipped)
		}
	})
}

func TestHeartbeatsAreNotChanges(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		before := p.count()
		for range 10 {
			s.put("user/1", "a:1")
			time.Sleep(time.Second)
		}
		if got := p.count() - before; got != 0 {
			t.Errorf("%d states for nothing", got)
		}
	})
}

func TestErrorsKeepTheListAndBackOff(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		s.do(func() { s.refuse = denied })
		s.cancel(denied)
		time.Sleep(3 * time.Minute)
		got := p.last(t)
		wantAddrs(t, got, "a:1", "b:1")
		wantErr(t, got.Err, "etcd user/: watching: ")
		wantErr(t, got.Err, "permission denied")
		if !got.Synced {
			t.Error("the list is no longer synced")
		}
		for i, seconds := range []int{1, 2, 4, 8, 16, 30, 30} {
			want := time.Duration(seconds) * time.Second
			step := s.seen().watchedAt[i+1] - s.seen().watchedAt[i]
			if step < want*8/10 || step > min(want*12/10, 30*time.Second) {
				t.Errorf("wait %d was %v, want about %v", i, step, want)
			}
		}
		s.do(func() { s.refuse = "" })
		time.Sleep(31 * time.Second)
		if got := p.last(t); got.Err != nil {
			t.Errorf("after the trouble: %v", got.Err)
		}
		if s.seen().lists != 1 {
			t.Errorf("%d lists, want only the first: a watch goes on from where it was", s.seen().lists)
		}
		s.put("user/3", "c:1")
		time.Sleep(time.Minute) // the watch has lasted: the next wait is short again
		at := time.Since(s.start)
		s.cancel(denied)
		time.Sleep(1300 * time.Millisecond)
		if again := s.seen().watchedAt[len(s.seen().watchedAt)-1]; again < at || again > at+1200*time.Millisecond {
			t.Errorf("cancelled at %v, watched again at %v", at, again)
		}
	})
}

func TestChangesWhileTheWatchIsAwayAreNotMissed(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		s.put("user/3", "c:1")
		s.cancel(denied)
		synctest.Wait()
		s.delete("user/1")
		s.put("user/4", "d:1")
		time.Sleep(2 * time.Second)
		wantAddrs(t, p.last(t), "b:1", "c:1", "d:1")
		if !slices.Equal(s.seen().watchedFrom, []int64{5, 6}) || s.seen().lists != 1 {
			t.Errorf("watched from %v after %d lists, want from 5 and 6 after one", s.seen().watchedFrom, s.seen().lists)
		}
	})
}

func TestCompaction(t *testing.T) {
	t.Run("the list is read again and the difference applied", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.silent = true })
			s.cancel(denied)
			synctest.Wait()
			s.delete("user/1")
			s.put("user/3", "c:1")
			s.do(func() { s.compacted, s.silent = s.revision, false })
			before := p.count()
			time.Sleep(1300 * time.Millisecond)
			got := p.last(t)
			wantAddrs(t, got, "b:1", "c:1")
			if s.seen().lists != 2 || got.Err != nil {
				t.Errorf("%d lists, error %v", s.seen().lists, got.Err)
			}
			p.last(t)
			for _, state := range p.states[before:] {
				if len(state.Endpoints) == 0 {
					t.Error("an empty list was published in between")
				}
			}
			s.put("user/4", "d:1")
			time.Sleep(time.Second)
			wantAddrs(t, p.last(t), "b:1", "c:1", "d:1")
		})
	})
	t.Run("again and again does not become a storm", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.compacted = 1000 })
			s.cancel(denied)
			time.Sleep(time.Minute)
			if s.seen().lists > 12 {
				t.Errorf("%d lists in a minute", s.seen().lists)
			}
		})
	})
}

func TestQuorum(t *testing.T) {
	lost := func() *fakeStore {
		s := two()
		s.listErr, s.refuse = rpctypes.ErrTimeoutDueToLeaderFail, noLeader
		return s
	}
	t.Run("a cold start without one uses what a member knows, and says so", func(t *testing.T) {
		watching(t, lost, func(t *testing.T, s *fakeStore, p *published) {
			got := p.last(t)
			wantAddrs(t, got, "a:1", "b:1")
			if !got.Synced || !got.Stale || got.Err == nil {
				t.Errorf("got %+v", got)
			}
			time.Sleep(time.Minute)
			if tries := len(s.seen().watchedFrom); tries < 12 {
				t.Errorf("%d tries in a minute: a new leader would not be noticed soon", tries)
			}
			s.put("user/3", "c:1")
			s.do(func() { s.listErr, s.refuse = nil, "" })
			time.Sleep(6 * time.Second)
			got = p.last(t)
			wantAddrs(t, got, "a:1", "b:1", "c:1")
			if got.Stale || got.Err != nil {
				t.Errorf("with a quorum again: stale %v, error %v", got.Stale, got.Err)
			}
			if s.seen().serializable != 1 || s.seen().lists != 2 {
				t.Errorf("%d serializable lists and %d others", s.seen().serializable, s.seen().lists)
			}
		})
	})
	t.Run("a list that stays stale is compared until it is not", func(t *testing.T) {
		watching(t, lost, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.refuse = "" }) // a leader, but reads still fail
			time.Sleep(20 * time.Second)
			if got := p.last(t); !got.Stale || got.Err == nil {
				t.Errorf("got stale %v, error %v", got.Stale, got.Err)
			}
			s.do(func() { s.listErr = nil })
			time.Sleep(6 * time.Second)
			if got := p.last(t); got.Stale || got.Err != nil {
				t.Errorf("got stale %v, error %v", got.Stale, got.Err)
			}
		})
	})
	t.Run("a member that is behind does not take instances away", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.put("user/3", "c:1")
			s.do(func() { s.listErr, s.behind, s.compacted = rpctypes.ErrTimeout, 3, 100 })
			s.cancel(noLeader)
			time.Sleep(30 * time.Second)
			got := p.last(t)
			wantAddrs(t, got, "a:1", "b:1", "c:1")
			wantErr(t, got.Err, "the answer of one member was older")
		})
	})
	t.Run("without any answer nothing is known", func(t *testing.T) {
		watching(t, func() *fakeStore {
			s := two()
			s.listErr, s.serializableErr = rpctypes.ErrTimeout, rpctypes.ErrTimeout
			return s
		}, func(t *testing.T, s *fakeStore, p *published) {
			got := p.last(t)
			wantErr(t, got.Err, "etcd user/: listing: etcdserver: request timed out")
			if got.Synced || len(got.Endpoints) > 0 || !got.LastContact.IsZero() {
				t.Errorf("got %+v", got)
			}
		})
	})
	t.Run("a refusal does not make it ask a minority", func(t *testing.T) {
		watching(t, func() *fakeStore {
			s := two()
			s.listErr = rpctypes.ErrPermissionDenied
			return s
		}, func(t *testing.T, s *fakeStore, p *published) {
			if wantErr(t, p.last(t).Err, "permission denied"); s.seen().serializable != 0 {
				t.Errorf("%d serializable lists", s.seen().serializable)
			}
		})
	})
}

func TestExpiredToken(t *testing.T) {
	for name, c := range map[string]struct {
		refuse         string
		ping           error
		pings, renewed int
	}{
		"a read gets a new token":                           {refuse: "", pings: 1},
		"a read that is refused too asks for a client":      {ping: rpctypes.ErrInvalidAuthToken, pings: 1, renewed: 1},
		"a new token that is refused asks for a client":     {refuse: invalidToken, pings: 1, renewed: 1},
		"a read that fails for other reasons does not help": {ping: errors.New("down"), pings: 1},
	} {
		t.Run(name, func(t *testing.T) {
			watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
				time.Sleep(10 * time.Minute)
				s.do(func() { s.refuse, s.pingErr = c.refuse, c.ping })
				s.cancel(invalidToken)
				time.Sleep(2 * time.Second)
				s.do(func() { s.refuse, s.pingErr = "", nil })
				s.put("user/3", "c:1")
				time.Sleep(5 * time.Second)
				got := p.last(t)
				wantAddrs(t, got, "a:1", "b:1", "c:1")
				if s.seen().pings != c.pings || s.seen().renewals != c.renewed || got.Err != nil {
					t.Errorf("%d pings, %d new clients, error %v; want %d, %d", s.seen().pings, s.seen().renewals, got.Err, c.pings, c.renewed)
				}
			})
		})
	}
}

func TestReconcile(t *testing.T) {
	t.Run("what the watch missed is found within minutes", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.forgetful = true })
			s.delete("user/1")
			s.put("user/3", "c:1")
			time.Sleep(4 * time.Minute)
			wantAddrs(t, p.last(t), "a:1", "b:1")
			time.Sleep(2 * time.Minute)
			wantAddrs(t, p.last(t), "b:1", "c:1")
			if len(s.seen().watchedFrom) != 1 {
				t.Errorf("watched from %v: the watch was made again", s.seen().watchedFrom)
			}
		})
	})
	t.Run("changes during the list are newer than it", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			for range 4 * 60 { // up to the moment when the list is under way
				time.Sleep(time.Second)
			}
			s.do(func() { s.slow = 3 * time.Second })
			for {
				time.Sleep(time.Second)
				if s.seen().lists == 2 {
					break
				}
			}
			s.delete("user/1")
			s.put("user/2", "B:1")
			s.put("user/3", "c:1")
			time.Sleep(time.Second)
			wantAddrs(t, p.last(t), "B:1", "c:1") // a slow list delays nothing
			time.Sleep(10 * time.Second)
			wantAddrs(t, p.last(t), "B:1", "c:1")
		})
	})
	t.Run("a list ahead of the watch is not undone by old events", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.forgetful = true })
			s.put("user/3", "c:1")
			s.delete("user/3")
			time.Sleep(6 * time.Minute)
			s.do(func() {
				for _, ev := range s.history {
					for _, w := range s.watches {
						w.tell(s.revision, ev)
					}
				}
			})
			time.Sleep(time.Second)
			wantAddrs(t, p.last(t), "a:1", "b:1")
		})
	})
	t.Run("a failure changes nothing", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.listErr = rpctypes.ErrTimeout })
			time.Sleep(time.Hour)
			got := p.last(t)
			wantAddrs(t, got, "a:1", "b:1")
			if got.Err != nil || got.Stale || s.seen().lists < 11 || s.seen().lists > 14 {
				t.Errorf("error %v, stale %v, %d lists", got.Err, got.Stale, s.seen().lists)
			}
		})
	})
}

func TestRestoredCluster(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		time.Sleep(time.Minute)
		for i := range 20 {
			s.put("user/3", fmt.Sprintf("c:%d", i+1))
		}
		synctest.Wait()
		// A backup from before user/2.
		s.do(func() { s.kvs, s.history, s.revision = s.at(3), nil, 3 })
		s.cancel(denied)
		time.Sleep(4 * time.Second)
		got := p.last(t)
		wantAddrs(t, got, "a:1")
		if got.Revision != 3 || got.Err != nil {
			t.Errorf("revision %d, error %v", got.Revision, got.Err)
		}
		s.put("user/4", "d:1")
		time.Sleep(time.Second)
		wantAddrs(t, p.last(t), "a:1", "d:1")
	})
}

func TestAMemberThatIsBehindIsNoRestore(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		s.do(func() { s.createdAt = 2 })
		s.cancel(denied)
		time.Sleep(5 * time.Second)
		wantAddrs(t, p.last(t), "a:1", "b:1")
		if len(s.seen().watchedFrom) != 2 || s.seen().lists != 2 {
			t.Errorf("watched from %v, %d lists; want two watches and a list to make sure", s.seen().watchedFrom, s.seen().lists)
		}
	})
}

func TestLostConnection(t *testing.T) {
	t.Run("for a moment is nothing to tell", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			before := p.count()
			s.setLink(false)
			time.Sleep(900 * time.Millisecond)
			s.setLink(true)
			time.Sleep(time.Minute)
			if got := p.count() - before; got != 0 || len(s.seen().watchedFrom) != 1 {
				t.Errorf("%d states, watched from %v", got, s.seen().watchedFrom)
			}
		})
	})
	t.Run("is told with its cause, and its return ends the wait", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.do(func() { s.pingErr = errors.New("connection refused") })
			s.setLink(false)
			time.Sleep(1100 * time.Millisecond)
			wantErr(t, p.last(t).Err, "etcd user/: connection lost: connection refused")
			time.Sleep(10 * time.Minute) // the wait is at its longest now
			s.do(func() { s.pingErr = nil })
			s.put("user/3", "c:1")
			s.setLink(true)
			time.Sleep(500 * time.Millisecond)
			got := p.last(t)
			wantAddrs(t, got, "a:1", "b:1", "c:1")
			if got.Err != nil || s.seen().lists != 1 {
				t.Errorf("error %v, %d lists", got.Err, s.seen().lists)
			}
		})
	})
	t.Run("without a visible cause is told as well", func(t *testing.T) {
		watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
			s.setLink(false)
			time.Sleep(1100 * time.Millisecond)
			wantErr(t, p.last(t).Err, "connection lost for 1s")
		})
	})
}

func TestUnconfirmedWatch(t *testing.T) {
	watching(t, func() *fakeStore {
		s := two()
		s.silent = true
		return s
	}, func(t *testing.T, s *fakeStore, p *published) {
		time.Sleep(9 * time.Second)
		wantErr(t, p.last(t).Err, "")
		time.Sleep(2 * time.Second)
		got := p.last(t)
		wantAddrs(t, got, "a:1", "b:1")
		wantErr(t, got.Err, "did not confirm the watch within 10s")
		s.do(func() { s.silent = false })
		time.Sleep(15 * time.Second)
		wantErr(t, p.last(t).Err, "")
	})
}

func TestNoClient(t *testing.T) {
	watching(t, func() *fakeStore {
		s := two()
		s.clientErr = &unreachableError{errors.New("connection refused")}
		s.link = false
		return s
	}, func(t *testing.T, s *fakeStore, p *published) {
		got := p.last(t)
		wantErr(t, got.Err, "etcd user/: logging in: connection refused")
		if got.Synced {
			t.Error("nothing is known, yet it is synced")
		}
		time.Sleep(10 * time.Minute)
		s.do(func() { s.clientErr = nil })
		s.setLink(true)
		time.Sleep(3 * time.Second) // Only time ends the wait.
		got = p.last(t)
		wantAddrs(t, got, "a:1", "b:1")
		wantErr(t, got.Err, "")
	})
}

// TestASlowLogin takes longer than a list may, and than etcd has to confirm a watch: how long it
// may take is up to dial_timeout.
func TestASlowLogin(t *testing.T) {
	watching(t, func() *fakeStore {
		s := two()
		s.login = 15 * time.Second
		return s
	}, func(t *testing.T, s *fakeStore, p *published) {
		time.Sleep(16 * time.Second)
		wantAddrs(t, p.last(t), "a:1", "b:1")
		wantErr(t, p.last(t).Err, "")
		// A new client, after the old one was discarded.
		s.do(func() { s.login = 15 * time.Second })
		s.cancel("gone")
		time.Sleep(20 * time.Second)
		wantErr(t, p.last(t).Err, "")
	})
}

func TestProgressMovesTheRevision(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		time.Sleep(time.Minute)
		s.do(func() { s.revision = 500 })
		s.send(clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: 500}})
		if got := p.last(t); got.Revision != 500 || time.Since(got.LastContact) > time.Second {
			t.Errorf("revision %d, last contact %v ago", got.Revision, time.Since(got.LastContact))
		}
		s.cancel(denied)
		time.Sleep(2 * time.Second)
		if !slices.Equal(s.seen().watchedFrom, []int64{5, 501}) {
			t.Errorf("watched from %v, want 5 and 501", s.seen().watchedFrom)
		}
	})
}

// The header of a response with events is ahead of them while the watch catches up.
func TestTheHeaderOfEventsIsNotTheirRevision(t *testing.T) {
	watching(t, two, func(t *testing.T, s *fakeStore, p *published) {
		s.do(func() { s.forgetful = true })
		s.put("user/3", "c:1")
		s.put("user/4", "d:1")
		s.do(func() { s.watches[0].tell(s.revision, s.history[len(s.history)-2]) })
		synctest.Wait()
		s.cancel(denied) // before the second portion
		time.Sleep(2 * time.Second)
		wantAddrs(t, p.last(t), "a:1", "b:1", "c:1", "d:1")
	})
}
