package transcode_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
	"github.com/caddy-grpc/gateway/internal/transcode/conformance/oracle"
)

// recursive are messages that contain themselves, in every way that a message can.
var recursive = []hostile{
	{"message", proto3All, func(n int) []byte { return nest(n, `{"recursiveMessage":`, `{}`, `}`) }},
	{"group", "judge.editions.Features", func(n int) []byte { return nest(n, `{"delimited":`, `{}`, `}`) }},
	{"list", "judge.proto2.Needs", func(n int) []byte { return nest(n, `{"id":"a","children":[`, `{"id":""}`, `]}`) }},
	{"map", "judge.proto3.Maps", func(n int) []byte { return nest(n, `{"byInt32":{"1":`, `{}`, `}}`) }},
	{"oneof", "judge.proto3.Names", func(n int) []byte { return nest(n, `{"kid":`, `{}`, `}`) }},
	{"extension", "judge.proto2.Extended", func(n int) []byte {
		return nest(n, `{"[judge.proto2.Extended.Scope.scoped]":{"back":`, `{}`, `}}`)
	}},
	{"struct", structpb, func(n int) []byte { return nest(n, `{"a":`, `{}`, `}`) }},
	{"list in a struct", structpb, func(n int) []byte { return nest(1, `{"a":`, string(nest(n, `[`, `1`, `]`)), `}`) }},
	{"any", anypb, func(n int) []byte {
		return nest(n, `{"@type":"type.googleapis.com/google.protobuf.Any","value":`, `{}`, `}`)
	}},
	{"message in any", "judge.proto2.Needs", func(n int) []byte {
		return nest(n, `{"id":"","any":{"@type":"type.googleapis.com/judge.proto2.Needs","any":`, `{}`, `}}`)
	}},
	{"unknown object", proto3All, func(n int) []byte { return nest(n, `{"unknown":`, `{}`, `}`) }},
}

// TestDepthOfEachKind nests messages up to the limit and beyond. Messages of some depth must be
// read, and messages beyond the limit refused. Wire that was written from JSON can be read back.
func TestDepthOfEachKind(t *testing.T) {
	for _, h := range recursive {
		t.Run(h.name, func(t *testing.T) {
			p := pairNamed(t, h.message, 8)
			deepest := 0
			for n := range 3 * p.maxDepth() {
				wire, err := p.ours.JSONToWire(nil, h.make(n))
				if err != nil {
					continue
				}
				if deepest < n-1 {
					t.Errorf("depth %d is accepted, but %d is not", n, n-1)
				}
				deepest = n
				if _, err := p.ours.WireToJSON(nil, wire); err != nil {
					t.Errorf("depth %d was written to wire, and is refused from there: %v", n, err)
				}
			}
			if deepest < p.maxDepth()/4 || deepest > 2*p.maxDepth() {
				t.Errorf("the limit of %d lets through up to %d levels", p.maxDepth(), deepest)
			}
		})
	}
}

// TestNestedLengths converts nested messages. At each level the length almost needs, or just needs,
// another byte.
func TestNestedLengths(t *testing.T) {
	for _, edge := range []int{1 << 7, 1 << 14} {
		for size := edge - 12; size <= edge+1; size++ {
			text := strings.Repeat("x", size)
			for _, tt := range []struct {
				message protoreflect.FullName
				json    string
			}{
				{proto3All, fmt.Sprintf(`{"optionalString":%q}`, text)},
				{proto3All, fmt.Sprintf(`{"optionalNestedMessage":{"corecursive":{"optionalString":%q}},"optionalInt32":1}`, text)},
				{proto3All, fmt.Sprintf(`{"optionalInt32":1,"mapStringNestedMessage":{"a":{"corecursive":{"optionalString":%q}},"b":{}}}`, text)},
				{proto3All, fmt.Sprintf(`{"optionalAny":{"@type":"type.googleapis.com/%s","optionalString":%q},"optionalInt32":1}`, proto3All, text)},
				{"judge.editions.Features", fmt.Sprintf(`{"delimited":{"prefixed":{"withDefault":%q}},"prefixed":{"delimited":{"unchecked":"1"}}}`, text)},
				{structpb, fmt.Sprintf(`{"a":{"b":[%q,{"c":1}]},"d":2}`, text)},
			} {
				p := pairNamed(t, tt.message, 0)
				if err := p.compareJSON([]byte(tt.json)); err != nil {
					t.Errorf("%s with a string of %d bytes: %.300s", tt.message, size, err.Error())
				}
				wire, err := p.oracle.JSONToWire(nil, []byte(tt.json))
				if err != nil {
					t.Fatal(err)
				}
				if err := p.compareWire(wire); err != nil {
					t.Errorf("%s with a string of %d bytes: %.300s", tt.message, size, err.Error())
				}
			}
		}
	}
}

// TestConcurrentDifferential uses compilers that have compiled nothing yet, from many goroutines at
// once. While one goroutine compiles a message type, others already want it. The race detector
// finds what is wrong.
func TestConcurrentDifferential(t *testing.T) {
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	for round := range 60 {
		root := s.roots[round%len(s.roots)]
		compiler := transcode.NewCompiler(s.types, transcode.Options{})
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				codec, err := compiler.Codec(root)
				if err != nil {
					t.Error(err)
					return
				}
				p := &pair{schema: s, types: s.types, md: root, ours: codec, oracle: oracle.New(root, s.types, transcode.Options{})}
				for i := range 8 {
					choices := []byte{byte(round), byte(i)}
					if worker%2 == 0 {
						err = p.compareJSON(genJSON(newTape(choices), s, root, false))
					} else {
						err = p.compareWire(genWire(newTape(choices), s, root, scrambled))
					}
					if err != nil {
						t.Errorf("%s: %v", root.FullName(), err)
					}
				}
			})
		}
		group.Wait()
	}
}
