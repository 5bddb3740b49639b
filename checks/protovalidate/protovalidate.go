// Package protovalidate checks request messages by the rules of protovalidate, the options
// (buf.validate.field), (buf.validate.message) and (buf.validate.oneof) in .proto files. It is the
// guest module http.grpc_gateway.checks.protovalidate, and the default of the option `validate`.
// The library buf.build/go/protovalidate compiles the rules and judges messages. This package finds
// out which methods need that, and bounds what hostile rules and hostile messages can cost.
//
// # What is bounded, and how
//
// Rules come from services, and messages come from strangers. The library has no limits of its own:
// CEL is compiled and evaluated without a budget of costs, and all violations are collected. So
// this package does the following.
//
//   - An expression whose cost could grow with the third power of the message, or that is longer
//     than maxExpression, is never given to the library (see cost.go).
//   - An expression whose cost can grow with the square of the message makes a limit for the
//     message, maxHeavy.
//   - A message is judged up to its first violation. Only if it is small (maxCollected) are all
//     its violations collected.
//   - What large messages (largeMessage) take when they are decoded is estimated first. They wait
//     for one another, so that all of the process together take maxDecoded at most.
package protovalidate

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	pv "buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/checks"
)

// maxExpressions is how many CEL expressions of a schema are compiled. One takes about a
// millisecond.
const maxExpressions = 10_000

// schemaChecks are the checks of one schema. It implements checks.SchemaChecks.
type schemaChecks struct {
	extensions *extensions
	gate       *gate

	mu        sync.Mutex // held while rules are compiled
	validator pv.Validator
	failed    error // why there is no validator
	types     map[protoreflect.MessageDescriptor]*typeRules
	requests  map[protoreflect.MessageDescriptor]*request
	compiled  int // expressions
	// broken are the fields, oneofs and messages whose rules do not compile. It is replaced, and
	// never changed.
	broken map[protoreflect.Descriptor]bool
}

// request is what is known about a message type that methods take.
type request struct {
	check    checks.Check // Nil: nothing to check.
	problems []checks.Problem
}

func newSchemaChecks(s checks.Schema, g *gate) *schemaChecks {
	return &schemaChecks{
		extensions: newExtensions(s.Files),
		gate:       g,
		types:      make(map[protoreflect.MessageDescriptor]*typeRules),
		requests:   make(map[protoreflect.MessageDescriptor]*request),
	}
}

// Method implements checks.SchemaChecks.
func (s *schemaChecks) Method(m protoreflect.MethodDescriptor) (checks.Check, []checks.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	md := m.Input()
	r := s.requests[md]
	if r == nil {
		r = s.compile(md)
		s.requests[md] = r
	}
	return r.check, r.problems
}

// compile prepares a message type. Caller must hold s.mu. Descriptors come from another process, so
// a panic becomes a problem.
func (s *schemaChecks) compile(md protoreflect.MessageDescriptor) (r *request) {
	defer func() {
		if p := recover(); p != nil {
			r = unchecked(md, fmt.Errorf("panic: %v", p))
		}
	}()
	reached := s.reach(md)
	if len(reached) == 0 {
		return new(request)
	}
	cost, err := s.costOf(reached)
	if err != nil {
		return unchecked(md, err)
	}
	if err := s.open(); err != nil {
		return unchecked(md, err)
	}
	r = &request{problems: s.extensions.problems}
	for _, t := range reached {
		s.probe(t)
		r.problems = append(r.problems, t.problems...)
	}
	r.check = &check{message: md, validator: s.validator, gate: s.gate, cost: cost, broken: s.broken}
	return r
}

// unchecked is a message type that passes because of a problem.
func unchecked(md protoreflect.MessageDescriptor, err error) *request {
	return &request{problems: []checks.Problem{{
		Subject: string(md.FullName()), Reason: "its rules cannot be used, so requests of this type are not checked: " + oneLine(err),
	}}}
}

// open makes the validator, when the first message with rules is met. Caller must hold s.mu.
func (s *schemaChecks) open() error {
	if s.validator == nil && s.failed == nil {
		s.validator, s.failed = pv.New(pv.WithExtensionTypeResolver(s.extensions))
	}
	return s.failed
}

// costOf is the cost of all expressions of some types together. It is an error if that is too high.
// Caller must hold s.mu.
func (s *schemaChecks) costOf(types []*typeRules) (cost, error) {
	var total cost
	for _, t := range types {
		if !t.counted {
			t.counted = true
			s.compiled += len(t.expressions)
		}
		if s.compiled > maxExpressions {
			return total, fmt.Errorf("the schema has more than %d CEL expressions", maxExpressions)
		}
		for _, e := range t.expressions {
			c, err := e.cost()
			if err != nil {
				return total, err
			}
			total = total.and(c)
		}
	}
	return total, nil
}

// probe finds the rules of a type that do not compile. The library compiles a type and all that it
// has when it is first validated. It returns the error of a rule only from a validation that comes
// to it, so each is tried with an empty message. Caller must hold s.mu.
func (s *schemaChecks) probe(t *typeRules) {
	if t.probed {
		return
	}
	t.probed = true
	empty := dynamicpb.NewMessage(t.message)
	err := s.validator.Validate(empty)
	if invalid := (*pv.ValidationError)(nil); err == nil || errors.As(err, &invalid) {
		return
	}
	broken := make(map[protoreflect.Descriptor]bool, len(s.broken)+1)
	for d := range s.broken {
		broken[d] = true
	}
	for _, d := range t.parts() {
		only := pv.FilterFunc(func(_ protoreflect.Message, of protoreflect.Descriptor) bool { return of == d })
		var wrong *pv.CompilationError
		if err := s.validator.Validate(empty, pv.WithFilter(only)); !errors.As(err, &wrong) {
			continue
		}
		broken[d] = true
		if strings.Contains(wrong.Error(), "failed to compile embedded type") {
			continue // The message that has the rule is reported.
		}
		if len(t.problems) < maxProblems {
			t.problems = append(t.problems, checks.Problem{
				Subject: string(d.FullName()), Reason: "its rules do not compile and are not checked: " + oneLine(wrong),
			})
		}
	}
	s.broken = broken
}

const (
	// maxProblems is how many problems of one message type are reported.
	maxProblems = 20
	// maxReason is how much of the text of an error is shown, in bytes.
	maxReason = 300
)

// oneLine is the first line of an error. CEL's errors go on with a drawing of the place.
func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}
