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
	known map[string]int64
	// now is the clock for registries that cannot tell: then what was seen first is older.
	now func() int64
}

func newAges() *ages {
	return &ages{known: make(map[string]int64), now: func() int64 { return time.Now().UnixNano() }}
}

// recall takes the ages of an earlier process.
func (a *ages) recall(endpoints []discovery.Endpoint) {
	for _, e := range endpoints {
		if known, ok := a.known[e.Service]; e.Service != "" && e.Created > 0 && (!ok || e.Created < known) {
			a.known[e.Service] = e.Created
		}
	}
}

// apply returns the list with the ages of services. It forgets services that are not in the list.
// The list itself is not changed.
func (a *ages) apply(list []discovery.Endpoint) []discovery.Endpoint {
	next := make(map[string]int64)
	older := false
	for i := range list {
		e := &list[i]
		if e.Service == "" {
			continue
		}
		age, ok := next[e.Service]
		if !ok {
			age = a.known[e.Service]
		}
		created := e.Created
		if created == 0 && age == 0 {
			created = a.now()
		}
		if age == 0 || created > 0 && created < age {
			age = created
		}
		next[e.Service] = age
	}
	a.known = next
	for i := range list {
		older = older || list[i].Service != "" && list[i].Created != next[list[i].Service]
	}
	if !older {
		return list
	}
	list = slices.Clone(list)
	for i := range list {
		if list[i].Service != "" {
			list[i].Created = next[list[i].Service]
		}
	}
	return list
}
