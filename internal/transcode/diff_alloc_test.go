//go:build !race

package transcode_test

import (
	"runtime"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// With the race detector a sync.Pool drops items at random, so there is never a steady state.

// TestNoAllocations converts a message of each type that cannot hold an Any. In the steady state
// nothing is allocated.
func TestNoAllocations(t *testing.T) {
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range s.roots {
		p := pairNamed(t, root.FullName(), 0)
		if reachesAny(root, map[protoreflect.FullName]bool{}) || root.Oneofs().Len() > 64 {
			continue // a map keeps oneofs that do not fit the bits of a word
		}
		t.Run(string(root.FullName()), func(t *testing.T) {
			buf := make([]byte, 0, 1<<20)
			for i := range 20 {
				wire := genWire(newTape([]byte{byte(i)}), s, root, canonical)
				text, err := p.oracle.WireToJSON(nil, wire)
				if err != nil {
					continue
				}
				// The pool of buffers may be emptied at any time. That costs a few allocations now
				// and then, and none on average.
				if n := testing.AllocsPerRun(50, func() { buf, _ = p.ours.WireToJSON(buf[:0], wire) }); n != 0 {
					t.Errorf("%v allocations to JSON: %x", n, wire)
				}
				if n := testing.AllocsPerRun(50, func() { buf, _ = p.ours.JSONToWire(buf[:0], text) }); n != 0 {
					t.Errorf("%v allocations to wire: %s", n, text)
				}
			}
		})
	}
}

// reachesAny reports whether a message may hold an Any, or an extension, at any depth.
func reachesAny(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[md.FullName()] {
		return false
	}
	seen[md.FullName()] = true
	if md.FullName() == anypb || md.ExtensionRanges().Len() > 0 {
		return true
	}
	for i := range md.Fields().Len() {
		if inner := md.Fields().Get(i).Message(); inner != nil && reachesAny(inner, seen) {
			return true
		}
	}
	return false
}

// TestMemoryOfHostileInputs compares what is allocated for an input with the size of the input and
// of the result. JSON comes from strangers. Wire comes from the backends that the gateway serves,
// and may need an index of all its fields.
func TestMemoryOfHostileInputs(t *testing.T) {
	const perByteOfJSON, perByteOfWire, slack = 16, 128, 1 << 16
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	compiler := transcode.NewCompiler(s.types, transcode.Options{DiscardUnknown: true})
	check := func(name string, message protoreflect.FullName, input []byte, perByte int, toWire bool) {
		codec, err := compiler.Codec(pairNamed(t, message, 0).md)
		if err != nil {
			t.Fatal(err)
		}
		convert := codec.WireToJSON
		if toWire {
			convert = codec.JSONToWire
		}
		_, _ = convert(nil, input) // compiles the types that the input uses
		allocated := totalAllocated()
		out, _ := convert(nil, input)
		allocated = totalAllocated() - allocated
		if limit := uint64(perByte*(len(input)+len(out)) + slack); allocated > limit {
			t.Errorf("%s: %d bytes of input and %d of output, and %d allocated", name, len(input), len(out), allocated)
		}
	}
	for _, h := range hostileJSON {
		check("json: "+h.name, h.message, h.make(20000), perByteOfJSON, true)
	}
	for _, h := range hostileWire {
		check("wire: "+h.name, h.message, h.make(20000), perByteOfWire, false)
	}
}

func totalAllocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}
