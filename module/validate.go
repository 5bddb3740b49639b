package module

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/validation"
)

// Validate says how request messages are checked before they are sent to a service. That happens in
// every protocol, and to each message of a stream. A message that a check refuses is answered with
// INVALID_ARGUMENT, which says what is wrong, and a stream ends with it. Answers are not checked.
// Neither are calls whose method no schema describes.
type Validate struct {
	// What happens to a message that a check refuses. `on` (default): the client gets an error.
	// `warn`: the message is sent, and the log and the metrics say what is wrong with it. `off`: no
	// message is checked.
	Mode string `json:"mode,omitempty"`

	// The checks that a message has to pass, in this order. Each comes once. Default: one,
	// `protovalidate`.
	ChecksRaw []json.RawMessage `json:"checks,omitempty" caddy:"namespace=http.grpc_gateway.checks inline_key=check"`
}

// Values of Validate.Mode.
const (
	validateOn   = "on"
	validateWarn = "warn"
	validateOff  = "off"
)

// defaultCheck is the module that checks if the config names none.
const defaultCheck = "http.grpc_gateway.checks.protovalidate"

// checking is what a handler does with request messages. Nil: nothing.
type checking struct {
	checkers   []checks.Checker
	warn       bool
	protoNames bool
	notices    *notices
}

// compile loads the checks. It returns nil if messages are not checked.
func (v *Validate) compile(ctx caddy.Context, protoNames bool) (*checking, error) {
	if v == nil {
		return nil, nil //nolint:nilnil // Nil: nothing is checked.
	}
	if !oneOf(v.Mode, validateOn, validateWarn, validateOff) {
		return nil, fmt.Errorf("mode %q: expected on, warn or off", v.Mode)
	}
	if v.Mode == validateOff {
		return nil, nil //nolint:nilnil // Nil: nothing is checked.
	}
	loaded, err := v.load(ctx)
	if err != nil {
		return nil, err
	}
	c := &checking{warn: v.Mode == validateWarn, protoNames: protoNames, notices: newNotices()}
	for _, mod := range loaded {
		checker, ok := mod.(checks.Checker)
		if !ok {
			return nil, fmt.Errorf("module %T is not a check of request messages", mod)
		}
		if slices.ContainsFunc(c.checkers, func(other checks.Checker) bool { return other.ID() == checker.ID() }) {
			return nil, fmt.Errorf("check %q comes twice", checker.ID())
		}
		c.checkers = append(c.checkers, checker)
	}
	return c, nil
}

func (v *Validate) load(ctx caddy.Context) ([]any, error) {
	if len(v.ChecksRaw) == 0 {
		mod, err := ctx.LoadModuleByID(defaultCheck, nil)
		return []any{mod}, err
	}
	loaded, err := ctx.LoadModule(v, "ChecksRaw")
	if err != nil {
		return nil, fmt.Errorf("checks: %w", err)
	}
	return loaded.([]any), nil
}

// member makes routes.Member.Check for the methods of a schema.
func (c *checking) member(s *sharedSchema, of *schema.Schema) func(*frontend.Method) (routes.MessageCheck, []string) {
	if c == nil {
		return nil
	}
	return func(m *frontend.Method) (routes.MessageCheck, []string) {
		var list []checks.Check
		var problems []string
		for _, checker := range c.checkers {
			check, found := prepare(s, of, checker, m.Desc)
			if check != nil {
				list = append(list, check)
			}
			for _, p := range found {
				problems = append(problems, fmt.Sprintf("validate: %s: %s", p.Subject, p.Reason))
			}
		}
		if len(list) == 0 {
			return nil, problems
		}
		return validation.Guard(list, m.Types, validation.Settings{Warn: c.warn, ProtoNames: c.protoNames, Judged: c.judged(m)}), problems
	}
}

// prepare asks a checker for the check of a method. A checker that panics must not cost the routes
// of the service.
func prepare(s *sharedSchema, of *schema.Schema, checker checks.Checker, m protoreflect.MethodDescriptor) (check checks.Check, problems []checks.Problem) {
	defer func() {
		if p := recover(); p != nil {
			check = nil
			problems = []checks.Problem{{Subject: string(m.FullName()), Reason: fmt.Sprintf("the check %q panics, so nothing is checked: %v", checker.ID(), p)}}
		}
	}()
	return s.checksOf(of, checker).Method(m)
}

// checksKey is what prepared checks depend on.
type checksKey struct {
	schema  *schema.Schema
	checker string // its ID
}

// checksOf returns what a checker has prepared for a schema. As with codecs, all handlers share it,
// it stays over reloads, and that of earlier schemas is dropped.
func (s *sharedSchema) checksOf(of *schema.Schema, checker checks.Checker) checks.SchemaChecks {
	key := checksKey{of, checker.ID()}
	if c, ok := s.checks.Load(key); ok {
		return c.(checks.SchemaChecks)
	}
	s.checks.Range(func(k, _ any) bool {
		if k.(checksKey).schema != of {
			s.checks.Delete(k)
		}
		return true
	})
	c, _ := s.checks.LoadOrStore(key, checker.Schema(checks.Schema{Files: of.Files()}))
	return c.(checks.SchemaChecks)
}

// judged counts the messages of a method, and logs what operators should know.
func (c *checking) judged(m *frontend.Method) func(validation.Result, error) {
	of, _ := m.Owner.(*methodMetrics)
	if of == nil {
		of = noMethod
	}
	counters := new([validation.NumResults]atomic.Pointer[prometheus.Counter])
	return func(r validation.Result, err error) {
		counter := counters[r].Load()
		if counter == nil {
			made := validationTotal.WithLabelValues(of.upstream, of.service, of.method, r.String())
			counter = &made
			counters[r].Store(counter)
		}
		(*counter).Inc()
		switch {
		case r == validation.Failed:
			c.notices.write("a request message could not be checked", m, err)
		case r == validation.Invalid && c.warn:
			c.notices.write("a request message is not valid; it was sent because validate is warn", m, err)
		}
	}
}

// Limits of the lines that one handler logs about messages.
const (
	noticesPerSecond = 5
	noticesBurst     = 20
)

// notices are lines about request messages. Clients can bring them about, so they are limited. The
// next line says how many were left out.
type notices struct {
	limit *rate.Limiter

	mu      sync.Mutex
	skipped int
}

func newNotices() *notices { return &notices{limit: rate.NewLimiter(noticesPerSecond, noticesBurst)} }

func (n *notices) write(text string, m *frontend.Method, err error) {
	fields := []zap.Field{zap.String("upstream", m.Upstream), zap.String("method", m.Name), zap.Error(err)}
	n.mu.Lock()
	if !n.limit.Allow() {
		n.skipped++
		n.mu.Unlock()
		return
	}
	if n.skipped > 0 {
		fields = append(fields, zap.Int("similar_lines_left_out", n.skipped))
		n.skipped = 0
	}
	n.mu.Unlock()
	lastingLog().Warn(text, fields...)
}
