package checks_test

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/apipb"

	"github.com/caddy-grpc/gateway/checks"
)

// nonce is a checker that refuses messages without a nonce, if their type has a field of that name.
type nonce struct{ field protoreflect.Name }

func (nonce) ID() string { return "nonce" }

func (n nonce) Schema(checks.Schema) checks.SchemaChecks { return n }

func (n nonce) Method(m protoreflect.MethodDescriptor) (checks.Check, []checks.Problem) {
	return n.check(m.Input()), nil
}

func (n nonce) check(request protoreflect.MessageDescriptor) checks.Check {
	fd := request.Fields().ByName(n.field)
	if fd == nil {
		return nil // There is nothing to check, so calls of this method cost nothing.
	}
	return nonceCheck{fd}
}

type nonceCheck struct{ field protoreflect.FieldDescriptor }

func (c nonceCheck) Message(_ context.Context, wire []byte) error {
	if bytes.Contains(wire, []byte("nonce-")) {
		return nil
	}
	return &checks.Refusal{Violations: []checks.Violation{{
		Field: []checks.Step{{Field: c.field}}, Rule: "nonce.missing", Description: "must begin with nonce-",
	}}}
}

// A checker, as a module by others has it. The gateway asks it for each method, and then shows it
// each request message.
func Example() {
	var checker checks.Checker = nonce{field: "name"}
	fmt.Println(checker.ID())
	// google.protobuf.Api stands for a request that has the field, and Mixin for one that has not.
	check := nonce{field: "name"}.check((&apipb.Api{}).ProtoReflect().Descriptor())
	fmt.Println(check.Message(context.Background(), []byte("\x0a\x07nonce-1")))
	fmt.Println(check.Message(context.Background(), nil))
	fmt.Println(nonce{field: "nonce"}.check((&apipb.Mixin{}).ProtoReflect().Descriptor()))
	// Output:
	// nonce
	// <nil>
	// name: must begin with nonce- [nonce.missing]
	// <nil>
}
