package routes

import (
	"strings"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// fallback finds where calls go whose method is in no schema. It is immutable.
type fallback struct {
	exposure *Exposure
	policy   func(method string) frontend.Policy
	services map[string]*target // by the services of all schemas
	unknown  *target            // for services that no schema has; nil: calls fail
	// known are the methods of all schemas, exposed or not, by their name in lower case.
	known map[string]string
}

// target is a member that such calls go to.
type target struct {
	label string
	conn  grpc.ClientConnInterface
	owner any
}

// newFallback makes the fallback of a table. A new method goes where the rest of its service is. An
// unknown service goes to the only upstream, or to the only one whose schema is not known. It never
// goes to an upstream that a registry has named.
func newFallback(cfg *Config, members []Member) *fallback {
	f := &fallback{exposure: cfg.Exposure, policy: cfg.policySpelling, services: make(map[string]*target), known: make(map[string]string)}
	pending := 0
	alone := len(members) == 1 && !cfg.Open
	for i := range members {
		m := &members[i]
		to := &target{label: m.Label, conn: m.Conn, owner: cfg.owner(m.Label, "")}
		if m.Schema == nil {
			pending++
		}
		if m.Schema == nil && !m.Listed || alone {
			f.unknown = to
		}
		if m.Schema == nil {
			continue
		}
		for _, name := range m.Schema.Services() {
			if _, ok := f.services[name]; !ok {
				f.services[name] = to
			}
		}
		for _, sm := range m.Schema.Methods() {
			f.known[strings.ToLower(sm.Name)] = sm.Name
		}
	}
	if !alone && pending != 1 {
		f.unknown = nil
	}
	return f
}

// find returns the method of a path, or nil if its calls can go nowhere. The method has the name
// that was checked, so nothing else of the path leaves the gateway.
//
// A name that differs from a method of a schema in case only is refused: an exposed method is
// called by its own name.
func (f *fallback) find(path string) *frontend.Method {
	service, method, ok := splitPath(path)
	if !ok {
		return nil
	}
	checked := "/" + service + "/" + method
	name := checked[1:]
	folded := strings.ToLower(name)
	if known, ok := f.known[folded]; ok && known != name || !f.exposure.allowsSpelling(name, folded) {
		return nil
	}
	to := f.services[service]
	if to == nil {
		to = f.unknown
	}
	if to == nil {
		return nil
	}
	return &frontend.Method{
		Name: name, Path: checked, Upstream: to.label, Conn: to.conn,
		StreamDesc: grpc.StreamDesc{StreamName: method, ClientStreams: true, ServerStreams: true},
		Owner:      to.owner,
		Policy:     f.policy(name),
	}
}
