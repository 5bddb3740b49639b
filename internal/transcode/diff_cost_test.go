package transcode_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

const (
	proto3All = "protobuf_test_messages.proto3.TestAllTypesProto3"
	proto2All = "protobuf_test_messages.proto2.TestAllTypesProto2"
	structpb  = "google.protobuf.Struct"
	anypb     = "google.protobuf.Any"
)

// For a hostile input a careless codec takes more than linear time. n says how large the input is.
type hostile struct {
	name    string
	message protoreflect.FullName
	make    func(n int) []byte
}

var hostileJSON = []hostile{
	{"nested messages", proto3All, func(n int) []byte {
		return nest(n, `{"recursiveMessage":`, `{}`, `}`)
	}},
	{"nested messages with content after them", proto3All, func(n int) []byte {
		return nest(n, `{"recursiveMessage":`, `{}`, `,"optionalString":"0123456789"}`)
	}},
	{"nested groups", "judge.editions.Features", func(n int) []byte {
		return nest(n, `{"delimited":`, `{}`, `}`)
	}},
	{"nested lists of messages", "judge.proto2.Needs", func(n int) []byte {
		return nest(n, `{"id":"a","children":[`, `{"id":""}`, `]}`)
	}},
	{"nested maps", "judge.proto3.Maps", func(n int) []byte {
		return nest(n, `{"byInt32":{"1":`, `{}`, `}}`)
	}},
	{"nested structs", structpb, func(n int) []byte { return nest(n, `{"a":`, `{}`, `}`) }},
	{"nested arrays in a struct", structpb, func(n int) []byte { return nest(1, `{"a":`, string(nest(n, `[`, `1`, `]`)), `}`) }},
	{"nested arrays never closed", structpb, func(n int) []byte { return []byte(`{"a":` + strings.Repeat(`[`, n)) }},
	{"nested unknown objects", proto3All, func(n int) []byte { return nest(n, `{"unknown":`, `{}`, `}`) }},
	{"nested anys, type last", anypb, func(n int) []byte {
		return nest(n, `{"value":`, `{}`, `,"@type":"type.googleapis.com/google.protobuf.Any"}`)
	}},
	{"nested messages in anys, type last", anypb, func(n int) []byte {
		return nest(n, `{"any":`, `{"@type":"type.googleapis.com/google.protobuf.Empty"}`, `,"id":"","@type":"type.googleapis.com/judge.proto2.Needs"}`)
	}},
	{"many unknown keys", proto3All, func(n int) []byte {
		return join(n, `{`, func(i int) string { return fmt.Sprintf(`"unknown%d":%d`, i, i) }, `}`)
	}},
	{"many keys of a map", proto3All, func(n int) []byte {
		return join(n, `{"mapStringString":{`, func(i int) string { return fmt.Sprintf(`"key%d":"v"`, i*7919) }, `}}`)
	}},
	{"many numeric keys of a map", proto3All, func(n int) []byte {
		return join(n, `{"mapInt32Int32":{`, func(i int) string { return fmt.Sprintf(`"%d":1`, n-i) }, `}}`)
	}},
	{"many keys of a struct", structpb, func(n int) []byte {
		return join(n, `{`, func(i int) string { return fmt.Sprintf(`"key%d":null`, i) }, `}`)
	}},
	{"many messages in a list", proto3All, func(n int) []byte {
		return join(n, `{"repeatedNestedMessage":[`, func(int) string { return `{"a":1}` }, `]}`)
	}},
	{"many numbers in a packed list", proto3All, func(n int) []byte {
		return join(n, `{"repeatedInt32":[`, strconv.Itoa, `]}`)
	}},
	{"many lists of one number", structpb, func(n int) []byte {
		return join(n, `{"a":[`, func(int) string { return `[1]` }, `]}`)
	}},
	{"one field again and again as null", proto3All, func(n int) []byte {
		return join(n, `{`, func(int) string { return `"optionalInt32":null` }, `}`)
	}},
	{"a long string", proto3All, func(n int) []byte { return nest(1, `{"optionalString":"`, strings.Repeat("abcdefgh", n), `"}`) }},
	{"a long string of escapes", proto3All, func(n int) []byte { return nest(1, `{"optionalString":"`, strings.Repeat(`\n\u00e9`, n), `"}`) }},
	{"a long string of surrogates", proto3All, func(n int) []byte { return nest(1, `{"optionalString":"`, strings.Repeat(`\ud83d\ude00`, n), `"}`) }},
	{"a string never closed", proto3All, func(n int) []byte { return []byte(`{"optionalString":"` + strings.Repeat(`\\`, n)) }},
	{"a long key with escapes", proto3All, func(n int) []byte { return nest(1, `{"`, strings.Repeat(`\u0061`, n), `":1}`) }},
	{"long bytes", proto3All, func(n int) []byte { return nest(1, `{"optionalBytes":"`, strings.Repeat("AQID", n), `"}`) }},
	{"long bytes with escapes", proto3All, func(n int) []byte { return nest(1, `{"optionalBytes":"`, strings.Repeat(`\u0041QID`, n), `"}`) }},
	{"a double of many digits", proto3All, func(n int) []byte { return nest(1, `{"optionalDouble":0.`, strings.Repeat("1234567890", n), `}`) }},
	{"a double of many zeros", proto3All, func(n int) []byte { return nest(1, `{"optionalDouble":0.`, strings.Repeat("0000000000", n), `1}`) }},
	{"an integer with many zeros after the point", proto3All, func(n int) []byte { return nest(1, `{"optionalInt64":1.`, strings.Repeat("0000000000", n), `}`) }},
	{"an integer of many digits and a negative exponent", proto3All, func(n int) []byte {
		return nest(1, `{"optionalInt64":1`, strings.Repeat("0000000000", n), `e-`+strconv.Itoa(10*n)+`}`)
	}},
	{"an integer with a huge exponent", proto3All, func(n int) []byte { return nest(1, `{"optionalInt64":0e`, strings.Repeat("9", n), `}`) }},
	{"a number of a value", structpb, func(n int) []byte {
		return nest(1, `{"a":1`, strings.Repeat("0000000000", n), `e-`+strconv.Itoa(10*n)+`}`)
	}},
	{"a long field mask", proto3All, func(n int) []byte { return nest(1, `{"optionalFieldMask":"`, strings.Repeat("fooBar.baz,", n), `a"}`) }},
	{"a long enum name", proto3All, func(n int) []byte { return nest(1, `{"optionalNestedEnum":"`, strings.Repeat("FOO", n), `"}`) }},
	{"a long duration", proto3All, func(n int) []byte { return nest(1, `{"optionalDuration":"1.`, strings.Repeat("000", n), `s"}`) }},
	{"white space", proto3All, func(n int) []byte { return nest(1, `{`, strings.Repeat(" \n", n), `}`) }},
}

