package etcd

import (
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// An instance that registers anew under its key with the same value is told from one whose registry writes the value again to keep it.
func TestAFreshRegistrationIsToldFromAHeartbeat(t *testing.T) {
	for name, tt := range map[string]struct {
		second  *mvccpb.KeyValue
		changed bool
	}{
		"heartbeat":         {&mvccpb.KeyValue{Value: []byte("a:1"), ModRevision: 9, Lease: 7}, false},
		"another lease":     {&mvccpb.KeyValue{Value: []byte("a:1"), ModRevision: 9, Lease: 8}, true},
		"another value":     {&mvccpb.KeyValue{Value: []byte("b:1"), ModRevision: 9, Lease: 7}, true},
		"no lease any more": {&mvccpb.KeyValue{Value: []byte("a:1"), ModRevision: 9}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tab := newTable("user/", LayoutAuto)
			tab.put(&mvccpb.KeyValue{Key: []byte("user/1"), Value: []byte("a:1"), ModRevision: 5, Lease: 7})
			first, _ := tab.lists()
			tt.second.Key = []byte("user/1")
			if changed := tab.put(tt.second); changed != tt.changed {
				t.Errorf("changed is %v, want %v", changed, tt.changed)
			}
			second, _ := tab.lists()
			if len(first) != 1 || first[0].Registration != 7 {
				t.Errorf("first list is %+v; what was published is not written to", first)
			}
			if len(second) != 1 || second[0].Registration != tt.second.Lease {
				t.Errorf("second list is %+v", second)
			}
			if got := tab.entries["user/1"].revision; got != 9 {
				t.Errorf("revision is %d", got)
			}
		})
	}
}
