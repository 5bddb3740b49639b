package module

import (
	"fmt"
	"slices"
	"time"
)

// maxSkippedShown is how many unusable entries of a registry a view of a catalog lists. The rest
// are counted.
const maxSkippedShown = 100

// CatalogView is a catalog as the admin API shows it. Its JSON is public.
type CatalogView struct {
	Name string `json:"name"`
	// Target is the ID of the registry.
	Target   string       `json:"target"`
	Registry RegistryView `json:"registry"`
	// SkippedEntries is the number of entries of the registry that cannot be used. The registry's
	// view lists the first 100.
	SkippedEntries int `json:"skipped_entries"`
	// Limit is how many services are open at most.
	Limit int `json:"limit"`
	// LeftOut is the number of services that `include`, `exclude` and `require` leave out.
	LeftOut int `json:"left_out"`
	// Services are those that the catalog has opened, or would, oldest first.
	Services []ServiceView `json:"services"`
}

// ServiceView is a service of a catalog as the admin API shows it. Its JSON is public.
type ServiceView struct {
	Name string `json:"name"`
	// Upstream is the name of its upstream. It is absent if the service is not open.
	Upstream string `json:"upstream,omitempty"`
	// State is `serving`, `reading`, `failed`, `leaving` or `waiting`. docs/catalog.md explains
	// them.
	State string `json:"state"`
	// Reason says why the service cannot be called.
	Reason string `json:"reason,omitempty"`
	// Created is the registry's number for the age of the service. Of two services with the same
	// method, the one with the smaller number keeps it.
	Created int64 `json:"created,omitempty"`
	// Opened is when this gateway opened the service, or when it was configured anew.
	Opened *time.Time `json:"opened,omitempty"`
	// Instances is the number of registered instances.
	Instances int `json:"instances"`
	// Resting says that one instance is connected only, because there are no calls.
	Resting bool `json:"resting,omitempty"`
	// GRPCServices and Methods are what the service has.
	GRPCServices []string `json:"grpc_services,omitempty"`
	Methods      int      `json:"methods,omitempty"`
	// Problems are methods and routes that others keep, and those that do not work as written.
	Problems []string `json:"problems,omitempty"`
}

// catalogViews returns the catalogs of the config in force.
func (a *App) catalogViews() []CatalogView {
	problems := a.problemsByUpstream()
	views := []CatalogView{}
	for _, c := range a.catalogs {
		views = append(views, c.view(problems))
	}
	return views
}

// problemsByUpstream returns what does not work in the tables of all handlers.
func (a *App) problemsByUpstream() map[string][]string {
	all := make(map[string][]string)
	for _, h := range a.handlers {
		for _, p := range h.routing.table.Load().Problems {
			if text := p.String(); !slices.Contains(all[p.Upstream], text) {
				all[p.Upstream] = append(all[p.Upstream], text)
			}
		}
	}
	return all
}

func (c *catalog) view(problems map[string][]string) CatalogView {
	skipped := c.feed.division.skipped()
	v := CatalogView{Name: c.name, Target: c.feed.key, SkippedEntries: len(skipped), Limit: c.limit, Services: []ServiceView{}}
	state := c.feed.state()
	state.Skipped = skipped[:min(len(skipped), maxSkippedShown)]
	v.Registry = registryView(state)
	all, _ := c.feed.division.all()
	instances := make(map[string]int, len(all))
	for _, l := range all {
		instances[l.name] = len(l.endpoints)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	v.LeftOut = c.left
	for _, s := range c.order {
		sv := s.view()
		sv.Instances, sv.Problems = instances[s.name], problems[sv.Upstream]
		v.Services = append(v.Services, sv)
	}
	for _, l := range c.waiting {
		v.Services = append(v.Services, ServiceView{
			Name: l.name, State: serviceWaiting, Created: l.created, Instances: len(l.endpoints),
			Reason: fmt.Sprintf("the limit of %d services is reached", c.limit),
		})
	}
	return v
}

func (s *service) view() ServiceView {
	state, reason := s.status()
	known := s.upstream.schema.view()
	return ServiceView{
		Name: s.name, Upstream: s.upstream.label(), State: state, Reason: reason, Created: s.created, Opened: &s.opened,
		Resting: s.upstream.channel.idleness.resting.Load(), GRPCServices: known.Services, Methods: known.Methods,
	}
}