var hostileWire = []hostile{
	{"nested messages", proto3All, func(n int) []byte { return nestWire(n, 27, nil) }},
	{"nested groups", "judge.editions.Features", func(n int) []byte { return nest(n, "\x63", "", "\x64") }},
	{"nested unknown groups", proto3All, func(n int) []byte { return nest(n, "\xbb\xe7\x03", "", "\xbc\xe7\x03") }},
	{"nested unknown groups never closed", proto3All, func(n int) []byte { return bytes.Repeat([]byte("\xbb\xe7\x03"), n) }},
	{"nested values", "google.protobuf.ListValue", func(n int) []byte {
		wire := []byte{}
		for range n / 8 {
			wire = field(1, field(6, wire))
		}
		return wire
	}},
	{"nested anys", anypb, func(n int) []byte {
		wire := []byte{}
		for range n / 8 {
			wire = append(field(1, []byte("type.googleapis.com/google.protobuf.Any")), field(2, wire)...)
		}
		return wire
	}},
	{"nested messages, each split in two", proto3All, func(n int) []byte {
		wire := []byte{}
		for range n / 8 {
			wire = append(field(27, field(14, []byte("x"))), field(27, wire)...)
		}
		return wire
	}},
	{"a message split into many", proto3All, func(n int) []byte {
		return bytes.Repeat(field(27, field(31, []byte{1})), n)
	}},
	{"a message split into many, and so on", proto3All, func(n int) []byte {
		return bytes.Repeat(field(27, field(27, field(27, field(44, []byte("x"))))), n)
	}},
	{"two lists interleaved", proto3All, func(n int) []byte {
		return bytes.Repeat(append(field(44, []byte("a")), field(55, []byte("b"))...), n)
	}},
	{"two lists of messages interleaved", proto3All, func(n int) []byte {
		return bytes.Repeat(append(field(48, field(2, nil)), field(49, nil)...), n)
	}},
	{"a singular again and again", proto3All, func(n int) []byte { return bytes.Repeat(field(14, []byte("abc")), n) }},
	{"two members of a oneof in turns", proto3All, func(n int) []byte {
		return bytes.Repeat(append(field(113, []byte("a")), field(114, []byte("b"))...), n)
	}},
	{"two messages of a oneof in turns", "judge.proto3.Known.Choice", func(n int) []byte {
		return bytes.Repeat(append(field(3, field(1, []byte("a"))), field(6, field(1, field(3, nil)))...), n)
	}},
	{"packed and single numbers in turns", proto3All, func(n int) []byte {
		return bytes.Repeat(append(field(31, []byte{1, 2, 3}), 0xf8, 1, 4), n)
	}},
	{"many packed lists of nothing", proto3All, func(n int) []byte { return bytes.Repeat(field(31, nil), n) }},
	{"fields in reverse", proto3All, func(n int) []byte {
		var wire []byte
		for range n {
			wire = append(wire, field(45, []byte("b"))...)
		}
		for range n {
			wire = append(wire, field(44, []byte("a"))...)
		}
		return wire
	}},
	{"many entries of a map, one key", proto3All, func(n int) []byte {
		return bytes.Repeat(field(69, append(field(1, []byte("k")), field(2, []byte("v"))...)), n)
	}},
	{"many entries of a map in reverse", proto3All, func(n int) []byte {
		var wire []byte
		for i := range n {
			wire = append(wire, field(69, field(1, fmt.Appendf(nil, "%09d", n-i)))...)
		}
		return wire
	}},
	{"many entries of a map, one key, many parts", proto3All, func(n int) []byte {
		return field(71, bytes.Repeat(field(2, field(2, field(31, []byte{1}))), n))
	}},
	{"a long string to escape", proto3All, func(n int) []byte { return field(14, bytes.Repeat([]byte("\"\n\x01é"), n)) }},
	{"a string that is bad at its end", proto3All, func(n int) []byte { return field(14, append(bytes.Repeat([]byte("世"), n), 0xff)) }},
	{"a long field mask", proto3All, func(n int) []byte {
		return field(303, bytes.Repeat(field(1, []byte("foo_bar.baz")), n))
	}},
	{"an unknown field again and again", proto3All, func(n int) []byte { return bytes.Repeat(field(7777, []byte("abc")), n) }},
	{"a required field again and again", "judge.proto2.Needs", func(n int) []byte { return bytes.Repeat(field(1, []byte("abc")), n) }},
	{"many extensions in reverse", "judge.proto2.Extended", func(n int) []byte {
		return bytes.Repeat(append(field(102, []byte("b")), 0xa0, 6, 1), n)
	}},
}

