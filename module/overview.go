package module

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/pool"
)

const (
	// maxInstancesShown is how many instances the overview lists of the service that was asked for.
	maxInstancesShown = 100
	// maxProblemsShown is how many problems of routes the overview lists.
	maxProblemsShown = 100
)

// Overview is everything that the page shows, in one answer: the services without their instances,
// and one service with them if it was asked for. Its JSON is made for the page and may change. It
// has no time that passes by itself, so it stays the same while nothing happens.
type Overview struct {
	// Services are the upstreams of the config in force.
	Services []OverviewService `json:"services"`
	// Draining are pools of earlier configs.
	Draining []OverviewDraining `json:"draining,omitempty"`
	Catalogs []OverviewCatalog  `json:"catalogs,omitempty"`
	Routes   OverviewRoutes     `json:"routes"`
	// Detail is the upstream that was asked for. It is absent if there is none.
	Detail *OverviewDetail `json:"detail,omitempty"`
}

// OverviewService is an upstream in short.
type OverviewService struct {
	Name     string           `json:"name"`
	Registry OverviewRegistry `json:"registry"`
	Schema   OverviewSchema   `json:"schema"`
	// States counts the instances in each state.
	States map[pool.State]int `json:"states"`
	// Worst is an instance that needs a look. It is absent if there is none.
	Worst     *OverviewInstance `json:"worst,omitempty"`
	Leases    int               `json:"leases"`
	Picks     uint64            `json:"picks"`
	Failures  uint64            `json:"failures"`
	Down      string            `json:"down,omitempty"`
	DownSince time.Time         `json:"down_since,omitzero"`
	Held      int               `json:"held,omitempty"`
	// Refused counts the instances that are not connected because of their address.
	Refused int `json:"refused,omitempty"`
}

// OverviewRegistry is the state of a registry in short.
type OverviewRegistry struct {
	Synced   bool       `json:"synced"`
	Stale    bool       `json:"stale,omitempty"`
	Snapshot *time.Time `json:"snapshot,omitempty"`
	// LastContact is absent while all is well, because it would change all the time.
	LastContact *time.Time `json:"last_contact,omitempty"`
	Error       string     `json:"error,omitempty"`
	// Skipped counts the entries that cannot be used.
	Skipped int `json:"skipped,omitempty"`
}

// OverviewSchema is the state of a schema in short.
type OverviewSchema struct {
	Source    string `json:"source"`
	Loaded    bool   `json:"loaded"`
	Methods   int    `json:"methods"`
	LastError string `json:"last_error,omitempty"`
}

// OverviewInstance says what is wrong with an instance.
type OverviewInstance struct {
	Address string     `json:"address"`
	State   pool.State `json:"state"`
	Error   string     `json:"error,omitempty"`
}

// OverviewDraining is a pool that drains.
type OverviewDraining struct {
	Name   string `json:"name"`
	Key    string `json:"key"`
	Leases int    `json:"leases"`
}

// OverviewCatalog is a catalog in short.
type OverviewCatalog struct {
	Name     string                   `json:"name"`
	Target   string                   `json:"target"`
	Registry OverviewRegistry         `json:"registry"`
	Limit    int                      `json:"limit"`
	LeftOut  int                      `json:"left_out,omitempty"`
	Services []OverviewCatalogService `json:"services"`
}

// OverviewCatalogService is a service of a catalog in short.
type OverviewCatalogService struct {
	Name      string   `json:"name"`
	Upstream  string   `json:"upstream,omitempty"`
	State     string   `json:"state"`
	Reason    string   `json:"reason,omitempty"`
	Instances int      `json:"instances"`
	Methods   int      `json:"methods"`
	Resting   bool     `json:"resting,omitempty"`
	Problems  []string `json:"problems,omitempty"`
}

// OverviewRoutes says whether the routes have changed, and what is wrong with them.
type OverviewRoutes struct {
	// Revision changes with every table of routes.
	Revision string `json:"revision"`
	// Problems are the first 100 of ProblemCount.
	Problems     []Problem `json:"problems,omitempty"`
	ProblemCount int       `json:"problem_count,omitempty"`
}

// OverviewDetail is an upstream with at most 100 of its instances, the worst first.
type OverviewDetail struct {
	UpstreamView

	// Matching is how many instances match what was asked for.
	Matching int `json:"matching"`
}

