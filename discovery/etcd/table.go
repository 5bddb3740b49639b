package etcd

import (
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/caddy-grpc/gateway/discovery"
)

// table is what is known of the keys under a prefix. It is for one goroutine.
type table struct {
	layout  Layout
	prefix  string
	entries map[string]entry

	// touched has the revision of each change since a list was asked for; nil while none is under way.
	touched map[string]int64
	// news are entries that were found unusable since the last call of takeNews.
	news []discovery.Skipped
}

// entry is one key: either endpoints, or why there are none.
type entry struct {
	revision  int64 // of the last change of the key
	lease     int64 // an instance that registers anew does so with another one
	value     string
	endpoints []discovery.Endpoint
	reason    string
}

func newTable(prefix string, layout Layout) *table {
	return &table{layout: layout, prefix: prefix, entries: make(map[string]entry)}
}

// put records a value and reports whether that changes anything but the revision.
func (t *table) put(kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	if t.touched != nil {
		t.touched[key] = kv.ModRevision
	}
	next, changed := t.read(key, kv)
	t.entries[key] = next
	return changed
}

// read makes the entry for a key-value pair, and reports whether it differs from the present one.
func (t *table) read(key string, kv *mvccpb.KeyValue) (entry, bool) {
	old, known := t.entries[key]
	if known && old.value == string(kv.Value) && old.lease == kv.Lease { // a heartbeat that writes the same value again
		old.revision = kv.ModRevision
		return old, false
	}
	next := entry{revision: kv.ModRevision, lease: kv.Lease, value: string(kv.Value)}
	endpoints, err := t.layout.Parse(t.prefix, key, next.value)
	if err != nil {
		next.reason = err.Error()
		if old.reason != next.reason {
			t.news = append(t.news, discovery.Skipped{ID: key, Reason: next.reason})
		}
	} else {
		for i := range endpoints {
			endpoints[i].Registration = kv.Lease
		}
		next.endpoints = endpoints
	}
	return next, true
}

// remove forgets a key and reports whether it was known.
func (t *table) remove(key string, revision int64) bool {
	if t.touched != nil {
		t.touched[key] = revision
	}
	_, known := t.entries[key]
	delete(t.entries, key)
	return known
}

// replace takes over a list made at a revision, and reports whether that changes anything. Changes that were seen meanwhile and are
// newer than the list (see expectList) stay.
func (t *table) replace(kvs []*mvccpb.KeyValue, revision int64) bool {
	changed := false
	next := make(map[string]entry, len(kvs))
	for _, kv := range kvs {
		key := string(kv.Key)
		e, differs := t.read(key, kv)
		next[key] = e
		changed = changed || differs
	}
	for key, at := range t.touched {
		if at <= revision {
			continue
		}
		if e, ok := t.entries[key]; ok {
			next[key] = e
		} else {
			delete(next, key)
		}
	}
	t.touched = nil
	if !changed {
		for key := range t.entries {
			if _, ok := next[key]; !ok {
				changed = true
				break
			}
		}
	}
	t.entries = next
	return changed
}

// expectList is called before a list is asked for while changes come in, and forgetList when there will be none.
func (t *table) expectList() { t.touched = make(map[string]int64) }
func (t *table) forgetList() { t.touched = nil }

// takeNews are the entries that became unusable since the last call.
func (t *table) takeNews() []discovery.Skipped {
	news := t.news
	t.news = nil
	return news
}

// lists are the endpoints and the skipped entries, sorted by ID, in slices of their own.
func (t *table) lists() ([]discovery.Endpoint, []discovery.Skipped) {
	endpoints := make([]discovery.Endpoint, 0, len(t.entries))
	var skipped []discovery.Skipped
	for _, key := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[key]
		endpoints = append(endpoints, e.endpoints...)
		if e.reason != "" {
			skipped = append(skipped, discovery.Skipped{ID: key, Reason: e.reason})
		}
	}
	// Entries with several endpoints have IDs that may not sort like their keys.
	slices.SortStableFunc(endpoints, func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) })
	return endpoints, skipped
}
