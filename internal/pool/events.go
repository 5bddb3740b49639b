package pool

import (
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// events writes the log lines of a channel. Lines about single instances are limited, so that churn
// does not flood the log. The next line says how many were left out. It belongs to the balancer's
// mutex.
type events struct {
	log     *zap.Logger
	limit   *rate.Limiter
	skipped int
	// observer may be nil.
	observer Observer
}

const (
	eventsPerSecond = 5
	eventsBurst     = 20
	eventExamples   = 5
)

func newEvents(log *zap.Logger) *events {
	if log == nil {
		log = zap.NewNop()
	}
	return &events{log: log, limit: rate.NewLimiter(eventsPerSecond, eventsBurst)}
}

// limited writes a line unless there were too many recently.
func (e *events) limited(write func(string, ...zap.Field), message string, fields ...zap.Field) {
	if !e.limit.Allow() {
		e.skipped++
		return
	}
	if e.skipped > 0 {
		fields = append(fields, zap.Int("similar_lines_left_out", e.skipped))
		e.skipped = 0
	}
	write(message, fields...)
}

func (e *events) connected(addr string) {
	e.limited(e.log.Info, "instance connected", zap.String("instance", addr))
}

// notConnected is no warning if the whole service is out, because that is one.
func (e *events) notConnected(addr string, err error, out bool) {
	e.tell(Event{Kind: EventUnreachable, Instance: addr, Error: err.Error()})
	write := e.log.Warn
	if out {
		write = e.log.Info
	}
	e.limited(write, "cannot connect to instance; retrying with backoff",
		zap.String("instance", addr), zap.Error(err))
}

// down is not limited, because it is told once for a whole service.
func (e *events) down(service string, instances int, why string) {
	e.tell(Event{Kind: EventDown, Error: why, Instances: instances})
	e.log.Warn("the service is out: no instance takes calls",
		zap.String("service", service), zap.Int("instances", instances), zap.String("reason", why))
}

func (e *events) up(service string, after time.Duration) {
	e.tell(Event{Kind: EventUp, For: after})
	e.log.Info("the service is back", zap.String("service", service), zap.Duration("out_for", after))
}

func (e *events) held(addr string) { e.tell(Event{Kind: EventHeld, Instance: addr}) }

func (e *events) cut(addr string, calls int64, after time.Duration) {
	e.limited(e.log.Warn, "calls to a removed instance ended at its drain timeout",
		zap.String("instance", addr), zap.Int64("calls", calls), zap.Duration("drain_timeout", after))
}

// some counts instances and keeps a few as examples.
type some struct {
	count    int
	examples []string
}

func (s *some) add(addr string) {
	s.count++
	if len(s.examples) < eventExamples {
		s.examples = append(s.examples, addr)
	}
}

// changes are the effects of a new list of endpoints.
type changes struct{ added, removed, held, returned, released some }

// changed writes one line for each kind of change, with a few examples.
func (e *events) changed(c changes, hold time.Duration) {
	say := func(s some, write func(string, ...zap.Field), message string, fields ...zap.Field) {
		if s.count > 0 {
			e.limited(write, message, append(fields, zap.Int("count", s.count), zap.Strings("instances", s.examples))...)
		}
	}
	say(c.added, e.log.Info, "instances added")
	say(c.removed, e.log.Info, "instances removed; their calls in flight may finish")
	say(c.held, e.log.Warn, "too many instances vanished from the registry at once; connected ones stay in use until "+
		"their connection closes, or until the registry has worked without them for the hold time", zap.Duration("hold", hold))
	say(c.returned, e.log.Info, "held instances are registered again")
	say(c.released, e.log.Warn, "held instances removed because the registry did not list them for the hold time; their calls in flight "+
		"may finish", zap.Duration("hold", hold))
}

func (e *events) heldLost(addr string) {
	e.limited(e.log.Info, "held instance removed because its connection closed", zap.String("instance", addr))
}

func (e *events) closed(calls int64) {
	if calls > 0 {
		e.log.Warn("calls ended because the channel was closed; its time to drain is over", zap.Int64("calls", calls))
	}
}

func (e *events) ejected(addr, why string, d time.Duration) {
	e.tell(Event{Kind: EventEjected, Instance: addr, Error: why, For: d})
	e.limited(e.log.Warn, "instance ejected: too many calls in a row failed; it gets no calls for some time",
		zap.String("instance", addr), zap.String("last_error", why), zap.Duration("for", d))
}

func (e *events) stalled(addr, why string, silent time.Duration, again int, d time.Duration) {
	e.tell(Event{Kind: EventEjected, Instance: addr, Error: why, For: d})
	e.limited(e.log.Warn, "instance ejected: it is silent while calls wait and does not answer a health check on the same connection; "+
		"it gets no calls until it sends something; safe calls that waited are made again elsewhere",
		zap.String("instance", addr), zap.Duration("silent_for", silent), zap.Int("calls_made_again", again), zap.Duration("for_at_least", d))
}

func (e *events) recovered(addr string, after time.Duration) {
	e.limited(e.log.Info, "instance answers again", zap.String("instance", addr), zap.Duration("after", after))
}

func (e *events) unhealthy(addr, answer string) {
	e.limited(e.log.Warn, "instance is not healthy; it gets no new calls until its health check says SERVING",
		zap.String("instance", addr), zap.String("health", answer))
}

func (e *events) healthy(addr string) {
	e.limited(e.log.Info, "instance is healthy again", zap.String("instance", addr))
}

func (e *events) noHealth(addr string) {
	e.log.Warn("instance does not implement grpc.health.v1; such instances count as healthy; this message appears once", zap.String("instance", addr))
}

func (e *events) violated(addr string, err error, d time.Duration) {
	e.limited(e.log.Warn, "instance violated HTTP/2 on a connection of the transport wire, which was closed; "+
		"new connections to it use the transport grpc for some time",
		zap.String("instance", addr), zap.Error(err), zap.Duration("for", d))
}

// tooManyPings explains a GOAWAY that operators can do something about. After it, grpc-go doubles
// the keepalive time of new connections.
func (e *events) tooManyPings(service, addr string, keepalive time.Duration) {
	e.limited(e.log.Warn, "instance closed the connection and ended its calls because it allows fewer keepalive pings; "+
		"raise the keepalive time of this upstream, or allow more pings in the server's enforcement policy "+
		"(grpc-go: keepalive.EnforcementPolicy.MinTime)",
		zap.String("service", service), zap.String("instance", addr), zap.Duration("keepalive_time", keepalive))
}
