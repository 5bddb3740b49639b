package codec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"buf.build/go/hyperpb"
	"github.com/bytedance/sonic"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// convert appends the other form of its input to dst.
type convert func(dst, input []byte) ([]byte, error)

// A contender is one way to convert a shape.
type contender struct {
	name string
	make func(tb testing.TB, s *shape) convert
}

func ours(tb testing.TB, s *shape) *transcode.Codec {
	tb.Helper()
	codec, err := transcode.NewCompiler(protoregistry.GlobalTypes, transcode.Options{}).Codec(s.msg.ProtoReflect().Descriptor())
	if err != nil {
		tb.Fatal(err)
	}
	return codec
}

var toJSON = []contender{
	{"ours", func(tb testing.TB, s *shape) convert { return ours(tb, s).WireToJSON }},
	{"protojson-dynamicpb", func(_ testing.TB, s *shape) convert {
		typ := dynamicpb.NewMessageType(s.msg.ProtoReflect().Descriptor())
		return func(dst, wire []byte) ([]byte, error) {
			msg := typ.New().Interface()
			if err := proto.Unmarshal(wire, msg); err != nil {
				return dst, err
			}
			return protojson.MarshalOptions{}.MarshalAppend(dst, msg)
		}
	}},
	{"protojson-generated", func(_ testing.TB, s *shape) convert {
		typ := s.msg.ProtoReflect().Type()
		return func(dst, wire []byte) ([]byte, error) {
			msg := typ.New().Interface()
			if err := proto.Unmarshal(wire, msg); err != nil {
				return dst, err
			}
			return protojson.MarshalOptions{}.MarshalAppend(dst, msg)
		}
	}},
	{"protojson-hyperpb", func(_ testing.TB, s *shape) convert {
		typ := hyperpb.CompileMessageDescriptor(s.msg.ProtoReflect().Descriptor())
		shared := new(hyperpb.Shared)
		return func(dst, wire []byte) ([]byte, error) {
			defer shared.Free()
			msg := shared.NewMessage(typ)
			if err := msg.Unmarshal(wire); err != nil {
				return dst, err
			}
			return protojson.MarshalOptions{}.MarshalAppend(dst, msg)
		}
	}},
	// Only the second half of the way: from structs that are in memory already.
	{"sonic-struct", func(tb testing.TB, s *shape) convert {
		v := s.plain()
		if err := sonic.Unmarshal(s.json, v); err != nil {
			tb.Fatal(err)
		}
		return func(dst, _ []byte) ([]byte, error) {
			text, err := sonic.Marshal(v)
			if err != nil || len(dst) == 0 {
				return text, err
			}
			return append(dst, text...), nil
		}
	}},
}

var toWire = []contender{
	{"ours", func(tb testing.TB, s *shape) convert { return ours(tb, s).JSONToWire }},
	{"protojson-dynamicpb", func(_ testing.TB, s *shape) convert {
		typ := dynamicpb.NewMessageType(s.msg.ProtoReflect().Descriptor())
		return func(dst, text []byte) ([]byte, error) {
			msg := typ.New().Interface()
			if err := protojson.Unmarshal(text, msg); err != nil {
				return dst, err
			}
			return proto.MarshalOptions{}.MarshalAppend(dst, msg)
		}
	}},
	{"protojson-generated", func(_ testing.TB, s *shape) convert {
		typ := s.msg.ProtoReflect().Type()
		return func(dst, text []byte) ([]byte, error) {
			msg := typ.New().Interface()
			if err := protojson.Unmarshal(text, msg); err != nil {
				return dst, err
			}
			return proto.MarshalOptions{}.MarshalAppend(dst, msg)
		}
	}},
	// Only the first half of the way: to structs in memory.
	{"sonic-struct", func(_ testing.TB, s *shape) convert {
		return func(dst, text []byte) ([]byte, error) { return dst, sonic.Unmarshal(text, s.plain()) }
	}},
}

func BenchmarkWireToJSON(b *testing.B) {
	for _, s := range shapes(b) {
		b.Run("shape="+s.name, func(b *testing.B) { run(b, toJSON, s, s.wire, len(s.json)) })
	}
}

func BenchmarkJSONToWire(b *testing.B) {
	for _, s := range shapes(b) {
		b.Run("shape="+s.name+"/keys=declared", func(b *testing.B) { run(b, toWire, s, s.json, len(s.json)) })
		b.Run("shape="+s.name+"/keys=shuffled", func(b *testing.B) { run(b, toWire, s, s.shuffled, len(s.json)) })
	}
}

// run measures all contenders on one input. The speed is per byte of JSON in both directions.
func run(b *testing.B, contenders []contender, s *shape, input []byte, jsonSize int) {
	for _, c := range contenders {
		b.Run("codec="+c.name, func(b *testing.B) {
			do := c.make(b, s)
			buf := make([]byte, 0, 2*max(len(s.json), len(s.wire)))
			b.SetBytes(int64(jsonSize))
			b.ReportAllocs()
			begin := cpuTime()
			for b.Loop() {
				if _, err := do(buf, input); err != nil {
					b.Fatal(err)
				}
			}
			if spent := cpuTime() - begin; spent > 0 {
				b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "cpu-ns/op")
			}
		})
	}
}

// TestContendersAgree holds all contenders to the same result, or the benchmarks would compare
// different work.
func TestContendersAgree(t *testing.T) {
	for _, s := range shapes(t) {
		t.Logf("%s: %d bytes of JSON, %d bytes of wire", s.name, len(s.json), len(s.wire))
		for _, c := range toJSON {
			text, err := c.make(t, s)(nil, s.wire)
			if err != nil {
				t.Errorf("%s: %s: %v", s.name, c.name, err)
			} else if !sameJSON(t, text, s.json) {
				t.Errorf("%s: %s writes %.200s\nwant %.200s", s.name, c.name, text, s.json)
			}
		}
		for _, c := range toWire {
			if c.name == "sonic-struct" {
				continue // it writes no wire
			}
			for _, input := range [][]byte{s.json, s.shuffled} {
				wire, err := c.make(t, s)(nil, input)
				if err != nil {
					t.Errorf("%s: %s: %v", s.name, c.name, err)
					continue
				}
				got := s.msg.ProtoReflect().New().Interface()
				if err := proto.Unmarshal(wire, got); err != nil || !proto.Equal(got, s.msg) {
					t.Errorf("%s: %s writes another message (%v)", s.name, c.name, err)
				}
			}
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Error(err)
	}
	return reflect.DeepEqual(x, y)
}
