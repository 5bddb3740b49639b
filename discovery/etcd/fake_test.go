package etcd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The texts with which etcd cancels a watch.
const (
	noLeader     = "etcdserver: no leader"
	invalidToken = "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
	denied       = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
)

// fakeStore is a small etcd with everything that can go wrong. It implements store.
type fakeStore struct {
	start time.Time

	mu        sync.Mutex
	revision  int64
	kvs       map[string]*mvccpb.KeyValue
	history   []*clientv3.Event
	compacted int64
	watches   []*fakeWatch
	link      bool
	leases    map[int64]bool // those that live
	leaseErr  error
	linkMoved chan struct{} // closed and replaced when link changes

	// What to do wrong; nil and zero: nothing.
	listErr, serializableErr, pingErr, clientErr error
	slow                                         time.Duration // each list takes so long
	// login is how long it takes to make the client. It is zero once there is one.
	login time.Duration
	// behind is the revision of serializable lists.
	behind int64
	// refuse is the reason with which each watch is cancelled after its confirmation.
	refuse    string
	silent    bool  // watches are not confirmed
	forgetful bool  // watches are not told of changes
	createdAt int64 // revision that confirmations claim

	happened
}

// happened is what was asked of a fakeStore.
type happened struct {
	lists, serializable, pings, renewals int
	watchedFrom                          []int64
	watchedAt                            []time.Duration
}

// seen is what has happened when nothing more happens without the time going on.
func (s *fakeStore) seen() happened {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.happened
	h.watchedFrom, h.watchedAt = slices.Clone(h.watchedFrom), slices.Clone(h.watchedAt)
	return h
}

type fakeWatch struct {
	prefix string
	out    chan clientv3.WatchResponse
}

func newFakeStore(pairs ...string) *fakeStore {
	s := &fakeStore{start: time.Now(), revision: 1, kvs: map[string]*mvccpb.KeyValue{}, link: true, linkMoved: make(chan struct{})}
	for i := 0; i < len(pairs); i += 2 {
		s.put(pairs[i], pairs[i+1])
	}
	return s
}

func (s *fakeStore) do(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *fakeStore) put(key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: s.revision}
	s.kvs[key] = kv
	s.tell(&clientv3.Event{Type: clientv3.EventTypePut, Kv: kv})
}

func (s *fakeStore) delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	delete(s.kvs, key)
	s.tell(&clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: s.revision}})
}

func (s *fakeStore) tell(ev *clientv3.Event) {
	s.history = append(s.history, ev)
	if s.forgetful {
		return
	}
	for _, w := range s.watches {
		w.tell(s.revision, ev)
	}
}

func (w *fakeWatch) tell(revision int64, events ...*clientv3.Event) {
	events = slices.DeleteFunc(events, func(ev *clientv3.Event) bool { return !strings.HasPrefix(string(ev.Kv.Key), w.prefix) })
	if len(events) > 0 {
		w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: revision}, Events: events}
	}
}

// send sends every watch a response.
func (s *fakeStore) send(resp clientv3.WatchResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.watches {
		w.out <- resp
	}
}

// cancel ends all watches for a reason, in etcd's words.
func (s *fakeStore) cancel(reason string) {
	s.send(clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CancelReason: reason})
}

func (s *fakeStore) setLink(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != up {
		s.link = up
		close(s.linkMoved)
		s.linkMoved = make(chan struct{})
	}
}

// at is the content at an earlier revision.
func (s *fakeStore) at(revision int64) map[string]*mvccpb.KeyValue {
	kvs := map[string]*mvccpb.KeyValue{}
	for _, ev := range s.history {
		switch {
		case ev.Kv.ModRevision > revision:
		case ev.Type == clientv3.EventTypeDelete:
			delete(kvs, string(ev.Kv.Key))
		default:
			kvs[string(ev.Kv.Key)] = ev.Kv
		}
	}
	return kvs
}

// connect makes the client, as everything else does that needs one.
func (s *fakeStore) connect(ctx context.Context) error {
	s.mu.Lock()
	login, err := s.login, s.clientErr
	s.mu.Unlock()
	if login > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(login):
		}
		s.do(func() { s.login = 0 })
	}
	return err
}

