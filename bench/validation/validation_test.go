// Package validation measures what the check of a request message costs: the gateway's beside the
// library alone, and decoding with dynamicpb beside hyperpb.
//
//	cd bench && go test -run '^$' -bench . -benchmem ./validation
package validation

import (
	"context"
	"strings"
	"testing"

	"buf.build/go/hyperpb"
	pv "buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/checks/protovalidate"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// messages are valid, except those that say otherwise.
func messages() map[string]*testpb.EchoRequest {
	large := &testpb.EchoRequest{Text: "a"}
	hostile := &testpb.EchoRequest{}
	for range 200 {
		large.Many = append(large.Many, &testpb.Nested{Value: "abc", Numbers: []int32{1, 2, 3}})
		large.List = append(large.List, "an item of a list")
	}
	for range 32 << 10 {
		hostile.Many = append(hostile.Many, &testpb.Nested{})
	}
	return map[string]*testpb.EchoRequest{
		"small":   {Text: "hello", Count: 3, List: []string{"a", "b"}, RenamedField: "abc", Nested: &testpb.Nested{Value: "x"}},
		"large":   large,
		"hostile": hostile, // 64 KiB of empty messages
		"invalid": {Text: strings.Repeat("x", 17), List: []string{""}},
	}
}

func BenchmarkMessage(b *testing.B) {
	set, err := testkit.Rules(nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := schema.New(set)
	if err != nil {
		b.Fatal(err)
	}
	method := s.Method("gateway.test.v1.Echo/Unary").Desc
	validator, err := pv.New()
	if err != nil {
		b.Fatal(err)
	}
	check, problems := new(protovalidate.Checker).Schema(checks.Schema{Files: s.Files()}).Method(method)
	if check == nil || len(problems) > 0 {
		b.Fatal(problems)
	}
	for name, m := range messages() {
		wire, err := proto.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		for way, run := range ways(method.Input(), validator, check, wire) {
			b.Run(name+"/"+way, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(wire)))
				for b.Loop() {
					if err := run(); (err != nil) != (name == "invalid") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func ways(md protoreflect.MessageDescriptor, validator pv.Validator, check checks.Check, wire []byte) map[string]func() error {
	judge := func(m proto.Message) error {
		if err := proto.Unmarshal(wire, m); err != nil {
			return err
		}
		return validator.Validate(m, pv.WithFailFast())
	}
	decoded := dynamicpb.NewMessage(md)
	_ = proto.Unmarshal(wire, decoded)
	typ, shared := hyperpb.CompileMessageDescriptor(md), new(hyperpb.Shared)
	return map[string]func() error{
		"gateway":   func() error { return check.Message(context.Background(), wire) },
		"library":   func() error { return validator.Validate(decoded, pv.WithFailFast()) },
		"dynamicpb": func() error { return judge(dynamicpb.NewMessage(md)) },
		"hyperpb": func() error {
			defer shared.Free()
			return judge(shared.NewMessage(typ))
		},
	}
}
