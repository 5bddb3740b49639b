package transcode_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func varint(num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), uint64(v))
}

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestAnswersWithoutJSONForm lists what is written for each value that has no JSON form, and what
// the operator is told.
func TestAnswersWithoutJSONForm(t *testing.T) {
	text := func(s string) []byte { return []byte(s) }
	double := func(num protowire.Number, v float64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(nil, num, protowire.Fixed64Type), math.Float64bits(v))
	}
	seconds := func(s, n int64) []byte { return concat(varint(1, s), varint(2, n)) }
	anyOf := func(url string, value []byte) []byte { return concat(field(1, text(url)), field(2, value)) }
	const prefix = "type.googleapis.com/"
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		wire    []byte
		want    string
		note    string
	}{
		{"an Any of an unknown type", knownType, field(22, anyOf(prefix+"hidden.Thing", []byte{8, 1})),
			`{"any":{"@type":"type.googleapis.com/hidden.Thing","value":"CAE="}}`, `/any: google.protobuf.Any: resolve "type.googleapis.com/hidden.Thing": proto: not found`},
		{"an Any that is broken", knownType, field(22, anyOf(prefix+bookType, []byte{0x0a, 5, 'x'})),
			`{"any":{"@type":"type.googleapis.com/judge.proto3.Book","value":"CgV4"}}`,
			`/any/name: google.protobuf.Any holds no valid judge.proto3.Book: expected a length within the message (offset 45)`},
		{"a broken Any in an Any", knownType, field(22, anyOf(prefix+"google.protobuf.Any", anyOf(prefix+bookType, []byte{0x0a, 5}))),
			`{"any":{"@type":"type.googleapis.com/google.protobuf.Any","value":{"@type":"type.googleapis.com/judge.proto3.Book","value":"CgU="}}}`,
			`/any/name: google.protobuf.Any holds no valid judge.proto3.Book: expected a length within the message (offset 88)`},
		{"an Any without a type", knownType, field(22, field(2, []byte{1})), `{"any":{"@type":"","value":"AQ=="}}`, `/any: google.protobuf.Any without a type URL`},
		{"an Any whose type is not UTF-8", knownType, field(22, anyOf("x\xff/y", []byte{1})),
			"{\"any\":{\"@type\":\"x\uFFFD/y\",\"value\":\"AQ==\"}}", `/any: invalid UTF-8 in a type URL`},
		{"two values", knownType, concat(field(14, nil), field(22, anyOf("hidden.Thing", nil))),
			`{"valueList":[null],"any":{"@type":"hidden.Thing","value":""}}`, `/valueList/0: google.protobuf.Value with none of its fields set (and 1 more)`},
		{"a Value that is NaN", knownType, field(23, double(2, math.NaN())), `{"value":"NaN"}`, `/value: google.protobuf.Value with the number NaN`},
		{"a Value that is infinite", knownType, field(23, double(2, math.Inf(-1))), `{"value":"-Infinity"}`, `/value: google.protobuf.Value with the number -Inf`},
		{"a time too late", bookType, field(4, seconds(math.MaxInt64, 0)), `{"created":"9999-12-31T23:59:59.999999999Z"}`,
			`/created: timestamp of 9223372036854775807 seconds is not within the years 1 to 9999`},
		{"a time too early", bookType, field(4, seconds(math.MinInt64, -1)), `{"created":"0001-01-01T00:00:00Z"}`,
			`/created: timestamp of -9223372036854775808 seconds is not within the years 1 to 9999`},
		{"a time with too many nanoseconds", bookType, field(4, seconds(1, 2_000_000_001)), `{"created":"1970-01-01T00:00:03.000000001Z"}`, `/created: timestamp with 2000000001 nanoseconds`},
		{"a time with negative nanoseconds", bookType, field(4, seconds(1, -500_000_000)), `{"created":"1970-01-01T00:00:00.500Z"}`, `/created: timestamp with -500000000 nanoseconds`},
		{"a duration too long", "google.protobuf.Duration", seconds(math.MaxInt64, 0), `"315576000000s"`, `duration of 9223372036854775807 seconds is out of range`},
		{"a duration of two signs", "google.protobuf.Duration", seconds(2, -500_000_000), `"1.500s"`, `duration whose seconds and nanoseconds have different signs`},
		{"a duration of two other signs", "google.protobuf.Duration", seconds(-2, 500_000_000), `"-1.500s"`, `duration whose seconds and nanoseconds have different signs`},
		{"a duration with too many nanoseconds", "google.protobuf.Duration", seconds(0, -1_500_000_000), `"-1.500s"`, `duration with -1500000000 nanoseconds`},
		{"a mask of a name with a digit after _", "google.protobuf.FieldMask", concat(field(1, text("a_b")), field(1, text("isbn_10"))), `"aB,isbn_10"`,
			`field mask path "isbn_10" has no form in lowerCamelCase`},
		{"a mask that is not a path", "google.protobuf.FieldMask", field(1, text("\"\xff\"")), "\"\\\"\uFFFD\\\"\"", `field mask path "\"?\"" has no form in lowerCamelCase`},
		{"a string that is not UTF-8", bookType, field(1, text("a\xffé")), "{\"name\":\"a\uFFFDé\"}", `/name: invalid UTF-8 in a string`},
		{"an element that is not UTF-8", bookType, concat(field(5, text("a")), field(5, text("\xff"))), "{\"tags\":[\"a\",\"\uFFFD\"]}", `/tags/1: invalid UTF-8 in a string`},
		{"a key that is not UTF-8", mapsType, field(12, concat(field(1, text("\xff")), varint(2, 1))), "{\"byString\":{\"\uFFFD\":\"OPEN_ONE\"}}", `/byString: invalid UTF-8 in a string`},
		{"a required field that is missing", needsType, field(2, field(1, text("x"))), `{"child":{"id":"x"}}`, `a required field of judge.proto2.Needs is missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec := codecOf(t, tt.message, transcode.Options{})
			if got, err := codec.WireToJSON(nil, tt.wire); err == nil {
				t.Errorf("strictly it is %s", got)
			}
			got, note, err := codec.AnswerToJSON([]byte("before"), tt.wire)
			if err != nil || string(got) != "before"+tt.want {
				t.Errorf("got %s, %v\nwant before%s", got, err, tt.want)
			}
			if note == nil || strings.ReplaceAll(note.Error(), "\u00a0", " ") != tt.note {
				t.Errorf("note is %v\nwant %s", note, tt.note)
			}
		})
	}
}

// TestAnswersThatStayErrors shows answers that are malformed themselves or exceed a limit.
func TestAnswersThatStayErrors(t *testing.T) {
	_, deep := nestedNames(31)
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		wire    []byte
		opts    transcode.Options
	}{
		{"a length too large", bookType, []byte{0x0a, 5}, transcode.Options{}},
		{"too deep", namesType, deep, transcode.Options{MaxWireDepth: 30}},
		{"too long", bookType, field(1, make([]byte, 300)), transcode.Options{MaxOutput: 200}},
		{"too many elements", bookType, bytes.Repeat(field(5, nil), 3), transcode.Options{MaxElements: 2}},
	} {
		if got, note, err := codecOf(t, tt.message, tt.opts).AnswerToJSON(nil, tt.wire); err == nil || note != nil || len(got) > 0 {
			t.Errorf("%s: got %s, %v, %v", tt.name, got, note, err)
		}
	}
}

// TestAnswersOfFields checks that the note about a response_body has the whole path.
func TestAnswersOfFields(t *testing.T) {
	wire := field(22, field(1, []byte("hidden.Thing")))
	got, note, err := fieldOf(t, codecOf(t, knownType, transcode.Options{}), "any").AnswerToJSON(nil, wire)
	if err != nil || string(got) != `{"@type":"hidden.Thing","value":""}` || note == nil || note.Path != "/any" {
		t.Errorf("got %s, %v, %v", got, note, err)
	}
}

// TestRawMaskPaths reads and writes paths for which ProtoJSON has no form. It refuses anything that
// is not a path.
func TestRawMaskPaths(t *testing.T) {
	codec := codecOf(t, "google.protobuf.FieldMask", transcode.Options{RawMaskPaths: true})
	for _, text := range []string{`"*"`, `"isbn_10"`, `"aB,isbn_10,*"`, `"books.*.title"`, `"labels.7"`, `"aB"`, `""`} {
		wire, err := codec.JSONToWire(nil, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := codec.WireToJSON(nil, wire); err != nil || string(got) != text {
			t.Errorf("%s became %s, %v", text, got, err)
		}
		if _, err := codecOf(t, "google.protobuf.FieldMask", transcode.Options{}).JSONToWire(nil, []byte(text)); err == nil && strings.ContainsAny(text, "*_7") {
			t.Errorf("%s is taken without the option", text)
		}
	}
	for _, text := range []string{`"a b"`, `"a..b"`, `".a"`, `"a,,b"`, `"**"`, `"a*"`, `"é_"`} {
		if wire, err := codec.JSONToWire(nil, []byte(text)); err == nil {
			t.Errorf("%s became %x", text, wire)
		}
	}
}

// TestNestedBrokenAnys nests Anys, each of them broken at its end. The work done in vain is
// limited.
func TestNestedBrokenAnys(t *testing.T) {
	for _, levels := range []int{3, 2000} {
		var wire []byte
		for range levels {
			wire = append(field(18, concat(field(1, []byte("x/"+knownType)), field(2, wire))), field(26, []byte{8})...)
		}
		wire = wire[:len(wire)-len(field(26, []byte{8}))]
		got, note, err := codecOf(t, knownType, transcode.Options{}).AnswerToJSON(nil, wire)
		if levels == 3 && (err != nil || note == nil) {
			t.Errorf("%d levels: %s, %v, %v", levels, got, note, err)
		} else if levels > 3 && err == nil {
			t.Errorf("%d levels are written", levels)
		}
	}
}
