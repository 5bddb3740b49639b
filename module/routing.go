package module

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/local"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// settleTime is how long after the start requests wait for what is new: until the first instance of
// a channel is connected, and until a schema is read for the first time. So a reload that brings a
// new upstream fails no request, and requests that come with the start find the gateway ready.
const settleTime = 3 * time.Second

// readTime is how much longer requests wait for a schema, which is read once there is an instance.
const readTime = time.Second

// routing keeps the table of a handler current. ServeHTTP reads it without a lock.
type routing struct {
	log       *zap.Logger
	cfg       *routes.Config
	json      transcode.Options
	checking  *checking
	upstreams []*upstream
	catalogs  []*catalog
	deadline  time.Time // when requests no longer wait for schemas

	table atomic.Pointer[table]

	mu       sync.Mutex // held while compiling; guards the fields below
	reported map[routes.Problem]bool
	awaited  []string    // what reportPending has logged last
	told     time.Time   // when it did
	late     *time.Timer // reports pending upstreams at the deadline
	soon     *time.Timer // refreshes the table, see refreshSoon; nil: nothing is due
	took     time.Duration
	stops    []func()
	started  bool
	stopped  bool
}

// table is a compiled table with what it was compiled from. It is immutable.
type table struct {
	*routes.Table

	members []member
	made    time.Time
}

// member is one upstream with what is known about it at the moment.
type member struct {
	upstream *upstream
	label    string         // of the upstream
	schema   *schema.Schema // nil while it is not known
	pending  string         // why it is not known, in words for a client

	undescribed bool // the service offers no reflection

	listed  bool     // a catalog has named the upstream
	catalog *catalog // whose services are not known yet; then there is no upstream
}

// provision makes the first table. If that is known to be wrong already, it returns an error.
func (r *routing) provision(
	log *zap.Logger, cfg *routes.Config, json transcode.Options, c *checking, upstreams []*upstream, catalogs []*catalog,
) error {
	r.log, r.cfg, r.json, r.checking, r.upstreams, r.catalogs = log, cfg, json, c, upstreams, catalogs
	cfg.Open = len(catalogs) > 0
	r.deadline = time.Now().Add(settleTime + readTime)
	r.reported = make(map[routes.Problem]bool)
	r.refresh()
	return r.table.Load().Check()
}

// start follows the schemas.
func (r *routing) start() {
	r.mu.Lock()
	begin := !r.started && !r.stopped
	r.started = true
	r.deadline = time.Now().Add(settleTime + readTime)
	r.mu.Unlock()
	if !begin {
		return
	}
	// r.mu is not held here, because the subscribed function takes it.
	stops := make([]func(), 0, len(r.upstreams)+len(r.catalogs))
	for _, u := range r.upstreams {
		stops = append(stops, u.schema.subscribe(r.refresh))
	}
	for _, c := range r.catalogs {
		stops = append(stops, c.subscribe(r.refreshSoon))
	}
	r.mu.Lock()
	r.stops = stops
	if !r.stopped {
		r.late = time.AfterFunc(settleTime+readTime, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.reportPending()
		})
	}
	r.mu.Unlock()
	r.refresh() // Labels are final now.
}

// stop stops following the schemas. The last table stays, for requests that still run.
func (r *routing) stop() {
	r.mu.Lock()
	r.stopped = true
	stops := r.stops
	r.stops = nil
	if r.late != nil {
		r.late.Stop()
	}
	if r.soon != nil {
		r.soon.Stop()
	}
	r.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// refresh compiles the table again if a schema has changed, or the reason why one is missing.
func (r *routing) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped && len(r.catalogs) > 0 {
		return // The catalogs have given back their services, which late requests still call.
	}
	members := make([]member, 0, len(r.upstreams))
	for _, u := range r.upstreams {
		m := member{upstream: u, label: u.label(), schema: u.schema.current()}
		if m.schema == nil {
			m.pending, m.undescribed = u.schema.pending(), u.schema.undescribed()
		}
		members = append(members, m)
	}
	for _, c := range r.catalogs {
		members = append(members, c.members()...)
	}
	old := r.table.Load()
	if old != nil && slices.Equal(members, old.members) {
		return
	}
	began := time.Now()
	t, err := r.compile(members)
	r.took = time.Since(began)
	if err != nil {
		r.log.Error("the routes could not be compiled from the current schemas; the last ones stay", zap.Error(err))
		if old != nil {
			return
		}
	}
	r.table.Store(t)
	r.report(t, old)
}

