package module

import (
	"context"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-grpc/gateway/internal/schema"
)

// service is a service of a catalog that is open in one config: it has an upstream.
type service struct {
	name     string
	created  int64 // its age, see listed
	upstream *upstream
	opened   time.Time
	releases []func() // of the shared values, in the order of acquisition
	unfollow func()   // ends the subscription to the schema; nil before start
	// gone is since when the registry has no instance of the service. Zero: it has.
	gone time.Time
	// told says that the log has mentioned why the service cannot be called.
	told bool
}

// The states of a service for operators.
const (
	// serviceServing: its methods are known.
	serviceServing = "serving"
	// serviceReading: its methods are being read for the first time.
	serviceReading = "reading"
	// serviceFailed: its methods could not be read. That is tried again.
	serviceFailed = "failed"
	// serviceLeaving: the registry has no instance of it any more.
	serviceLeaving = "leaving"
	// serviceWaiting: there are as many services as the catalog may open.
	serviceWaiting = "waiting"
)

// open takes references on the shared values of a service. It touches no network.
func (c *catalog) open(l *listed) (*service, error) {
	label := c.name + ":" + l.name
	s := &service{name: l.name, created: l.created, opened: time.Now()}
	u := &upstream{name: label, timeout: c.timeout, hashKey: c.hashKey, touches: c.idle > 0}
	u.unique.Store(&label)
	s.upstream = u
	log := quiet(lastingLog().With(zap.String("upstream", label)))
	u.feed = acquirePart(&part{c.feed, l.name, c.filter})
	s.releases = append(s.releases, u.feed.release)
	u.channel = acquireChannel(label, c.settings, c.tlsID, c.networks, u.feed, log)
	s.releases = append(s.releases, u.channel.release)
	var err error
	if u.schema, err = c.acquireSchema(l.name, u.channel, log); err != nil {
		s.close()
		return nil, err
	}
	s.releases = append(s.releases, u.schema.release)
	return s, nil
}

// start begins to connect and to read the schema. follow is called after each attempt to read.
func (s *service) start(follow func()) {
	s.unfollow = s.upstream.schema.subscribe(follow)
	s.upstream.start()
}

// close gives back the shared values. Calls in flight go on, within the drain timeout.
func (s *service) close() {
	if s.unfollow != nil {
		s.unfollow()
	}
	for i := len(s.releases) - 1; i >= 0; i-- {
		s.releases[i]()
	}
	s.releases = nil
}

// settled reports whether the first attempt to read the schema is over.
func (s *service) settled() bool {
	select {
	case <-s.upstream.schema.settled:
		return true
	default:
		return false
	}
}

// status returns the state, and why the service cannot be called.
func (s *service) status() (state, reason string) {
	known := s.upstream.schema.current() != nil
	switch {
	case !s.gone.IsZero():
		return serviceLeaving, "the registry has no instance of it any more"
	case known:
		return serviceServing, ""
	case !s.settled():
		return serviceReading, ""
	}
	if refused := s.upstream.channel.admission.views(); len(refused) > 0 {
		return serviceFailed, "instance " + refused[0].Address + " is refused: " + refused[0].Reason
	}
	return serviceFailed, s.upstream.schema.pendingView("").Reason
}

// mayClose reports whether nothing of a service that has gone is used any more: the pool holds no
// instance of it, and its clients have had some time to see it come back.
func (s *service) mayClose(now time.Time) bool {
	snapshot, ok := s.upstream.channel.snapshot()
	if !ok || s.upstream.schema.current() == nil {
		return true // It was never used.
	}
	for i := range snapshot.Endpoints {
		if snapshot.Endpoints[i].State != poolDraining {
			return false
		}
	}
	return now.Sub(s.gone) >= goneFor
}

// gatedSchemas limits how many schemas of catalogs are read at the same time.
type gatedLoader struct {
	schema.Loader

	channel *sharedChannel
	gate    chan struct{}
}

// Load implements schema.Loader. The wait for an instance does not count as reading.
func (g gatedLoader) Load(ctx context.Context) (*schema.Schema, error) {
	g.channel.awaitFirstInstance(ctx, time.Time{})
	select {
	case g.gate <- struct{}{}:
		defer func() { <-g.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return g.Loader.Load(ctx)
}

// quiet makes a logger write everything below ERROR at DEBUG. There may be hundreds of services in
// a catalog, and the log has one line for all of them.
func quiet(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return quietCore{core} }))
}

type quietCore struct{ zapcore.Core }

func (q quietCore) level(l zapcore.Level) zapcore.Level {
	if l < zapcore.ErrorLevel {
		return zapcore.DebugLevel
	}
	return l
}

// Enabled implements zapcore.LevelEnabler.
func (q quietCore) Enabled(l zapcore.Level) bool { return q.Core.Enabled(q.level(l)) }

// With implements zapcore.Core.
func (q quietCore) With(fields []zapcore.Field) zapcore.Core { return quietCore{q.Core.With(fields)} }

// Check implements zapcore.Core.
func (q quietCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !q.Enabled(e.Level) {
		return ce
	}
	e.Level = q.level(e.Level)
	return ce.AddCore(e, q)
}