// TestCostIsLinear converts hostile inputs of two sizes, without a limit to nesting. An input that
// is sixteen times as long may take sixteen times as long. With the noise of a busy machine and of
// the race detector it may take 64 times as long, in one of four attempts, but not 256 times.
func TestCostIsLinear(t *testing.T) {
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	opts := transcode.Options{DiscardUnknown: true, MaxDepth: 1 << 30}
	compiler := transcode.NewCompiler(s.types, opts)
	check := func(t *testing.T, h hostile, convert func(*transcode.Codec) func(dst, input []byte) ([]byte, error)) {
		mt, err := s.types.FindMessageByName(h.message)
		if err != nil {
			t.Fatal(err)
		}
		codec, err := compiler.Codec(mt.Descriptor())
		if err != nil {
			t.Fatal(err)
		}
		do := convert(codec)
		const n, factor = 200, 16
		small, large := h.make(n), h.make(n*factor)
		var grows float64
		for range 4 {
			if grows = cost(t, do, large) / cost(t, do, small); grows <= 4*factor {
				return
			}
		}
		t.Errorf("%d times the input takes %.0f times as long", factor, grows)
	}
	for _, h := range hostileJSON {
		t.Run("json/"+h.name, func(t *testing.T) {
			check(t, h, func(c *transcode.Codec) func(dst, input []byte) ([]byte, error) { return c.JSONToWire })
		})
	}
	for _, h := range hostileWire {
		t.Run("wire/"+h.name, func(t *testing.T) {
			check(t, h, func(c *transcode.Codec) func(dst, input []byte) ([]byte, error) { return c.WireToJSON })
		})
	}
}