// compile makes a table.
func (r *routing) compile(members []member) (*table, error) {
	in := make([]routes.Member, len(members))
	for i, m := range members {
		in[i] = routes.Member{Label: m.label, Schema: m.schema, Pending: m.pending, Undescribed: m.undescribed, Listed: m.listed}
		if m.upstream == nil {
			continue
		}
		in[i] = routes.Member{
			Label: m.label, Schema: m.schema, Pending: m.pending, Undescribed: m.undescribed, Listed: m.listed,
			FromFiles: m.upstream.schema.fromFiles(),
			Conn:      m.upstream.conn(), Timeout: m.upstream.timeout,
		}
		if m.schema != nil {
			in[i].Codecs = m.upstream.schema.compiler(m.schema, r.json)
			in[i].Check = r.checking.member(m.upstream.schema, m.schema)
			in[i].Answers = m.upstream.schema.compiler(m.schema, hiding(r.json, r.cfg.HideFields))
		}
	}
	t, err := routes.Compile(r.cfg, in)
	return &table{t, members, time.Now()}, err
}

// report logs each problem once, and that there is a new table. Caller must hold r.mu.
func (r *routing) report(t, old *table) {
	listed := make(map[string]bool)
	for _, m := range t.members {
		if m.listed {
			listed[m.label] = true
		}
	}
	r.forgetReported(t)
	for _, p := range t.Problems {
		if !r.reported[p] {
			r.reported[p] = true
			if listed[p.Upstream] { // Whoever writes to the registry must not fill the log.
				conflicts.add(p.Upstream, zap.String("problem", p.String()))
				continue
			}
			level := zap.WarnLevel
			if p.Fatal && p.RPC+p.Upstream != "" { // A pattern that matches nothing breaks no call.
				level = zap.ErrorLevel
			}
			r.log.Log(level, "a route or pattern does not work as it is written", zap.String("problem", p.Reason),
				zap.String("route", p.Route), zap.String("rpc", p.RPC), zap.String("upstream", p.Upstream))
		}
	}
	if old != nil {
		level := zap.InfoLevel
		if len(r.catalogs) > 0 || len(t.Views) == len(old.Views) && t.Pending == old.Pending {
			// Services of a catalog come and go, or an attempt to read a schema has failed again.
			level = zap.DebugLevel
		}
		r.log.Log(level, "routes compiled from the current schemas", zap.Int("routes", len(t.Views)), zap.Int("problems", len(t.Problems)),
			zap.Bool("pending", t.Pending != ""))
		if r.started && !time.Now().Before(r.deadline) {
			r.reportPending()
		}
	}
}

// forgetReported drops problems that are over, if services come and go. Caller must hold r.mu.
func (r *routing) forgetReported(t *table) {
	if len(r.catalogs) == 0 {
		return
	}
	present := make(map[routes.Problem]bool, len(t.Problems))
	for _, p := range t.Problems {
		present[p] = true
	}
	maps.DeleteFunc(r.reported, func(p routes.Problem, _ bool) bool { return !present[p] })
}

// refreshSoon is refresh for changes that may be many: it collects them. The more expensive a
// compilation is, the fewer there are.
func (r *routing) refreshSoon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.soon != nil || r.stopped {
		return
	}
	wait := min(max(refreshAfter, 4*r.took), refreshBy)
	r.soon = time.AfterFunc(wait, func() {
		r.mu.Lock()
		r.soon = nil
		stopped := r.stopped
		r.mu.Unlock()
		if !stopped {
			r.refresh()
		}
	})
}

// refreshAfter and refreshBy are the least and the longest time that refreshSoon collects changes.
const (
	refreshAfter = 20 * time.Millisecond
	refreshBy    = time.Second
)

