package snapshot

import (
	"slices"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
)

// ages remembers since when the services of a catalog are there. Endpoint.Created is the age of one
// registration. If all instances of a service register again, as in a rolling restart, the service
// would become younger than another one that wants its methods. So an endpoint is published with
// the age of its service, which is that of the oldest registration since the service came.
//
// The ages are in the file, with the endpoints, and so they outlive a restart of the gateway.
type ages struct {
	known map[string]age
	now   func() time.Time
}

// age is since when a service is there.
type age struct {
	created int64
	// gone is since when the list does not have the service. Zero: it has.
	gone time.Time
}

// forgetAfter is how long the age of a service is kept after its last instance has gone. A service
// that restarts with all of its instances at once does not become younger.
const forgetAfter = time.Minute

func newAges() *ages { return &ages{known: make(map[string]age), now: time.Now} }

// recall takes the ages of an earlier process.
func (a *ages) recall(endpoints []discovery.Endpoint) {
	for _, e := range endpoints {
		known, ok := a.known[e.Service]
		if e.Service != "" && e.Created > 0 && (!ok || e.Created < known.created) {
			a.known[e.Service] = age{created: e.Created, gone: a.now()}
		}
	}
}

// apply returns the list with the ages of services. The list itself is not changed.
//
// The registry may not know how old its registrations are. Then what was seen first is older.
func (a *ages) apply(list []discovery.Endpoint) []discovery.Endpoint {
	now := a.now()
	present := make(map[string]int64)
	for i := range list {
		e := &list[i]
		if e.Service == "" {
			continue
		}
		oldest, seen := present[e.Service]
		if !seen {
			oldest = a.known[e.Service].created
		}
		created := e.Created
		if created == 0 && oldest == 0 {
			created = now.UnixNano()
		}
		if oldest == 0 || created > 0 && created < oldest {
			oldest = created
		}
		present[e.Service] = oldest
	}
	a.note(present, now)
	different := func(e discovery.Endpoint) bool { return e.Service != "" && e.Created != present[e.Service] }
	if !slices.ContainsFunc(list, different) {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		if list[i].Service != "" {
			list[i].Created = present[list[i].Service]
		}
	}
	return list
}

// note remembers the services that are there, and forgets those that have been gone for too long.
func (a *ages) note(present map[string]int64, now time.Time) {
	for service, known := range a.known {
		if _, ok := present[service]; ok {
			continue
		}
		if known.gone.IsZero() {
			known.gone = now
			a.known[service] = known
		}
		if now.Sub(known.gone) > forgetAfter {
			delete(a.known, service)
		}
	}
	for service, created := range present {
		a.known[service] = age{created: created}
	}
}
