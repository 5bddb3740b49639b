package routes

import (
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// addLocal makes the services of the gateway itself callable. They were asked for, so expose and
// hide do not hold for them.
func (b *builder) addLocal() {
	for _, m := range b.cfg.Local {
		b.out.Methods[m.Path] = m
		b.out.Views = slices.DeleteFunc(b.out.Views, func(r View) bool { return r.Source == SourceRPC && r.RPC == m.Name })
		b.out.Views = append(b.out.Views, View{
			Method: "POST", Template: m.Path, RPC: m.Name, Upstream: m.Upstream, Source: SourceGateway, Body: "*", Streams: streams(m.Desc),
		})
	}
}

// newFallback finds where calls go that no schema describes: a new method goes where the rest of
// its service is; a service that is not known goes to the only upstream, or to the only one whose
// schema is not known. nil when such calls could go nowhere.
func newFallback(cfg *Config, members []Member) func(path string) *frontend.Method {
	services := make(map[string]*Member)
	var unknown *Member // where unknown services go
	unnamed := make(map[string]any, len(members))
	open := 0 // how many members they could go to
	for i := range members {
		m := &members[i]
		unnamed[m.Label] = cfg.owner(m.Label, "")
		if m.Schema == nil {
			unknown = m
			open++
			continue
		}
		for _, name := range serviceNames(m.Schema) {
			if _, ok := services[name]; !ok {
				services[name] = m
			}
		}
	}
	switch {
	case len(members) == 1:
		unknown = &members[0]
	case open != 1:
		unknown = nil
	}
	return func(path string) *frontend.Method {
		name := strings.TrimPrefix(path, "/")
		service, method, ok := strings.Cut(name, "/")
		if !ok || service == "" || method == "" || strings.Contains(method, "/") || !cfg.Exposure.Allows(name) {
			return nil
		}
		m, ok := services[service]
		if !ok {
			m = unknown
		}
		if m == nil {
			return nil
		}
		return &frontend.Method{
			Name: name, Path: path, Upstream: m.Label, Conn: m.Conn,
			StreamDesc: grpc.StreamDesc{StreamName: method, ClientStreams: true, ServerStreams: true},
			Owner:      unnamed[m.Label],
		}
	}
}

func serviceNames(s *schema.Schema) []string {
	var names []string
	for _, m := range s.Methods() {
		service, _, _ := strings.Cut(m.Name, "/")
		if n := len(names); n == 0 || names[n-1] != service {
			names = append(names, service)
		}
	}
	return names
}
