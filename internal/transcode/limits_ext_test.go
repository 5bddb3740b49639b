package transcode_test

import (
	"bytes"
	"cmp"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// nestedNames returns a Names that contains n-1 others, one in the other, as JSON and as wire.
func nestedNames(n int) (text, wire []byte) {
	for range n - 1 {
		text = append(text, `{"child":`...)
		wire = protowire.AppendBytes([]byte{12<<3 | 2}, wire)
	}
	text = append(text, `{}`...)
	return append(text, strings.Repeat("}", n-1)...), wire
}

func TestMaxDepth(t *testing.T) {
	for _, tt := range []struct {
		limit, depth int
		ok           bool
	}{
		{0, 100, true}, {0, 101, false}, {3, 3, true}, {3, 4, false}, {2000, 2000, true}, {2000, 2001, false},
	} {
		codec := codecOf(t, namesType, transcode.Options{MaxDepth: tt.limit, MaxWireDepth: cmp.Or(tt.limit, 100)})
		text, wire := nestedNames(tt.depth)
		got, err := codec.JSONToWire(nil, text)
		if (err == nil) != tt.ok || err == nil && string(got) != string(wire) {
			t.Errorf("limit %d: JSON of depth %d gives %v", tt.limit, tt.depth, err != nil)
		}
		got, err = codec.WireToJSON(nil, wire)
		if (err == nil) != tt.ok || err == nil && string(got) != string(text) {
			t.Errorf("limit %d: wire of depth %d gives %v", tt.limit, tt.depth, err != nil)
		}
	}
}

// TestMaxDepthOfValues counts a level for each array and object, in both directions.
func TestMaxDepthOfValues(t *testing.T) {
	for _, tt := range []struct {
		message, open, end string
	}{
		{"google.protobuf.Value", "[", "]"},
		{"google.protobuf.Value", `{"a":`, "}"},
		{"google.protobuf.Any", `{"@type":"x/google.protobuf.Any","value":`, "}"},
	} {
		for depth, ok := range map[int]bool{30: true, 31: false} {
			deep := strings.Repeat(tt.open, depth-1) + "{}" + strings.Repeat(tt.end, depth-1)
			loose := codecOf(t, "google.protobuf.Value", transcode.Options{})
			limits := transcode.Options{MaxDepth: 30, MaxWireDepth: 30}
			strict := codecOf(t, "google.protobuf.Value", limits)
			if tt.message == "google.protobuf.Any" {
				loose, strict = codecOf(t, "google.protobuf.Any", transcode.Options{}), codecOf(t, "google.protobuf.Any", limits)
			}
			wire, err := loose.JSONToWire(nil, []byte(deep))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := strict.JSONToWire(nil, []byte(deep)); (err == nil) != ok {
				t.Errorf("%s%d levels: %v", tt.open, depth, err)
			}
			if _, err := strict.WireToJSON(nil, wire); (err == nil) != ok {
				t.Errorf("%s%d levels on the wire: %v", tt.open, depth, err)
			}
		}
	}
}

// TestMaxWireDepth nests answers more deeply than requests may be nested.
func TestMaxWireDepth(t *testing.T) {
	codec := codecOf(t, namesType, transcode.Options{})
	for depth, ok := range map[int]bool{101: true, 1000: true, 1001: false} {
		text, wire := nestedNames(depth)
		got, err := codec.WireToJSON(nil, wire)
		if (err == nil) != ok || ok && !bytes.Equal(got, text) {
			t.Errorf("wire of depth %d: %v", depth, err)
		}
		if _, err := codec.JSONToWire(nil, text); err == nil {
			t.Errorf("JSON of depth %d is read", depth)
		}
	}
}

// TestMemoryOfWire limits what a conversion allocates for wire that says little in many fields. It
// is proportional to the wire. The factor is the size of the notes that the encoder keeps.
func TestMemoryOfWire(t *testing.T) {
	const size = 1 << 19
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		part    []byte
	}{
		{"an empty message again and again", namesType, field(12, nil)},
		{"a small message again and again", namesType, field(12, field(2, []byte("x")))},
		{"a message in a message again and again", namesType, field(12, field(12, field(12, field(2, []byte("x")))))},
		{"a string again and again", namesType, field(2, nil)},
		{"members of a oneof in turns", namesType, concat(field(15, nil), varint(14, 1), field(40, nil))},
		{"a group again and again", "judge.editions.Features", []byte("\x63\x64")},
		{"an unknown group of groups", namesType, []byte("\xa3\x06\xab\x06\xac\x06\xab\x06\xac\x06\xa4\x06")},
		{"a struct again and again", "google.protobuf.Value", field(5, nil)},
		{"a map entry of nothing", namesType, field(50, nil)},
		{"a map value in parts", namesType, field(50, field(2, nil))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec := codecOf(t, tt.message, transcode.Options{})
			wire := bytes.Repeat(tt.part, size/len(tt.part))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := codec.WireToJSON(nil, wire); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if perByte := float64(after.TotalAlloc-before.TotalAlloc) / size; perByte > 60 {
				t.Errorf("%.0f bytes are allocated for each of the wire", perByte)
			} else {
				t.Logf("%.1f bytes for each of the wire", perByte)
			}
		})
	}
}

