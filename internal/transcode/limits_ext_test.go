package transcode_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// nestedNames returns a Names that holds n-1 others, as JSON and as wire.
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
		codec := codecOf(t, namesType, transcode.Options{MaxDepth: tt.limit})
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

// TestMaxDepthOfValues counts a level for each array and object, in both directions alike.
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
			strict := codecOf(t, "google.protobuf.Value", transcode.Options{MaxDepth: 30})
			if tt.message == "google.protobuf.Any" {
				loose, strict = codecOf(t, "google.protobuf.Any", transcode.Options{}), codecOf(t, "google.protobuf.Any", transcode.Options{MaxDepth: 30})
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

// TestMaxOutput stops what grows far beyond its input: defaults of many small messages, and unpacked lists.
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

// TestLengthsWithinLengths has messages, strings, lists and entries of lengths around those where a length takes another byte, each
// within others, and holds them to what the wire should be.
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
