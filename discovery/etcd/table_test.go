package etcd

import (
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// An instance that registers again under its key with the same value is told from one whose
// registry
// writes the value again to keep it.
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

// Lists are sorted by key, whatever comes and goes between two of them.
func TestListsAreSortedWhateverComesAndGoes(t *testing.T) {
	put := func(t *table, key string) {
		t.put(&mvccpb.KeyValue{Key: []byte("user/" + key), Value: []byte(key + ":1"), ModRevision: 5})
	}
	remove := func(t *table, key string) { t.remove("user/"+key, 6) }
	for name, tt := range map[string]struct {
		change func(*table)
		want   []string
	}{
		"nothing":                      {func(*table) {}, []string{"b", "d", "f"}},
		"between, before and after":    {func(t *table) { put(t, "g"); put(t, "a"); put(t, "c"); put(t, "e") }, []string{"a", "b", "c", "d", "e", "f", "g"}},
		"first and last gone":          {func(t *table) { remove(t, "f"); remove(t, "b") }, []string{"d"}},
		"all gone":                     {func(t *table) { remove(t, "b"); remove(t, "d"); remove(t, "f") }, nil},
		"gone and back":                {func(t *table) { remove(t, "d"); put(t, "d") }, []string{"b", "d", "f"}},
		"come and gone":                {func(t *table) { put(t, "c"); remove(t, "c") }, []string{"b", "d", "f"}},
		"come, gone and back":          {func(t *table) { put(t, "c"); remove(t, "c"); put(t, "c") }, []string{"b", "c", "d", "f"}},
		"a value again":                {func(t *table) { put(t, "d") }, []string{"b", "d", "f"}},
		"unknown gone":                 {func(t *table) { remove(t, "x") }, []string{"b", "d", "f"}},
		"one comes, a list, one comes": {func(t *table) { put(t, "c"); t.lists(); put(t, "a") }, []string{"a", "b", "c", "d", "f"}},
		"another list of all": {func(t *table) {
			put(t, "a")
			t.replace([]*mvccpb.KeyValue{{Key: []byte("user/f"), Value: []byte("f:1")}, {Key: []byte("user/c"), Value: []byte("c:1")}}, 9)
			put(t, "d")
		}, []string{"c", "d", "f"}},
	} {
		t.Run(name, func(t *testing.T) {
			tab := newTable("user/", LayoutAuto)
			for _, key := range []string{"f", "b", "d"} {
				put(tab, key)
			}
			tab.lists()
			tt.change(tab)
			for range 2 { // the second time nothing is new
				endpoints, _ := tab.lists()
				var got []string
				for _, e := range endpoints {
					got = append(got, strings.TrimPrefix(e.ID, "user/"))
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
				// The endpoints are sorted in any case; that this costs little depends on the
				// entries.
				if !slices.IsSortedFunc(tab.order, func(a, b *entry) int { return strings.Compare(a.key, b.key) }) {
					t.Error("the entries are not sorted")
				}
			}
		})
	}
}