// cost returns the shortest of several times that a conversion takes, in seconds of processor time.
// Whether it succeeds does not matter.
func cost(t *testing.T, do func(dst, input []byte) ([]byte, error), input []byte) float64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The garbage collector would shrink the stack that deep nesting has made grow, and it would
	// have to grow again.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	buf, _ := do(nil, input)
	shortest := math.Inf(1)
	for range 5 {
		var spent time.Duration
		n := 0
		for ; spent < 200*time.Microsecond; n++ {
			begin, err := threadTime()
			if err != nil {
				t.Fatal(err)
			}
			buf, _ = do(buf[:0], input)
			end, err := threadTime()
			if err != nil {
				t.Fatal(err)
			}
			spent += max(end-begin, time.Nanosecond)
		}
		shortest = min(shortest, spent.Seconds()/float64(n))
	}
	return shortest
}

// TestHostileResults compares the results for the hostile inputs with the oracle, if they are
// within the limit of nesting.
func TestHostileResults(t *testing.T) {
	for _, n := range []int{1, 2, 10, 90, 300} {
		for _, h := range hostileJSON {
			p := pairNamed(t, h.message, 8)
			if err := p.compareJSON(h.make(n)); err != nil {
				t.Errorf("json: %s, %d: %v", h.name, n, err)
			}
		}
		for _, h := range hostileWire {
			p := pairNamed(t, h.message, 8)
			if err := p.compareWire(h.make(n)); err != nil {
				t.Errorf("wire: %s, %d: %v", h.name, n, err)
			}
		}
	}
}

// nest returns middle between n times before and n times after.
func nest(n int, before, middle, after string) []byte {
	return []byte(strings.Repeat(before, n) + middle + strings.Repeat(after, n))
}

// join returns n parts, separated by commas and enclosed.
func join(n int, before string, part func(i int) string, after string) []byte {
	var b strings.Builder
	b.WriteString(before)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(part(i))
	}
	b.WriteString(after)
	return []byte(b.String())
}

func field(num protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), content)
}

// nestWire returns a field within a field, n times. It builds the wire from its end, in linear
// time.
func nestWire(n int, num protowire.Number, content []byte) []byte {
	var backwards [][]byte
	size := len(content)
	for range n {
		head := protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(size))
		backwards, size = append(backwards, head), size+len(head)
	}
	wire := make([]byte, 0, size)
	for i := len(backwards) - 1; i >= 0; i-- {
		wire = append(wire, backwards[i]...)
	}
	return append(wire, content...)
}
