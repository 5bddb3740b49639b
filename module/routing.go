package module

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// settleTime is how long after the start requests wait for what is new: for the first instance of a channel to be connected and for a
// schema to be read for the first time. So a reload that brings a new upstream fails no request, and one that comes with the
// start finds the gateway ready.
const settleTime = 3 * time.Second

// readTime is how much longer they wait for a schema, which is read once there is an instance.
const readTime = time.Second

// routing keeps the table of a handler current. ServeHTTP reads it without a lock.
type routing struct {
	log       *zap.Logger
	cfg       *tableConfig
	upstreams []*upstream
	deadline  time.Time // when requests no longer wait for schemas

	table atomic.Pointer[compiledTable]

	mu       sync.Mutex // for compiling, and guards what follows
	reported map[Problem]bool
	stops    []func()
	started  bool
	stopped  bool
}

// provision makes the first table. What is known to be wrong already is an error.
func (r *routing) provision(log *zap.Logger, cfg *tableConfig, upstreams []*upstream) error {
	r.log, r.cfg, r.upstreams = log, cfg, upstreams
	r.deadline = time.Now().Add(settleTime + readTime)
	r.reported = make(map[Problem]bool)
	r.refresh()
	return r.check()
}

// check refuses what cannot work whatever the network brings. Only schemas that come from files count: what was learned from a running service
// must not decide whether a config loads.
func (r *routing) check() error {
	var members []member
	complete := true
	for _, m := range r.table.Load().members {
		if m.upstream.schema.fromFiles() {
			members = append(members, m)
		} else {
			complete = false
		}
	}
	files := r.table.Load()
	if !complete {
		var err error
		if files, err = r.compile(members); err != nil {
			return err
		}
	}
	var errs []error
	for _, p := range files.problems {
		if p.fatal && (complete || p.Upstream != "") {
			errs = append(errs, errors.New(p.String()))
		}
	}
	return errors.Join(errs...)
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
	// Without the lock, which the subscribed function takes.
	stops := make([]func(), len(r.upstreams))
	for i, u := range r.upstreams {
		stops[i] = u.schema.subscribe(r.refresh)
	}
	r.mu.Lock()
	r.stops = stops
	r.mu.Unlock()
	r.refresh() // Labels are final now.
}

// stop ends that. The last table stays, for requests that still run.
func (r *routing) stop() {
	r.mu.Lock()
	r.stopped = true
	stops := r.stops
	r.stops = nil
	r.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// refresh compiles the table anew if a schema, or what is said about a missing one, has changed.
func (r *routing) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	members := make([]member, len(r.upstreams))
	for i, u := range r.upstreams {
		members[i] = member{upstream: u, label: u.label(), schema: u.schema.current()}
		if members[i].schema == nil {
			members[i].pending = u.schema.pending()
		}
	}
	old := r.table.Load()
	if old != nil && slices.Equal(members, old.members) {
		return
	}
	t, err := r.compile(members)
	if err != nil {
		r.log.Error("the routes could not be compiled from the current schemas; the last ones stay", zap.Error(err))
		if old != nil {
			return
		}
	}
	r.table.Store(t)
	r.report(t, old)
}

// compile makes a table. Descriptors come from other processes, so that a panic over them is an error here, with a table of nothing.
func (r *routing) compile(members []member) (t *compiledTable, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			t = compileTable(r.cfg, nil)
			t.Pending = "the routes of the service could not be compiled"
		}
	}()
	return compileTable(r.cfg, members), nil
}

// report logs each problem once, and what became of the table.
func (r *routing) report(t, old *compiledTable) {
	for _, p := range t.problems {
		if !r.reported[p] {
			r.reported[p] = true
			level := zap.WarnLevel
			if p.fatal {
				level = zap.ErrorLevel
			}
			r.log.Log(level, "a route does not work as it is written", zap.String("problem", p.Reason),
				zap.String("route", p.Route), zap.String("rpc", p.RPC), zap.String("upstream", p.Upstream))
		}
	}
	if old != nil {
		r.log.Info("routes compiled from the current schemas", zap.Int("routes", len(t.routes)), zap.Int("problems", len(t.problems)),
			zap.Bool("pending", t.Pending != ""))
	}
}

// current is the table to answer a request by. While the schema of an upstream is read for the first time, shortly
// after the start, it waits for that.
func (r *routing) current(ctx context.Context) *frontend.Table {
	t := r.table.Load()
	if t.Pending == "" {
		return &t.Table
	}
	return r.await(ctx, t)
}

func (r *routing) await(ctx context.Context, t *compiledTable) *frontend.Table {
	for _, m := range t.members {
		if m.schema == nil {
			m.upstream.waitStart(ctx)
		}
	}
	if t = r.table.Load(); t.Pending == "" {
		return &t.Table
	}
	r.mu.Lock()
	left := time.Until(r.deadline)
	r.mu.Unlock()
	if left <= 0 {
		return &t.Table
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	waited := false
	for _, m := range t.members {
		if m.schema != nil {
			continue
		}
		select {
		case <-m.upstream.schema.settled:
			waited = true
		case <-ctx.Done():
		}
	}
	if waited {
		r.refresh()
	}
	return &r.table.Load().Table
}

// compileTableConfig makes the part of the table's config that does not change.
func (h *Handler) compileTableConfig() (*tableConfig, error) {
	exposure, err := newExposure(h.Expose, h.Hide)
	if err != nil {
		return nil, err
	}
	cfg := &tableConfig{
		routes:      h.Routes,
		exposure:    exposure,
		rpc:         h.RPC == nil || *h.RPC,
		annotations: h.Annotations == nil || *h.Annotations,
		timeout:     max(0, cmp.Or(time.Duration(h.Timeout), defaultTimeout)),
		fullyDecode: h.FullyDecodeReserved,
	}
	for _, r := range h.Routes {
		if !exposure.allows(r.RPC) {
			return nil, fmt.Errorf("route %s: method %s is not exposed; see expose and hide", r.String(), r.RPC)
		}
	}
	if cfg.json, err = h.JSON.compile(); err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return cfg, nil
}