func TestMaxElements(t *testing.T) {
	codec := codecOf(t, bookType, transcode.Options{MaxElements: 4})
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{`{"tags":["a","b"],"author":{"years":[1,2]}}`, true},
		{`{"tags":["a","b"],"author":{"years":[1,2,3]}}`, false},
	} {
		if _, err := codec.JSONToWire(nil, []byte(tt.text)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.text, err)
		}
		wire, err := codecOf(t, bookType, transcode.Options{}).JSONToWire(nil, []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := codec.WireToJSON(nil, wire); (err == nil) != tt.ok {
			t.Errorf("%s from wire: %v", tt.text, err)
		}
	}
}

// TestMaxOutput stops output that grows far beyond its input: the defaults of many small messages,
// and unpacked lists.
func TestMaxOutput(t *testing.T) {
	known := codecOf(t, knownType, transcode.Options{EmitDefaults: true, MaxOutput: 1000})
	wire := []byte(strings.Repeat("\x12\x00", 500))
	_, err := known.WireToJSON(nil, wire)
	var outOfRange *transcode.RangeError
	if !errors.As(err, &outOfRange) {
		t.Errorf("1000 bytes of wire that are more of JSON: %v", err)
	}
	if got, err := known.WireToJSON(make([]byte, 5000), wire[:100]); err != nil {
		t.Errorf("what was there before counts: %v", err)
	} else if len(got) <= 5000 {
		t.Error("nothing written")
	}
	book := codecOf(t, bookType, transcode.Options{MaxOutput: 1000})
	_, err = book.JSONToWire(nil, []byte(`{"name":"`+strings.Repeat("a", 1000)+`"}`))
	var syntax *transcode.SyntaxError
	if !errors.As(err, &syntax) {
		t.Errorf("1000 bytes and a tag: %v", err)
	}
}

// TestLengthsWithinLengths nests messages, strings, lists and entries. Their sizes are around those
// at which a length takes another byte. The wire is compared with what it should be.
func TestLengthsWithinLengths(t *testing.T) {
	codec := codecOf(t, namesType, transcode.Options{})
	for _, size := range []int{0, 1, 100, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 16377, 16378, 16379, 16380, 16381, 16382, 16383, 16384, 16385, 1 << 21} {
		for _, content := range []string{strings.Repeat("x", size), strings.Repeat("é", size/2), strings.Repeat("\\n", size)} {
			want := strings.ReplaceAll(content, "\\n", "\n")
			text := `{"alpha":"` + content + `","child":{"child":{"child":{"alpha":"` + content + `","lima":[1,2]},"kids":{"k":{"alpha":"` + content + `"}}},"alpha":"!"}}`
			var leaf []byte
			if want != "" {
				leaf = protowire.AppendString([]byte{0x12}, want)
			}
			innermost := append(append([]byte(nil), leaf...), 0x0a, 2, 1, 2)
			entry := protowire.AppendBytes([]byte{0x0a, 1, 'k', 0x12}, leaf)
			middle := protowire.AppendBytes([]byte{0x62}, innermost)
			middle = protowire.AppendBytes(append(middle, 0x92, 0x03), entry)
			outer := append(protowire.AppendBytes([]byte{0x62}, middle), 0x12, 1, '!')
			whole := protowire.AppendBytes(append(append([]byte("before"), leaf...), 0x62), outer)
			got, err := codec.JSONToWire([]byte("before"), []byte(text))
			if err != nil || string(got) != string(whole) {
				t.Errorf("size %d of %.6q: %d bytes, %v, want %d", size, content, len(got), err, len(whole))
			}
		}
	}
}