// reportPending logs in one line how many upstreams have no schema, some of them, and why, if that
// has changed. Services of a catalog become known one after the other, so with a catalog there is
// at most one line a minute. Requests that a start or a reload brings wait for schemas, so there is
// nothing to report before the deadline. Caller must hold r.mu.
func (r *routing) reportPending() {
	var upstreams, reasons []string
	var since time.Time
	level := zap.InfoLevel
	for _, m := range r.table.Load().members {
		if m.schema != nil {
			continue
		}
		upstreams = append(upstreams, m.label)
		if !slices.Contains(reasons, m.pending) {
			reasons = append(reasons, m.pending)
		}
		if m.upstream == nil {
			continue // The registry has a warning of its own.
		}
		if !m.upstream.schema.awaitsInstance() {
			level = zap.WarnLevel // That there is no instance has a warning of its own.
		}
		if began := m.upstream.schema.began; since.IsZero() || began.Before(since) {
			since = began
		}
	}
	awaited := slices.Concat(upstreams, reasons)
	if r.stopped || slices.Equal(awaited, r.awaited) {
		return
	}
	if wait := time.Until(r.told.Add(digestEvery)); len(upstreams) > 0 && len(r.catalogs) > 0 && wait > 0 {
		if r.late != nil {
			r.late.Reset(wait)
		}
		return
	}
	r.awaited = awaited
	if len(upstreams) > 0 {
		const examples = 5
		r.told = time.Now()
		r.log.Log(level, "the methods of some upstreams are not known; a path that may be one of theirs is answered with 503",
			zap.Int("count", len(upstreams)), zap.Strings("upstreams", upstreams[:min(len(upstreams), examples)]),
			zap.Time("since", since), zap.Strings("reasons", reasons[:min(len(reasons), examples)]))
	}
}

// current returns the table to answer a request by. Shortly after the start, it waits while the
// schema of an upstream is read for the first time.
func (r *routing) current(ctx context.Context) *frontend.Table {
	t := r.table.Load()
	if t.Pending == "" {
		return &t.Table.Table
	}
	return r.await(ctx, t)
}

func (r *routing) await(ctx context.Context, t *table) *frontend.Table {
	for _, m := range t.members {
		if m.schema == nil && m.upstream != nil {
			m.upstream.waitStart(ctx)
		}
	}
	if t = r.table.Load(); t.Pending == "" {
		return &t.Table.Table
	}
	r.mu.Lock()
	left := time.Until(r.deadline)
	r.mu.Unlock()
	if left <= 0 {
		return &t.Table.Table
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	waited := false
	for _, m := range t.members {
		if m.schema != nil {
			continue
		}
		settled := m.settled()
		select {
		case <-settled:
			waited = true
		case <-ctx.Done():
		}
	}
	if waited {
		r.refresh()
	}
	return &r.table.Load().Table.Table
}

// settled returns a channel that is closed when there is nothing to wait for any more.
func (m *member) settled() <-chan struct{} {
	if m.catalog != nil {
		return m.catalog.settled
	}
	return m.upstream.schema.settled
}

// whole is current for those who describe the table. It is never nil.
func (r *routing) whole(ctx context.Context) *routes.Table {
	r.current(ctx)
	return r.table.Load().Table
}

// last returns the present table, or nil if there is none yet. It does not wait.
func (r *routing) last() *frontend.Table {
	if t := r.table.Load(); t != nil {
		return &t.Table.Table
	}
	return nil
}

// ready reports whether the upstream with this label has a READY instance.
func (r *routing) ready(upstream string) bool {
	if upstream == local.Upstream {
		return true
	}
	t := r.table.Load()
	if t == nil {
		return false
	}
	for _, m := range t.members {
		if m.label == upstream {
			return m.upstream != nil && m.upstream.channel.hasReady()
		}
	}
	return false
}

// compileRoutes makes the part of the table's config that does not change.
func (h *Handler) compileRoutes() (*routes.Config, error) {
	exposure, err := routes.NewExposure(h.Expose, h.Hide)
	if err != nil {
		return nil, err
	}
	cfg := &routes.Config{
		Exposure:    exposure,
		RPC:         h.RPC == nil || *h.RPC,
		Annotations: h.Annotations == nil || *h.Annotations,
		Timeout:     max(0, cmp.Or(time.Duration(h.Timeout), defaultTimeout)),
		FullyDecode: h.FullyDecodeReserved,
		HideFields:  h.HideFields,
		WholeBody:   h.RequestBody == bodyMessage,
		Owner:       func(upstream, method string) any { return newMethodMetrics(upstream, method) },
		Timed:       timed,
		Departed:    departed,
	}
	for i := range h.Routes {
		r := h.Routes[i].compiled()
		if !exposure.Allows(r.RPC) {
			return nil, fmt.Errorf("route %s: method %s is not exposed; see expose and hide", r.String(), r.RPC)
		}
		cfg.Routes = append(cfg.Routes, r)
	}
	return cfg, nil
}
