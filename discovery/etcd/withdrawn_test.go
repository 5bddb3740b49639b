package etcd

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease puts a registration under a lease.
func (s *fakeStore) putLeased(key, value string, lease int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	kv := &mvccpb.KeyValue{Key: []byte(key), Value: []byte(value), ModRevision: s.revision, Lease: lease}
	s.kvs[key] = kv
	s.tell(&clientv3.Event{Type: clientv3.EventTypePut, Kv: kv})
}

// deleteAll deletes keys in one revision, as the end of a lease does, and the deletion of a prefix.
func (s *fakeStore) deleteAll(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++
	var events []*clientv3.Event
	for _, key := range keys {
		delete(s.kvs, key)
		ev := &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(key), ModRevision: s.revision}}
		s.history = append(s.history, ev)
		events = append(events, ev)
	}
	for _, w := range s.watches {
		w.out <- clientv3.WatchResponse{Header: &etcdserverpb.ResponseHeader{Revision: s.revision}, Events: events}
	}
}

// A registration that is deleted alone while its lease lives, or that has no lease, was deleted on
// purpose.
func TestWithdrawn(t *testing.T) {
	for name, tt := range map[string]struct {
		leases map[int64]bool // those that live
		err    error
		then   func(s *fakeStore)
		want   []string
	}{
		"without a lease":             {nil, nil, func(s *fakeStore) { s.delete("user/1") }, []string{"a:1"}},
		"both, one after the other":   {map[int64]bool{7: true}, nil, func(s *fakeStore) { s.delete("user/1"); s.delete("user/2") }, []string{"a:1", "b:1"}},
		"its lease lives":             {map[int64]bool{7: true}, nil, func(s *fakeStore) { s.delete("user/2") }, []string{"b:1"}},
		"its lease is gone":           {nil, nil, func(s *fakeStore) { s.delete("user/2") }, nil},
		"etcd does not say":           {map[int64]bool{7: true}, errors.New("denied"), func(s *fakeStore) { s.delete("user/2") }, nil},
		"the prefix was wiped":        {map[int64]bool{7: true}, nil, func(s *fakeStore) { s.deleteAll("user/1", "user/2") }, nil},
		"there again":                 {nil, nil, func(s *fakeStore) { s.delete("user/1"); s.put("user/1", "a:1") }, nil},
		"a minute and a change later": {nil, nil, func(s *fakeStore) { s.delete("user/1"); time.Sleep(2 * time.Minute); s.put("user/3", "c:1") }, nil},
		"another service's":           {nil, nil, func(s *fakeStore) { s.delete("user2/1") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			prepare := func() *fakeStore {
				s := newFakeStore("user/1", "a:1", "user2/1", "z:1")
				s.putLeased("user/2", "b:1", 7)
				s.leases, s.leaseErr = tt.leases, tt.err
				return s
			}
			watching(t, prepare, func(t *testing.T, s *fakeStore, p *published) {
				time.Sleep(time.Second)
				tt.then(s)
				time.Sleep(time.Second)
				var got []string
				for _, e := range p.last(t).Withdrawn {
					got = append(got, e.Addr)
				}
				slices.Sort(got)
				if !slices.Equal(got, tt.want) {
					t.Errorf("expected %v, found %v", tt.want, got)
				}
			})
		})
	}
}