// overview makes the overview. The query may ask for an upstream by its name, in `upstream`. With
// `find`, its instances are only those whose address, state or last error have all of these words.
func (a *App) overview(query url.Values) Overview {
	o := Overview{Services: []OverviewService{}}
	seen := make(map[string]bool)
	for _, u := range a.all() {
		label := u.label()
		if seen[label] {
			continue
		}
		seen[label] = true
		o.Services = append(o.Services, u.short(label))
		if label == query.Get("upstream") {
			o.Detail = detailOf(u.view(), query.Get("find"))
		}
	}
	for _, c := range draining.all() {
		if snapshot, ok := c.snapshot(); ok {
			o.Draining = append(o.Draining, OverviewDraining{c.name, hash(c.key)[:16], snapshot.Leases})
		}
	}
	slices.SortFunc(o.Draining, func(x, y OverviewDraining) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Key, y.Key))
	})
	for _, c := range a.catalogViews() {
		o.Catalogs = append(o.Catalogs, shortCatalog(&c))
	}
	o.Routes = a.shortRoutes()
	return o
}

// short returns the upstream in short.
func (u *upstream) short(label string) OverviewService {
	snapshot, _ := u.channel.snapshot()
	known := u.schema.view()
	s := OverviewService{
		Name: label, Registry: shortRegistry(u.feed.state()), States: make(map[pool.State]int),
		Schema: OverviewSchema{Source: known.Source, Loaded: known.Loaded, Methods: known.Methods, LastError: known.LastError},
		Leases: snapshot.Leases, Picks: snapshot.Picks, Failures: snapshot.Failures,
		Down: snapshot.Down, DownSince: snapshot.DownSince, Held: snapshot.Held, Refused: len(u.channel.admission.views()),
	}
	var worst *pool.EndpointSnapshot
	for i := range snapshot.Endpoints {
		e := &snapshot.Endpoints[i]
		s.States[e.State]++
		if urgency(e.State) <= urgency(pool.StateFailing) && (worst == nil || urgency(e.State) < urgency(worst.State)) {
			worst = e
		}
	}
	if worst != nil {
		s.Worst = &OverviewInstance{worst.Address, worst.State, worst.LastError}
		if worst.State == pool.StateUnhealthy {
			s.Worst.Error = worst.Health
		}
	}
	return s
}

// urgency orders states by how much an instance in them needs a look, the most urgent first.
func urgency(s pool.State) int {
	order := []pool.State{
		pool.StateEjected, pool.StateUnhealthy, pool.StateFailing, pool.StateHeld, pool.StateDraining, pool.StateConnecting, pool.StateIdle,
	}
	if i := slices.Index(order, s); i >= 0 {
		return i
	}
	return len(order)
}

func shortRegistry(s discovery.State) OverviewRegistry {
	v := registryView(s)
	r := OverviewRegistry{Synced: v.Synced, Stale: v.Stale, Snapshot: v.Snapshot, Error: v.Error, Skipped: len(v.Skipped)}
	if v.Stale {
		r.LastContact = v.LastContact
	}
	return r
}

// detailOf keeps the instances that match all words of a text, the worst first.
func detailOf(v UpstreamView, find string) *OverviewDetail {
	words := strings.Fields(strings.ToLower(find))
	v.Endpoints = slices.DeleteFunc(v.Endpoints, func(e pool.EndpointSnapshot) bool {
		text := strings.ToLower(e.Address + " " + string(e.State) + " " + e.LastError)
		return slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
	})
	slices.SortStableFunc(v.Endpoints, func(x, y pool.EndpointSnapshot) int { return urgency(x.State) - urgency(y.State) })
	d := &OverviewDetail{Matching: len(v.Endpoints)}
	v.Endpoints = v.Endpoints[:min(len(v.Endpoints), maxInstancesShown)]
	d.UpstreamView = v
	return d
}

func shortCatalog(v *CatalogView) OverviewCatalog {
	r := v.Registry
	c := OverviewCatalog{
		Name: v.Name, Target: v.Target, Limit: v.Limit, LeftOut: v.LeftOut, Services: []OverviewCatalogService{},
		Registry: OverviewRegistry{Synced: r.Synced, Stale: r.Stale, Snapshot: r.Snapshot, Error: r.Error, Skipped: v.SkippedEntries},
	}
	if r.Stale {
		c.Registry.LastContact = r.LastContact
	}
	for i := range v.Services {
		s := &v.Services[i]
		c.Services = append(c.Services, OverviewCatalogService{
			Name: s.Name, Upstream: s.Upstream, State: s.State, Reason: s.Reason, Instances: s.Instances, Methods: s.Methods,
			Resting: s.Resting, Problems: s.Problems,
		})
	}
	return c
}

// shortRoutes says what is wrong with the routes of all handlers.
func (a *App) shortRoutes() OverviewRoutes {
	r := OverviewRoutes{}
	var made []string
	for _, h := range a.handlers {
		t := h.routing.table.Load()
		made = append(made, strconv.FormatInt(t.made.UnixNano(), 36))
		r.ProblemCount += len(t.Problems)
		r.Problems = append(r.Problems, t.Problems[:min(len(t.Problems), maxProblemsShown-len(r.Problems))]...)
	}
	r.Revision = strings.Join(made, "-")
	return r
}
