package etcd

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/caddy-grpc/gateway/discovery"
)

// table holds the keys under a prefix. It is for one goroutine.
type table struct {
	layout  Layout
	prefix  string
	catalog bool // the entries are those of many services
	entries map[string]*entry

	// order has the entries of the last call of lists, sorted by key, including those that are gone
	// since. fresh has those that came since.
	order, fresh []*entry

	// touched has the revision of each change since a list was asked for. It is nil if no list was.
	touched map[string]int64
	// withdrawn has the entries that somebody has deleted on purpose.
	withdrawn map[string]withdrawal
	// news are entries that were found unusable since the last call of takeNews.
	news []discovery.Skipped
}

// entry is one key: either endpoints, or why there are none.
type entry struct {
	key       string
	gone      bool  // it is no longer in the table
	revision  int64 // of the last change of the key
	lease     int64 // an instance that registers again has another one
	value     string
	endpoints []discovery.Endpoint
	reason    string
}

func newTable(prefix string, layout Layout) *table {
	return &table{layout: layout, prefix: prefix, entries: make(map[string]*entry), withdrawn: make(map[string]withdrawal)}
}

// put records a value and reports whether that changes anything but the revision.
func (t *table) put(kv *mvccpb.KeyValue) bool {
	key := string(kv.Key)
	if t.touched != nil {
		t.touched[key] = kv.ModRevision
	}
	next, changed := t.read(key, kv)
	if old := t.entries[key]; old != nil {
		*old = next
		return changed
	}
	t.entries[key] = &next
	t.fresh = append(t.fresh, &next)
	return changed
}

// read makes the entry for a key-value pair, and reports whether it differs from the present one.
func (t *table) read(key string, kv *mvccpb.KeyValue) (entry, bool) {
	var old entry
	if known := t.entries[key]; known != nil {
		old = *known
		// A heartbeat may write the same value again.
		if old.value == string(kv.Value) && old.lease == kv.Lease {
			old.revision = kv.ModRevision
			return old, false
		}
	}
	next := entry{key: key, revision: kv.ModRevision, lease: kv.Lease, value: string(kv.Value)}
	endpoints, err := t.parse(key, next.value)
	if err != nil {
		next.reason = err.Error()
		if old.reason != next.reason {
			t.news = append(t.news, discovery.Skipped{ID: key, Reason: next.reason})
		}
	} else {
		for i := range endpoints {
			endpoints[i].Registration = kv.Lease
			if t.catalog {
				endpoints[i].Created = kv.CreateRevision
			}
		}
		next.endpoints = endpoints
	}
	return next, true
}

// parse reads one registration.
func (t *table) parse(key, value string) ([]discovery.Endpoint, error) {
	if t.catalog {
		return t.layout.ParseService(t.prefix, key, value)
	}
	return t.layout.Parse(t.prefix, key, value)
}

// remove forgets a key and reports whether it was known.
func (t *table) remove(key string, revision int64) bool {
	if t.touched != nil {
		t.touched[key] = revision
	}
	e := t.entries[key]
	if e == nil {
		return false
	}
	e.gone = true
	delete(t.entries, key)
	return true
}

// withdrawnFor is how long a withdrawal is published. It reaches the pool within a second.
const withdrawnFor = time.Minute

// withdrawal is an entry that was deleted on purpose.
type withdrawal struct {
	endpoints []discovery.Endpoint
	at        time.Time
}

// withdraw notes that an entry, which is no longer in the table, was deleted on purpose.
func (t *table) withdraw(e *entry, now time.Time) {
	t.withdrawn[e.key] = withdrawal{e.endpoints, now}
}

// takenOut are the endpoints of entries that were deleted on purpose lately, and are not there
// again.
func (t *table) takenOut(now time.Time) []discovery.Endpoint {
	var out []discovery.Endpoint
	for key, w := range t.withdrawn {
		if t.entries[key] != nil || now.Sub(w.at) > withdrawnFor {
			delete(t.withdrawn, key)
			continue
		}
		out = append(out, w.endpoints...)
	}
	return out
}

// replace takes over a list of a revision, and reports whether that changes anything. Changes that
// were seen meanwhile and are newer than the list stay, see expectList.
func (t *table) replace(kvs []*mvccpb.KeyValue, revision int64) bool {
	changed := false
	next := make(map[string]*entry, len(kvs))
	for _, kv := range kvs {
		key := string(kv.Key)
		e, differs := t.read(key, kv)
		next[key] = &e
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
	t.entries, t.order, t.fresh = next, nil, slices.Collect(maps.Values(next))
	return changed
}

// expectList is called before a list is asked for while changes come in, and forgetList when there
// will be none.
func (t *table) expectList() { t.touched = make(map[string]int64) }
func (t *table) forgetList() { t.touched = nil }

// takeNews are the entries that became unusable since the last call.
func (t *table) takeNews() []discovery.Skipped {
	news := t.news
	t.news = nil
	return news
}

// lists returns the endpoints and the skipped entries, sorted by ID, in new slices.
func (t *table) lists() ([]discovery.Endpoint, []discovery.Skipped) {
	t.sort()
	endpoints := make([]discovery.Endpoint, 0, len(t.order))
	var skipped []discovery.Skipped
	for _, e := range t.order {
		endpoints = append(endpoints, e.endpoints...)
		if e.reason != "" {
			skipped = append(skipped, discovery.Skipped{ID: e.key, Reason: e.reason})
		}
	}
	// Entries with several endpoints have IDs that may not sort like their keys.
	byID := func(a, b discovery.Endpoint) int { return strings.Compare(a.ID, b.ID) }
	if !slices.IsSortedFunc(endpoints, byID) {
		slices.SortStableFunc(endpoints, byID)
	}
	return endpoints, skipped
}

// sort brings order up to date. While thousands register, each list has a few new entries. Only
// these are sorted, and merged into the others.
func (t *table) sort() {
	gone := func(e *entry) bool { return e.gone }
	t.order, t.fresh = slices.DeleteFunc(t.order, gone), slices.DeleteFunc(t.fresh, gone)
	slices.SortFunc(t.fresh, func(a, b *entry) int { return strings.Compare(a.key, b.key) })
	// From the end, so that there is room for what moves up.
	i, j := len(t.order)-1, len(t.fresh)-1
	t.order = append(t.order, t.fresh...)
	for k := len(t.order) - 1; j >= 0; k-- {
		if i >= 0 && t.order[i].key > t.fresh[j].key {
			t.order[k], i = t.order[i], i-1
		} else {
			t.order[k], j = t.fresh[j], j-1
		}
	}
	t.fresh = nil
}
