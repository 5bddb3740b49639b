package module

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
)

// sayf is fmt.Fprintf for a terminal: it makes the texts among args printable, because services and
// registries choose many of them.
func sayf(w io.Writer, format string, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			args[i] = discovery.Printable(v)
		case error:
			args[i] = discovery.Printable(v.Error())
		case fmt.Stringer:
			args[i] = discovery.Printable(v.String())
		}
	}
	fmt.Fprintf(w, format, args...)
}

// printRoutes writes the tables for people.
func printRoutes(w io.Writer, handlers []HandlerView) error {
	if len(handlers) == 0 {
		_, err := fmt.Fprintln(w, "There is no grpc_gateway handler.")
		return err
	}
	for i := range handlers {
		if err := printHandler(w, &handlers[i]); err != nil {
			return err
		}
	}
	return nil
}

func printHandler(w io.Writer, h *HandlerView) error {
	sayf(w, "Handler for %s\n", strings.Join(h.Upstreams, ", "))
	for _, p := range h.PendingUpstreams {
		sayf(w, "! not complete: the methods of %s are not known since %s: %s\n", p.Upstream, p.Since.Format(time.DateTime), p.Reason)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "METHOD\tTEMPLATE\tRPC\tUPSTREAM\tFROM\t")
	for i := range h.Routes {
		r := &h.Routes[i]
		note := ""
		if r.ShadowedBy != "" {
			note = "shadowed by " + r.ShadowedBy
		}
		sayf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Method, r.Template, r.RPC, r.Upstream, r.Source, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, p := range h.Problems {
		sayf(w, "! %s\n", p)
	}
	_, err := fmt.Fprintln(w)
	return err
}

// printUpstreams writes the upstreams for people.
func printUpstreams(w io.Writer, upstreams []UpstreamView, now time.Time) error {
	if len(upstreams) == 0 {
		_, err := fmt.Fprintln(w, "There is no upstream.")
		return err
	}
	for i := range upstreams {
		if err := printUpstream(w, &upstreams[i], now); err != nil {
			return err
		}
	}
	return nil
}

func printUpstream(w io.Writer, u *UpstreamView, now time.Time) error {
	sayf(w, "%s  (%s)\n", u.Name, u.Target)
	if u.Down != "" {
		sayf(w, "  ! out for %s: %s\n", ago(u.DownSince, now), u.Down)
	}
	sayf(w, "  registry: %s\n", describeRegistry(&u.Registry, now))
	for _, s := range u.Registry.Skipped {
		sayf(w, "  ! skipped %s: %s\n", s.ID, s.Reason)
	}
	for _, r := range u.Refused {
		sayf(w, "  ! refused %s (%s): %s\n", r.Address, r.ID, r.Reason)
	}
	sayf(w, "  schema: %s\n", describeSchema(&u.Schema))
	if u.Subset != nil {
		sayf(w, "  subset: %d of %d instances are used\n", u.Subset.InUse, u.Subset.Known)
	}
	if u.Held > 0 {
		sayf(w, "  ! instances held although the registry does not have them any more: %d\n", u.Held)
	}
	sayf(w, "  calls in flight: %d\n", u.Leases)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  ADDRESS\tSTATE\tSINCE\tCONNS\tIN-FLIGHT\tPICKS\tFAILURES\tWEIGHT\tLAST ERROR")
	for i := range u.Endpoints {
		e := &u.Endpoints[i]
		sayf(t, "  %s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", e.Address, e.State, ago(e.Since, now), e.Connections, e.InFlight, e.Picks,
			e.Failures, e.Weight, whyNot(e, now))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// whyNot says why an instance gets no calls, and how old that is.
func whyNot(e *pool.EndpointSnapshot, now time.Time) string {
	if e.State == pool.StateUnhealthy {
		return "health check: " + e.Health
	}
	if e.LastError == "" || e.LastErrorAt.IsZero() {
		return e.LastError
	}
	return e.LastError + " (" + ago(e.LastErrorAt, now) + " ago)"
}

func describeRegistry(r *RegistryView, now time.Time) string {
	state := "not read yet"
	switch {
	case r.Snapshot != nil:
		state = "stale, from the snapshot on disk of " + ago(*r.Snapshot, now) + " ago"
	case r.Synced && r.Stale:
		state = "stale"
	case r.Synced:
		state = "in sync"
	}
	s := fmt.Sprintf("%s, instances: %d", state, r.Instances)
	if r.LastContact != nil {
		s += ", last contact " + ago(*r.LastContact, now) + " ago"
	}
	if r.Error != "" {
		s += ", error: " + r.Error
	}
	return s
}

func describeSchema(s *SchemaView) string {
	out := fmt.Sprintf("%s, services: %s, methods: %d", s.Source, cmp.Or(strings.Join(s.Services, " "), "none known"), s.Methods)
	if s.LastError != "" {
		out += ", error: " + s.LastError
	}
	return out
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return now.Sub(t).Round(time.Second).String()
}

// printCatalogs writes the catalogs for people.
func printCatalogs(w io.Writer, catalogs []CatalogView, now time.Time) error {
	if len(catalogs) == 0 {
		_, err := fmt.Fprintln(w, "There is no catalog.")
		return err
	}
	for i := range catalogs {
		if err := printCatalog(w, &catalogs[i], now); err != nil {
			return err
		}
	}
	return nil
}

func printCatalog(w io.Writer, c *CatalogView, now time.Time) error {
	sayf(w, "%s  (%s)\n", c.Name, c.Target)
	sayf(w, "  registry: %s\n", describeRegistry(&c.Registry, now))
	sayf(w, "  services: %d listed, %d left out by include, exclude and require, at most %d open\n", len(c.Services), c.LeftOut, c.Limit)
	for _, s := range c.Registry.Skipped {
		sayf(w, "  ! skipped %s: %s\n", s.ID, s.Reason)
	}
	if more := c.SkippedEntries - len(c.Registry.Skipped); more > 0 {
		sayf(w, "  ! and %d more entries that cannot be used\n", more)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  SERVICE\tSTATE\tINSTANCES\tMETHODS\tREASON")
	for i := range c.Services {
		s := &c.Services[i]
		state := s.State
		if s.Resting {
			state += " (resting)"
		}
		sayf(t, "  %s\t%s\t%d\t%d\t%s\n", s.Name, state, s.Instances, s.Methods, s.Reason)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range c.Services {
		for _, p := range c.Services[i].Problems {
			sayf(w, "  ! %s: %s\n", c.Services[i].Name, p)
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}
