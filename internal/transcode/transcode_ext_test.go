package transcode_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

const (
	bookType  = "judge.proto3.Book"
	knownType = "judge.proto3.Known"
	mapsType  = "judge.proto3.Maps"
	namesType = "judge.proto3.Names"
	needsType = "judge.proto2.Needs"
)

// TestOptions shows what each option does to the JSON that is written and read.
func TestOptions(t *testing.T) {
	wire := "\x10\x07\x18\x01"
	for _, tt := range []struct {
		name, message, wire string
		opts                transcode.Options
		want                string
	}{
		{"none", bookType, wire, transcode.Options{}, `{"id":"7","state":"OPEN_ONE"}`},
		{"enums as numbers", bookType, wire, transcode.Options{EnumsAsNumbers: true}, `{"id":"7","state":1}`},
		{"an unknown number of an enum", bookType, "\x18\x05", transcode.Options{}, `{"state":5}`},
		{"defaults", bookType, wire, transcode.Options{EmitDefaults: true}, `{"name":"","id":"7","state":"OPEN_ONE","tags":[]}`},
		{"defaults and numbers", bookType, "", transcode.Options{EmitDefaults: true, EnumsAsNumbers: true}, `{"name":"","id":"0","state":0,"tags":[]}`},
		{"a default that is set is written once", bookType, "\x10\x00", transcode.Options{EmitDefaults: true}, `{"name":"","id":"0","state":"OPEN_ZERO","tags":[]}`},
		{"defaults of maps", "judge.proto3.Maps", "", transcode.Options{EmitDefaults: true, UseProtoNames: true},
			`{"by_bool":{},"by_int32":{},"by_int64":{},"by_uint32":{},"by_uint64":{},"by_sint32":{},"by_sint64":{},"by_fixed32":{},"by_fixed64":{},"by_sfixed32":{},"by_sfixed64":{},"by_string":{}}`},
		{"unpopulated messages and null for them", knownType, "", transcode.Options{EmitUnpopulated: true},
			`{"choice":null,"choices":[],"timestamps":{},"durations":{},"masks":{},"structs":{},"values":{},"lists":{},"nulls":{},"anys":{},"empties":{},"uint64s":{},"floats":{},` +
				`"valueList":[],"listList":[],"structList":[],"nullList":[],"anyList":[],"emptyList":[],"maskList":[],"boolList":[],"any":null,"value":null,"null":null,"empty":null}`},
		{"unpopulated members of a oneof are left out", "judge.proto3.Known.Choice", "", transcode.Options{EmitUnpopulated: true}, `{}`},
		{"unpopulated scalars with presence, and one that is set to its default", "judge.proto2.Closures.Inner", "\x08\x00",
			transcode.Options{EmitUnpopulated: true}, `{"id":0,"name":null}`},
		{"unpopulated fields of editions", "judge.editions.Required", "\x08\x07", transcode.Options{EmitUnpopulated: true}, `{"id":7,"next":null}`},
		{"unpopulated extensions are left out", "judge.proto2.Extended", "", transcode.Options{EmitUnpopulated: true, UseProtoNames: true}, `{"own":null,"last":null}`},
		{"unpopulated fields with defaults as well", bookType, wire, transcode.Options{EmitUnpopulated: true, EmitDefaults: true},
			`{"name":"","id":"7","state":"OPEN_ONE","created":null,"tags":[],"author":null}`},
		{"JSON names", namesType, "\x18\x01\x4a\x01x", transcode.Options{}, `{"other":true,"aBC":"x"}`},
		{"proto names", namesType, "\x18\x01\x4a\x01x", transcode.Options{UseProtoNames: true}, `{"renamed":true,"a_b_c":"x"}`},
		{"an unknown field", bookType, "\xba\x3e\x01x\x10\x07", transcode.Options{}, `{"id":"7"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := codecOf(t, protoreflect.FullName(tt.message), tt.opts).WireToJSON(nil, []byte(tt.wire))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
	t.Run("discard unknown", func(t *testing.T) {
		text := []byte(`{"nope":[{"a":"\u00e9"},1.5e3,null],"state":"NOPE","id":7}`)
		got, err := codecOf(t, bookType, transcode.Options{DiscardUnknown: true}).JSONToWire(nil, text)
		if err != nil || string(got) != "\x10\x07" {
			t.Errorf("got %x, %v", got, err)
		}
		if _, err := codecOf(t, bookType, transcode.Options{}).JSONToWire(nil, text); err == nil {
			t.Error("unknown field accepted")
		}
	})
}

// TestErrorsSayWhereAndWhat fixes the texts of errors, because clients see them.
func TestErrorsSayWhereAndWhat(t *testing.T) {
	for _, tt := range []struct {
		name, message, json, want string
	}{
		{"nothing", bookType, ``, `expected an object, found the end of the input (offset 0)`},
		{"not an object", bookType, `[1]`, `expected an object, found an array (offset 0)`},
		{"a wrong type", bookType, `{"id": true}`, `/id: expected an integer of 64 bits, found true (offset 7)`},
		{"a range", bookType, `{"author":{"years":[1,3000000000]}}`, `/author/years/1: expected an integer of 32 bits, found number 3000000000 (offset 22)`},
		{"an enum", bookType, `{"state":"OPEN"}`, `/state: expected a value of judge.proto3.Open, found string "OPEN" (offset 9)`},
		{"a list", bookType, `{"tags":"a"}`, `/tags: expected an array, found string "a" (offset 8)`},
		{"an element", bookType, `{"tags":["a",null]}`, `/tags/1: expected a string, found null (offset 13)`},
		{"a time", bookType, `{"created":"yesterday"}`, `/created: expected an RFC 3339 time from year 1 to 9999, found string "yesterday" (offset 11)`},
		{"an unknown field", bookType, `{"title":1}`, `expected a field of judge.proto3.Book, found string "title" (offset 1)`},
		{"an unknown field within", bookType, `{"author":{"title":1}}`, `/author: expected a field of judge.proto3.Book.Author, found string "title" (offset 11)`},
		{"a field twice", bookType, `{"id":1,"id":2}`, `/id: expected each field once, found string "id" (offset 8)`},
		{"a field by both names", namesType, `{"other":true,"renamed":false}`, `/other: expected each field once, found string "renamed" (offset 14)`},
		{"two of a oneof", namesType, `{"golf":"a","hotel":1}`, `/hotel: expected one field of oneof choice, found string "hotel" (offset 12)`},
		{"a map key", mapsType, `{"byInt32":{"x":{}}}`, `/byInt32/x: expected a map key of kind int32, found string "x" (offset 12)`},
		{"a map key twice", mapsType, `{"byInt64":{"1":0,"01":1}}`, `/byInt64: expected each map key once, found 1 again (offset 24)`},
		{"a path with special characters", mapsType, `{"byString":{"a/b~c":[]}}`, `/byString/a~1b~0c: expected a value of judge.proto3.Open, found an array (offset 21)`},
		{"a required field", needsType, `{}`, `expected all required fields of judge.proto2.Needs (missing: id) (offset 1)`},
		{"an escape", bookType, `{"name":"\x"}`, `/name: expected an escape that JSON knows, found x (offset 10)`},
		{"a control character", bookType, "{\"name\":\"a\nb\"}", `/name: expected a string without control characters, found character '\n' (offset 10)`},
		{"half a surrogate pair", bookType, `{"name":"\ud83d"}`, `/name: expected a Unicode escape of a whole character, found the end of the input (offset 17)`},
		{"bad UTF-8", bookType, "{\"name\":\"ab\xff\"}", `/name: expected valid UTF-8, found an invalid byte (offset 11)`},
		{"a comma too many", bookType, `{"id":1,}`, `expected a field name, found character '}' (offset 8)`},
		{"no comma", bookType, `{"id":1 "name":""}`, `expected ',' or '}', found string "name" (offset 8)`},
		{"no colon", bookType, `{"id" 1}`, `expected ':', found number 1 (offset 6)`},
		{"the input cut", bookType, `{"author":{"name":"x`, `/author/name: expected the end of the string, found the end of the input (offset 20)`},
		{"something after it", bookType, `{} {}`, `expected the end of the input, found an object (offset 3)`},
		{"an Any without a type", knownType, `{"any":{"a":1}}`, `/any: expected "@type" in the object, found an object (offset 7)`},
		{"an Any of an unknown type", knownType, `{"any":{"@type":"x/nope.Nope"}}`,
			`/any/@type: expected the URL of a known message type, found resolve "x/nope.Nope": proto: not found (offset 16)`},
		{"a long string is cut", bookType, `{"id":"` + strings.Repeat("1", 100) + `"}`,
			`/id: expected an integer of 64 bits, found string "` + strings.Repeat("1", 31) + `... (offset 6)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dst := []byte("before")
			got, err := codecOf(t, protoreflect.FullName(tt.message), transcode.Options{}).JSONToWire(dst, []byte(tt.json))
			var syntax *transcode.SyntaxError
			if !errors.As(err, &syntax) || strings.ReplaceAll(err.Error(), "\u00a0", " ") != tt.want {
				t.Errorf("error is %v\nwant     %s", err, tt.want)
			}
			if string(got) != "before" {
				t.Errorf("dst became %q", got)
			}
		})
	}
}

// TestBrokenWireAndWireWithoutJSON tells the two types of errors apart.
func TestBrokenWireAndWireWithoutJSON(t *testing.T) {
	for _, tt := range []struct {
		name, message, wire, want string
		outOfRange                bool
	}{
		{"a tag cut", bookType, "82", "expected a field tag (offset 0)", false},
		{"field number zero", bookType, "0000", "expected a field tag (offset 0)", false},
		{"a length too large", bookType, "0a05", "/name: expected a length within the message (offset 1)", false},
		{"a varint cut", bookType, "1080", "/id: expected a varint (offset 1)", false},
		{"a varint too long", bookType, "10ffffffffffffffffff7f", "/id: expected a varint (offset 1)", false},
		{"bad UTF-8", bookType, "0a01ff", "/name: expected valid UTF-8 (offset 2)", false},
		{"bad UTF-8 in an element", bookType, "2a01612a01ff", "/tags/1: expected valid UTF-8 (offset 5)", false},
		{"bad UTF-8 in a value that is replaced", bookType, "0a01ff0a0161", "/name: expected valid UTF-8 (offset 2)", false},
		{"a group not closed", bookType, "bb3e0801", "expected a field tag (offset 4)", false},
		{"a group closed by another's end", bookType, "bb3ec43e", "expected the end of the group that is open (offset 2)", false},
		{"an end without a group", bookType, "bc3e", "expected a whole value of wire type end-group (offset 2)", false},
		{"bad UTF-8 in a URL that is replaced", "google.protobuf.Any", "0a01ff0a0161", "expected valid UTF-8 (offset 2)", false},
		{"a required field not set", needsType, "", "expected all required fields of judge.proto2.Needs (offset 0)", false},
		{"a time out of range", bookType, "220808ffffffffffff7f", "/created: timestamp of 562949953421311 seconds is not within the years 1 to 9999", true},
		{"a time of many nanoseconds", bookType, "22061080a8d6b907", "/created: timestamp with 2000000000 nanoseconds", true},
		{"an Any without a type", knownType, "b20103120101", "/any: google.protobuf.Any without a type URL", true},
		{"a Value of nothing", knownType, "ba0100", "/value: google.protobuf.Value with none of its fields set", true},
		{"a Value of NaN", knownType, "ba010911000000000000f87f", "/value: google.protobuf.Value with the number NaN", true},
		{"a mask that does not come back", knownType, "a201040a02615f", `/maskList/0: field mask path "a_" has no form in lowerCamelCase`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wire, err := hex.DecodeString(tt.wire)
			if err != nil {
				t.Fatal(err)
			}
			got, err := codecOf(t, protoreflect.FullName(tt.message), transcode.Options{}).WireToJSON([]byte("before"), wire)
			var outOfRange *transcode.RangeError
			var syntax *transcode.SyntaxError
			if err == nil || err.Error() != tt.want || errors.As(err, &outOfRange) != tt.outOfRange || errors.As(err, &syntax) == tt.outOfRange {
				t.Errorf("error is %T %v\nwant %s", err, err, tt.want)
			}
			if string(got) != "before" {
				t.Errorf("dst became %q", got)
			}
		})
	}
}

// TestNonCanonicalWire shows how the parts of a field that is in several places are put together.
func TestNonCanonicalWire(t *testing.T) {
	for _, tt := range []struct{ name, message, wire, want string }{
		{"the last of a singular counts", bookType, "\x10\x01\x10\x02", `{"id":"2"}`},
		{"a zero replaces too", bookType, "\x10\x01\x10\x00", `{}`},
		{"messages merge", bookType, "\x32\x03\x0a\x01a\x32\x02\x10\x01\x32\x02\x10\x02", `{"author":{"name":"a","years":[1,2]}}`},
		{"packed and single numbers", "judge.proto3.Book.Author", "\x12\x02\x01\x02\x10\x03\x12\x00\x12\x01\x04", `{"years":[1,2,3,4]}`},
		{"fields in another order", bookType, "\x2a\x01b\x10\x07\x0a\x01a\x2a\x01c", `{"name":"a","id":"7","tags":["b","c"]}`},
		{"the order of declaration", namesType, "\x12\x01a\xf2\x01\x01z", `{"zulu":"z","alpha":"a"}`},
		{"the last of a oneof counts", namesType, "\x7a\x01g\x70\x05", `{"hotel":"5"}`},
		{"a oneof set back and forth", namesType, "\xc2\x02\x03\x12\x01a\x70\x05\xc2\x02\x03\x32\x01b", `{"kid":{"a":"b"}}`},
		{"the last of a map key counts", mapsType, "\x62\x05\x0a\x01k\x10\x01\x62\x05\x0a\x01k\x10\x00", `{"byString":{"k":"OPEN_ZERO"}}`},
		{"map entries by their keys", mapsType, "\x1a\x04\x08\x0a\x10\x01\x1a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01\x1a\x04\x08\x02\x10\x01",
			`{"byInt64":{"-1":"OPEN_ONE","2":"OPEN_ONE","10":"OPEN_ONE"}}`},
		{"a map entry of nothing", mapsType, "\x12\x00", `{"byInt32":{"0":{}}}`},
		{"a map value in parts", mapsType, "\x12\x0a\x12\x02\x12\x00\x12\x04\x12\x02\x08\x05", `{"byInt32":{"0":{"byInt32":{"0":{},"5":{}}}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec := codecOf(t, protoreflect.FullName(tt.message), transcode.Options{})
			for range 2 { // the second time, the type is known to come in another order
				got, err := codec.WireToJSON(nil, []byte(tt.wire))
				if err != nil || string(got) != tt.want {
					t.Errorf("got %s, %v\nwant %s", got, err, tt.want)
				}
			}
		})
	}
}

// TestAnyTypeAnywhere finds "@type" in every place of its object, even if Anys are nested.
func TestAnyTypeAnywhere(t *testing.T) {
	const inner = `{"value":"1.5s","@type":"x/google.protobuf.Duration"}`
	for _, text := range []string{
		`{"@type":"x/judge.proto3.Known","anyList":[` + inner + `,` + inner + `]}`,
		`{"anyList":[` + inner + `,` + inner + `],"@type":"x/judge.proto3.Known"}`,
		`{ "anyList" : [ ` + inner + ` , ` + inner + ` ] , "\u0040type" : "x\/judge.proto3.Known" }`,
	} {
		codec := codecOf(t, "google.protobuf.Any", transcode.Options{})
		wire, err := codec.JSONToWire(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := codec.WireToJSON(nil, wire)
		const item = `{"@type":"x/google.protobuf.Duration","value":"1.500s"}`
		if want := `{"@type":"x/judge.proto3.Known","anyList":[` + item + `,` + item + `]}`; err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v", text, got, err)
		}
	}
}