func (s *fakeStore) list(ctx context.Context, prefix string, serializable bool) (*clientv3.GetResponse, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	resp, err := s.answer(prefix, serializable)
	if s.slow > 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(s.slow):
		}
	}
	return resp, err
}

func (s *fakeStore) answer(prefix string, serializable bool) (*clientv3.GetResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kvs, revision, err := s.kvs, s.revision, s.listErr
	if serializable {
		s.serializable++
		err = s.serializableErr
		if s.behind > 0 {
			kvs, revision = s.at(s.behind), s.behind
		}
	} else {
		s.lists++
	}
	if err != nil {
		return nil, err
	}
	resp := &clientv3.GetResponse{Header: &etcdserverpb.ResponseHeader{Revision: revision}}
	for _, key := range slices.Sorted(maps.Keys(kvs)) {
		if strings.HasPrefix(key, prefix) {
			resp.Kvs = append(resp.Kvs, kvs[key])
		}
	}
	return resp, nil
}

func (s *fakeStore) hasLease(_ context.Context, id int64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leases[id], s.leaseErr
}

func (s *fakeStore) ping(context.Context, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pings++
	return errors.Join(s.clientErr, s.pingErr)
}

// watch waits for the connection, like etcd's client does.
func (s *fakeStore) watch(ctx context.Context, prefix string, revision int64) (clientv3.WatchChan, error) {
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if err := s.awaitLink(ctx, true); err != nil {
		none := make(chan clientv3.WatchResponse)
		close(none)
		return none, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchedFrom = append(s.watchedFrom, revision)
	s.watchedAt = append(s.watchedAt, time.Since(s.start).Round(time.Millisecond))
	w := &fakeWatch{prefix: prefix, out: make(chan clientv3.WatchResponse, 10_000)}
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watches = slices.DeleteFunc(s.watches, func(o *fakeWatch) bool { return o == w })
		close(w.out)
	})
	s.watches = append(s.watches, w)
	if s.silent {
		return w.out, nil
	}
	if s.refuse == noLeader { // the whole stream is refused, so there is no confirmation
		w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CancelReason: s.refuse}
		return w.out, nil
	}
	created := s.revision
	if s.createdAt > 0 {
		created = s.createdAt
	}
	w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: created}, Created: true}
	switch {
	case s.refuse != "":
		w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CancelReason: s.refuse}
	case revision <= s.compacted:
		w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{}, Canceled: true, CompactRevision: s.compacted}
	default:
		for _, ev := range s.history {
			if ev.Kv.ModRevision >= revision {
				w.tell(s.revision, ev)
			}
		}
	}
	return w.out, nil
}

func (s *fakeStore) awaitLink(ctx context.Context, up bool) error {
	for {
		s.mu.Lock()
		is, moved := s.link, s.linkMoved
		s.mu.Unlock()
		if is == up {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
	}
}

func (s *fakeStore) renew() { s.do(func() { s.renewals++ }) }

// published records the states of a watcher.
type published struct {
	start  time.Time
	mu     sync.Mutex
	states []discovery.State
	times  []time.Duration
}

func (p *published) add(s discovery.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = append(p.states, s)
	p.times = append(p.times, time.Since(p.start))
}

func (p *published) last(t *testing.T) discovery.State {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.states) == 0 {
		t.Fatal("nothing was published")
	}
	return p.states[len(p.states)-1]
}

func (p *published) count() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.states)
}

// watching runs a test in virtual time beside a watcher of user/ in the store that prepare makes.
func watching(t *testing.T, prepare func() *fakeStore, test func(t *testing.T, s *fakeStore, p *published)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := prepare()
		p := &published{start: time.Now()}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { newWatcher(s, "user/", LayoutAuto, newOutages(zap.NewNop())).run(ctx, p.add) })
		defer wg.Wait()
		defer cancel()
		synctest.Wait()
		test(t, s, p)
	})
}

func two() *fakeStore { return newFakeStore("user/1", "a:1", "user2/1", "z:1", "user/2", "b:1") }

func wantAddrs(t *testing.T, s discovery.State, want ...string) {
	t.Helper()
	var got []string
	for _, e := range s.Endpoints {
		got = append(got, e.Addr)
	}
	if !slices.Equal(got, want) {
		t.Errorf("endpoints %v, want %v", got, want)
	}
}

func wantErr(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
		t.Errorf("got error %v, want one with %q", err, text)
	}
}
