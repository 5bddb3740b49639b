package module

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-grpc/gateway/internal/routes"
)

// noSuch is the error of a name that nothing has. there lists the names that there are.
func noSuch(what, name string, there []string) error {
	slices.Sort(there)
	there = slices.Compact(there)
	if len(there) == 0 {
		return &commandError{exitNoSuchName, fmt.Errorf("%s %q: there are none at all", what, name)}
	}
	return &commandError{exitNoSuchName, fmt.Errorf("there is no %s %q: expected one of %s", what, name, some(there, ", "))}
}

// chooseUpstreams returns the upstreams with the names. A pool that drains has the name of its
// upstream.
func chooseUpstreams(all []UpstreamView, names []string) (chosen []UpstreamView, err error) {
	var there []string
	for i := range all {
		there = append(there, all[i].Name)
		if slices.Contains(names, all[i].Name) {
			chosen = append(chosen, all[i])
		}
	}
	for _, name := range names {
		if !slices.Contains(there, name) {
			return nil, noSuch("upstream", name, there)
		}
	}
	return chosen, nil
}

// chooseCatalogs returns the catalogs with the names. A catalog without one of the names has only
// its services with one of the names, if there are any.
func chooseCatalogs(all []CatalogView, names []string) (chosen []CatalogView, err error) {
	var catalogs, services []string
	for _, c := range all {
		catalogs = append(catalogs, c.Name)
		var named []ServiceView
		for i := range c.Services {
			services = append(services, c.Services[i].Name)
			if slices.Contains(names, c.Services[i].Name) {
				named = append(named, c.Services[i])
			}
		}
		if !slices.Contains(names, c.Name) {
			if len(named) == 0 {
				continue
			}
			c.Services = named
		}
		chosen = append(chosen, c)
	}
	there := slices.Concat(catalogs, services)
	for _, name := range names {
		if !slices.Contains(there, name) {
			return nil, noSuch("catalog or service", name, there)
		}
	}
	return chosen, nil
}

// chooseRoutes returns the routes and problems of methods that match one of the patterns. Handlers
// without any are left out.
func chooseRoutes(all []HandlerView, patterns []string) (chosen []HandlerView, err error) {
	for i, p := range patterns {
		patterns[i] = strings.TrimPrefix(p, "/")
		if err := routes.CheckPattern(patterns[i]); err != nil {
			return nil, err
		}
	}
	var methods []string
	for _, h := range all {
		for i := range h.Routes {
			methods = append(methods, h.Routes[i].RPC)
		}
		for _, p := range h.Problems {
			if p.RPC != "" {
				methods = append(methods, p.RPC)
			}
		}
		h.Routes = slices.DeleteFunc(slices.Clone(h.Routes), func(r RouteView) bool { return !routes.Matches(patterns, r.RPC) })
		h.Problems = slices.DeleteFunc(slices.Clone(h.Problems), func(p Problem) bool { return !routes.Matches(patterns, p.RPC) })
		if len(h.Routes)+len(h.Problems) > 0 {
			chosen = append(chosen, h)
		}
	}
	for _, p := range patterns {
		if !slices.ContainsFunc(methods, func(method string) bool { return routes.Matches([]string{p}, method) }) {
			return nil, noSuchMethod(p, methods, all)
		}
	}
	return chosen, nil
}

// noSuchMethod is the error of a pattern that matches no method. It tells of upstreams whose
// methods are not known.
func noSuchMethod(pattern string, methods []string, all []HandlerView) error {
	what, there := "service", methods
	if strings.Contains(pattern, "/") {
		what = "method"
	} else {
		for i, m := range there {
			there[i], _, _ = strings.Cut(m, "/")
		}
	}
	err := noSuch(what, pattern, there)
	var pending []string
	for _, h := range all {
		for _, p := range h.PendingUpstreams {
			pending = append(pending, p.Upstream)
		}
	}
	if len(pending) > 0 {
		err = &commandError{exitNoSuchName, fmt.Errorf("%w; the methods of %s are not known yet", err, some(pending, ", "))}
	}
	return err
}
