package protovalidate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	pv "buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/checks"
)

const (
	// maxNesting is how deeply messages may be nested.
	maxNesting = 1000
	// maxCollected is the weight of a message up to which all its violations are collected.
	maxCollected = 2000
	// maxHeavy is the largest weight of a message whose rules can take time with the square of it.
	maxHeavy = 4096
	// maxTold is how many violations are told.
	maxTold = 100
	// maxKey is how much of a map's key is in a path, in bytes. Each violation within the value has
	// the key in its path.
	maxKey = 256
	// textUnit is how many bytes of text weigh as much as an element.
	textUnit = 64
)

// check judges messages of one type. It implements checks.Check.
type check struct {
	message   protoreflect.MessageDescriptor
	validator pv.Validator
	gate      *gate
	cost      cost
	// broken are the parts that have no usable rules. It is never changed. Nil: there are none.
	broken map[protoreflect.Descriptor]bool
}

// ShouldValidate implements pv.Filter.
func (c *check) ShouldValidate(_ protoreflect.Message, d protoreflect.Descriptor) bool {
	return !c.broken[d]
}

// Message implements checks.Check.
func (c *check) Message(ctx context.Context, wire []byte) error {
	leave, err := c.gate.enter(ctx, wire, c.message)
	if err != nil {
		return err
	}
	defer leave()
	msg := dynamicpb.NewMessage(c.message)
	if err := decoding().Unmarshal(wire, msg); err != nil {
		return &checks.Refusal{Message: fmt.Sprintf("the request message is not a valid %s", c.message.FullName())}
	}
	if c.cost.degree >= heavyDegree && (scale{textUnit: c.textUnit()}).weigh(msg, maxHeavy) > maxHeavy {
		return &checks.Refusal{Message: "the request message has more parts than its rules can check"}
	}
	err = c.validate(msg, pv.WithFailFast())
	var invalid *pv.ValidationError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &invalid):
		return fmt.Errorf("check %s: %w", c.message.FullName(), err)
	}
	if (scale{textUnit: textUnit, fields: true}).weigh(msg, maxCollected) <= maxCollected {
		var all *pv.ValidationError
		if errors.As(c.validate(msg), &all) {
			invalid = all
		}
	}
	return c.refusal(invalid)
}

func (c *check) validate(msg proto.Message, options ...pv.ValidationOption) error {
	if c.broken != nil {
		options = append(options, pv.WithFilter(c))
	}
	return c.validator.Validate(msg, options...)
}

func (c *check) textUnit() int {
	if c.cost.splits {
		return 1
	}
	return textUnit
}

// decoding says how messages are decoded for their rules. Extensions have none, so they stay
// unknown. Fields that are missing are left to the service.
func decoding() proto.UnmarshalOptions {
	return proto.UnmarshalOptions{AllowPartial: true, DiscardUnknown: true, RecursionLimit: maxNesting, Resolver: noTypes}
}

// noTypes is empty and is never changed.
var noTypes = new(protoregistry.Types)

// refusal is the error of the violations.
func (c *check) refusal(invalid *pv.ValidationError) *checks.Refusal {
	r := &checks.Refusal{Total: len(invalid.Violations)}
	for _, v := range invalid.Violations[:min(maxTold, r.Total)] {
		r.Violations = append(r.Violations, checks.Violation{
			Field: c.path(v.Proto.GetField().GetElements()), Rule: v.Proto.GetRuleId(), Description: v.Proto.GetMessage(),
		})
	}
	r.Detail = func(n int) proto.Message {
		list := invalid.ToProto()
		list.SetViolations(list.GetViolations()[:n])
		return list
	}
	return r
}

// path finds the fields of a path.
func (c *check) path(elements []*validate.FieldPathElement) []checks.Step {
	steps := make([]checks.Step, len(elements))
	md := c.message
	for i, e := range elements {
		steps[i] = checks.Step{Name: e.GetFieldName(), Subscript: subscript(e)}
		if md == nil || !e.HasFieldNumber() {
			md = nil
			continue
		}
		fd := md.Fields().ByNumber(protoreflect.FieldNumber(e.GetFieldNumber()))
		if md = nil; fd == nil {
			continue
		}
		steps[i].Field = fd
		if md = fd.Message(); fd.IsMap() {
			md = fd.MapValue().Message()
		}
	}
	return steps
}

func subscript(e *validate.FieldPathElement) string {
	switch e.WhichSubscript() {
	case validate.FieldPathElement_Index_case:
		return strconv.FormatUint(e.GetIndex(), 10)
	case validate.FieldPathElement_BoolKey_case:
		return strconv.FormatBool(e.GetBoolKey())
	case validate.FieldPathElement_IntKey_case:
		return strconv.FormatInt(e.GetIntKey(), 10)
	case validate.FieldPathElement_UintKey_case:
		return strconv.FormatUint(e.GetUintKey(), 10)
	case validate.FieldPathElement_StringKey_case:
		key := e.GetStringKey()
		if len(key) > maxKey {
			key = strings.ToValidUTF8(key[:maxKey], "") + "…"
		}
		return strconv.Quote(key)
	}
	return ""
}

// scale says what counts as a part of a message: elements of lists, entries of maps, and texts by
// their length.
type scale struct {
	// textUnit is how many bytes of text count as one part.
	textUnit int
	// fields says that each field of each message counts, too, even if it is not set. Each may be
	// a violation.
	fields bool
}

// weigh counts the parts of a message. It stops above most.
func (s scale) weigh(m protoreflect.Message, most int) int {
	n := 0
	if s.fields {
		n = m.Descriptor().Fields().Len()
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsList():
			n += v.List().Len()
			for i := 0; i < v.List().Len() && n <= most; i++ {
				n += s.weighValue(fd, v.List().Get(i), most-n)
			}
		case fd.IsMap():
			n += v.Map().Len()
			v.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				n += s.weighValue(fd.MapKey(), key.Value(), most-n) + s.weighValue(fd.MapValue(), value, most-n)
				return n <= most
			})
		default:
			n += s.weighValue(fd, v, most-n)
		}
		return n <= most
	})
	return n
}

func (s scale) weighValue(fd protoreflect.FieldDescriptor, v protoreflect.Value, most int) int {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return s.weigh(v.Message(), most)
	case protoreflect.StringKind:
		return len(v.String()) / s.textUnit
	case protoreflect.BytesKind:
		return len(v.Bytes()) / s.textUnit
	}
	return 0
}
