package routes

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-grpc/gateway/internal/httprule"
)

// maxNamed is how many upstreams or methods a text names. The rest are counted.
const maxNamed = 3

// pending decides about paths without a route while schemas are missing. If a pending schema may
// have the path the answer is 503, or else 404. It is immutable.
type pending struct {
	cfg      *Config
	services map[string]*target         // of the schemas that are known
	routes   *httprule.Router[struct{}] // routes of the config whose method is not known yet
	rules    bool                       // annotations may bring any path
}

// noteMissing keeps a route of the config whose method may be in a pending schema.
func (b *builder) noteMissing(r *Route) {
	if t, err := httprule.Parse(r.Template); err == nil {
		b.missing.Add(r.Method, t, struct{}{})
	}
}

// addPending sets what the table says while schemas are missing.
func (b *builder) addPending(services map[string]*target) {
	p := &pending{cfg: b.cfg, services: services}
	described := false // a schema is known
	var all []string
	for i := range b.out.members {
		m := &b.out.members[i]
		if m.Schema != nil {
			described = true
			continue
		}
		all = append(all, m.pendingText())
		p.rules = p.rules || b.cfg.Annotations && !m.Undescribed
	}
	// If all services describe themselves to nobody, every client shall learn that.
	p.rules = p.rules || b.cfg.Annotations && !described
	if len(all) == 0 {
		return
	}
	p.routes, _ = b.missing.Build()
	b.out.Pending = strings.Join(all[:min(len(all), maxNamed)], "; ")
	if more := len(all) - maxNamed; more > 0 {
		b.out.Pending += fmt.Sprintf("; and %d more", more)
	}
	b.out.PendingName, b.out.PendingRoute = p.name, p.route
}

// pendingText names the upstream, unless its name is an address, which clients need not know.
func (m *Member) pendingText() string {
	if strings.ContainsAny(m.Label, ":/") {
		return m.Pending
	}
	return m.Label + ": " + m.Pending
}

// name is frontend.Table.PendingName.
func (p *pending) name(path string) bool {
	service, method, ok := splitPath(path)
	if !ok || !p.cfg.RPC || p.services[service] != nil {
		return false
	}
	name := service + "/" + method
	return p.cfg.Exposure.allowsSpelling(name, strings.ToLower(name))
}

// route is frontend.Table.PendingRoute. A path that has the name of a package is judged as a
// method's. A path without a package, such as /v1/books, can be a method's, too, but then it is
// called by POST. While the annotations of a service are not known, every other path may be one of
// its routes.
func (p *pending) route(method, path string) bool {
	if len(p.routes.Allowed(path)) > 0 {
		return true
	}
	service, _, ok := splitPath(path)
	packaged := ok && strings.Contains(service, ".")
	switch {
	case packaged || ok && p.services[service] != nil:
		return p.name(path)
	case method == http.MethodPost && p.name(path):
		return true
	default:
		return p.rules
	}
}

// PendingUpstreams returns the labels of the upstreams whose schema is not known yet.
func (t *Table) PendingUpstreams() []string {
	var labels []string
	for i := range t.members {
		if t.members[i].Schema == nil {
			labels = append(labels, t.members[i].Label)
		}
	}
	return labels
}