// TestFieldMaskIsBounded asks for the paths of deeply nested fields, each of which is much longer
// than the text that sets it. All paths together may have 64 KiB, and eight bytes more for each
// byte of the text. The text sets one field many times, which is for JSONToWire to refuse.
func TestFieldMaskIsBounded(t *testing.T) {
	const depth = 90
	codec := codecOf(t, namesType, transcode.Options{})
	textOf := func(fields int) []byte {
		leaves := strings.TrimSuffix(strings.Repeat(`"alpha":"",`, fields), ",")
		return []byte(strings.Repeat(`{"child":`, depth) + "{" + leaves + "}" + strings.Repeat("}", depth))
	}
	path := strings.Repeat("child.", depth) + "alpha"
	fields := 1
	for (fields+1)*len(path) <= 64<<10+8*len(textOf(fields+1)) {
		fields++
	}
	paths, err := codec.FieldMask(textOf(fields))
	if err != nil || len(paths) != fields || paths[0] != path || paths[fields-1] != path {
		t.Fatalf("%d fields give %d paths, %v", fields, len(paths), err)
	}
	paths, err = codec.FieldMask(textOf(fields + 1))
	if want := "expected field paths within the limit of size"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%d fields give %d paths and the error %v, want %q", fields+1, len(paths), err, want)
	}
	if paths, err := codec.FieldMask(textOf(100 * fields)); err == nil {
		t.Errorf("%d fields give %d paths", 100*fields, len(paths))
	}
}

// TestLengthsBesideLengths reads messages beside messages, at any depth. Their sizes go up and down
// around those at which a length takes another byte. The wire is what it should be, and counts as
// no longer than it is.
func TestLengthsBesideLengths(t *testing.T) {
	sizes := []int{0, 0, 0, 1, 60, 110, 120, 121, 122, 123, 124, 125, 126, 127, 128, 200, 16370, 16376, 16377, 16378, 16379, 16380, 16381, 16382, 16383, 16384, 17000}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		text, want := kids(random, sizes, 3)
		codec := codecOf(t, namesType, transcode.Options{MaxOutput: len(want)})
		got, err := codec.JSONToWire([]byte("before"), []byte(text))
		if err != nil || string(got) != "before"+string(want) {
			t.Fatalf("seed %d: %d bytes, %v, want %d", seed, len(got)-len("before"), err, len(want))
		}
		codec = codecOf(t, namesType, transcode.Options{MaxOutput: len(want) - 1})
		if _, err := codec.JSONToWire(nil, []byte(text)); err == nil {
			t.Errorf("seed %d: more than the maximum is read", seed)
		}
	}
}

// kids returns a message with messages in it, as JSON and as wire.
func kids(random *rand.Rand, sizes []int, depth int) (text string, wire []byte) {
	content := strings.Repeat("x", 1+sizes[random.IntN(len(sizes))])
	text, wire = `{"alpha":"`+content+`"`, protowire.AppendString([]byte{0x12}, content)
	if depth > 0 && random.IntN(3) > 0 {
		child, childWire := kids(random, sizes, depth-1)
		text, wire = text+`,"child":`+child, protowire.AppendBytes(append(wire, 0x62), childWire)
	}
	if n := random.IntN(4); depth > 0 && n > 0 {
		text += `,"kids":{`
		for i := range n {
			kid, kidWire := kids(random, sizes, depth-1)
			key := strconv.Itoa(i)
			text += `"` + key + `":` + kid + ","
			entry := protowire.AppendBytes([]byte{0x0a, 1, key[0], 0x12}, kidWire)
			wire = protowire.AppendBytes(append(wire, 0x92, 0x03), entry)
		}
		text = strings.TrimSuffix(text, ",") + "}"
	}
	return text + "}", wire
}
