package transcode_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func TestPathsOfFields(t *testing.T) {
	for _, tt := range []struct {
		message protoreflect.FullName
		path    string
		want    string // proto names, or what the error says
		ok      bool
	}{
		{bookType, "name", "name", true},
		{bookType, "author.name", "author.name", true},
		{bookType, "author.years", "author.years", true},
		{bookType, "author", "author", true},
		{namesType, "other", "renamed", true},
		{namesType, "renamed", "renamed", true},
		{namesType, "aBC", "a_b_c", true},
		{namesType, "child.child.veryLongNameOfAFieldThatDoesNotFitIntoAMachineWordOrTwo",
			"child.child.very_long_name_of_a_field_that_does_not_fit_into_a_machine_word_or_two", true},
		{mapsType, "by_string[a.b]", "by_string", true},
		{mapsType, "byInt32[-1]", "by_int32", true},
		{bookType, "", `has no field ""`, false},
		{bookType, "title", `message type judge.proto3.Book has no field "title"`, false},
		{bookType, "name.first", `"name" is not a singular message`, false},
		{bookType, "author.", `has no field ""`, false},
		{namesType, "kids.k", `"kids" is not a singular message`, false},
		{mapsType, "byInt32[x]", `"x" is not a map key of kind int32`, false},
		{bookType, "tags[0]", `"tags" is not a map`, false},
	} {
		field, err := codecOf(t, tt.message, transcode.Options{}).Field(tt.path)
		if err != nil {
			if tt.ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: %v, want %s", tt.path, err, tt.want)
			}
			continue
		}
		var got []string
		for _, fd := range field.Path() {
			got = append(got, string(fd.Name()))
		}
		if !tt.ok || strings.Join(got, ".") != tt.want || field.Descriptor() != field.Path()[len(got)-1] {
			t.Errorf("%q: got %q, want %s", tt.path, got, tt.want)
		}
	}
}

func TestAppendText(t *testing.T) {
	for _, tt := range []struct {
		message          protoreflect.FullName
		path, text, want string // JSON of the message that the wire makes, or what the error says
		ok               bool
	}{
		{bookType, "name", "a b/é", `{"name":"a b/é"}`, true},
		{bookType, "id", "-9223372036854775808", `{"id":"-9223372036854775808"}`, true},
		{bookType, "state", "OPEN_ONE", `{"state":"OPEN_ONE"}`, true},
		{bookType, "state", "1", `{"state":"OPEN_ONE"}`, true},
		{bookType, "state", "17", `{"state":17}`, true},
		{bookType, "created", "2006-01-02T15:04:05.5Z", `{"created":"2006-01-02T15:04:05.500Z"}`, true},
		{bookType, "author.name", "Eve", `{"author":{"name":"Eve"}}`, true},
		{bookType, "author.years", "1949", `{"author":{"years":[1949]}}`, true},
		{mapsType, "byString[k]", "OPEN_NEG", `{"byString":{"k":"OPEN_NEG"}}`, true},
		{mapsType, "byUint32[7]", "_-8", `{"byUint32":{"7":"/+8="}}`, true},
		{mapsType, "byUint64[7]", "NaN", `{"byUint64":{"7":"NaN"}}`, true},
		{knownType, "choice.int64", "5", `{"choice":{"int64":"5"}}`, true},
		{knownType, "choice.string", "", `{"choice":{"string":""}}`, true},
		{knownType, "choice.mask", "aB,c.d", `{"choice":{"mask":"aB,c.d"}}`, true},
		{knownType, "choice.duration", "-1.5s", `{"choice":{"duration":"-1.500s"}}`, true},
		{"judge.editions.Features", "delimited.delimited", "x", `cannot be written as text`, false},
		{bookType, "id", "x", `/id: expected an integer of kind int64, found "x"`, false},
		{bookType, "id", "", `/id: expected an integer of kind int64, found ""`, false},
		{bookType, "id", "1 ", `expected an integer`, false},
		{bookType, "author.years", "2147483648", `/author/years: expected an integer of kind int32, found "2147483648"`, false},
		{bookType, "state", "OPEN", `/state: expected a name or number of judge.proto3.Open, found "OPEN"`, false},
		{bookType, "name", "\xff", `/name: expected valid UTF-8`, false},
		{bookType, "author", "x", `/author: expected a field of judge.proto3.Book.Author, which cannot be written as text, found "x"`, false},
		{bookType, "created", "noon", `/created: expected an RFC 3339 time`, false},
		{mapsType, "byString", "x", `/byString: expected an entry in the form by_string[key], found "x"`, false},
		{namesType, "other", "yes", `/other: expected true or false, found "yes"`, false},
	} {
		codec := codecOf(t, tt.message, transcode.Options{})
		wire, err := fieldOf(t, codec, tt.path).AppendText([]byte("before"), tt.text)
		if err != nil {
			var syntax *transcode.SyntaxError
			if tt.ok || !strings.Contains(err.Error(), tt.want) || !errors.As(err, &syntax) || string(wire) != "before" {
				t.Errorf("%s=%q: %v\nwant %s", tt.path, tt.text, err, tt.want)
			}
			continue
		}
		got, err := codec.WireToJSON(nil, wire[len("before"):])
		if err != nil || !tt.ok || string(got) != tt.want {
			t.Errorf("%s=%q: got %s, %v, want %s", tt.path, tt.text, got, err, tt.want)
		}
	}
}

// TestAppendedFieldsOverride binds parameters after a body. The last value wins, messages merge,
// and zeros count.
func TestAppendedFieldsOverride(t *testing.T) {
	for _, tt := range []struct {
		message          protoreflect.FullName
		body, path, text string
		want             string
	}{
		{bookType, `{"id":"1","name":"a"}`, "id", "2", `{"name":"a","id":"2"}`},
		{bookType, `{"id":"1","name":"a"}`, "id", "0", `{"name":"a"}`},
		{bookType, `{"id":"1","name":"a"}`, "name", "", `{"id":"1"}`},
		{bookType, `{"author":{"name":"a","years":[1]}}`, "author.name", "b", `{"author":{"name":"b","years":[1]}}`},
		{bookType, `{"created":"2001-01-01T00:00:00.5Z"}`, "created", "1970-01-01T00:00:00Z", `{"created":"1970-01-01T00:00:00Z"}`},
		{namesType, `{"golf":"g"}`, "hotel", "1", `{"hotel":"1"}`},
		{mapsType, `{"byString":{"a":"OPEN_ONE","b":1}}`, "byString[a]", "OPEN_ZERO", `{"byString":{"a":"OPEN_ZERO","b":"OPEN_ONE"}}`},
	} {
		codec := codecOf(t, tt.message, transcode.Options{})
		wire, err := codec.JSONToWire(nil, []byte(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if wire, err = fieldOf(t, codec, tt.path).AppendText(wire, tt.text); err != nil {
			t.Fatal(err)
		}
		got, err := codec.WireToJSON(nil, wire)
		if err != nil || string(got) != tt.want {
			t.Errorf("%s and %s=%q: got %s, %v, want %s", tt.body, tt.path, tt.text, got, err, tt.want)
		}
	}
}

func TestFieldAsBodyAndResponseBody(t *testing.T) {
	for _, tt := range []struct {
		message    protoreflect.FullName
		path, json string
		whole      string // JSON of the message
		back       string // JSON of the field, if not as it was
	}{
		{bookType, "author", `{"name":"a","years":[1]}`, `{"author":{"name":"a","years":[1]}}`, ""},
		{bookType, "author", `null`, `{}`, "null"},
		{bookType, "tags", ` ["a", "b"] `, `{"tags":["a","b"]}`, `["a","b"]`},
		{bookType, "tags", `[]`, `{}`, `[]`},
		{bookType, "author.years", `[1,2]`, `{"author":{"years":[1,2]}}`, ""},
		{bookType, "id", `"5"`, `{"id":"5"}`, ""},
		{bookType, "id", `0`, `{}`, `"0"`},
		{bookType, "state", `0`, `{}`, `"OPEN_ZERO"`},
		{bookType, "created", `"1970-01-01T00:00:00Z"`, `{"created":"1970-01-01T00:00:00Z"}`, ""},
		{mapsType, "byString", `{"k":1}`, `{"byString":{"k":"OPEN_ONE"}}`, `{"k":"OPEN_ONE"}`},
		{mapsType, "byString[k]", `1`, `{"byString":{"k":"OPEN_ONE"}}`, `"OPEN_ONE"`},
		{mapsType, "byInt32[-7]", `{}`, `{"byInt32":{"-7":{}}}`, ""},
		{knownType, "value", `null`, `{"value":null}`, ""},
		{knownType, "value", `{"a":[1]}`, `{"value":{"a":[1]}}`, ""},
	} {
		codec := codecOf(t, tt.message, transcode.Options{})
		field := fieldOf(t, codec, tt.path)
		wire, err := field.AppendJSON(nil, []byte(tt.json))
		if err != nil {
			t.Errorf("%s: %s: %v", tt.path, tt.json, err)
			continue
		}
		got, err := codec.WireToJSON(nil, wire)
		if err != nil || string(got) != tt.whole {
			t.Errorf("%s: %s became %s, %v, want %s", tt.path, tt.json, got, err, tt.whole)
		}
		want := tt.back
		if want == "" {
			want = tt.json
		}
		got, err = field.WireToJSON([]byte("before"), wire)
		if err != nil || string(got) != "before"+want {
			t.Errorf("%s: %s came back as %s, %v, want %s", tt.path, tt.json, got, err, want)
		}
	}
	field := fieldOf(t, codecOf(t, bookType, transcode.Options{}), "author.years")
	if got, err := field.AppendJSON([]byte("before"), []byte(`[1,"x"]`)); err == nil || string(got) != "before" ||
		err.Error() != `/author/years/1: expected an integer of 32 bits, found string "x" (offset 3)` {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := field.WireToJSON([]byte("before"), []byte("\x32\x02\x12\x05")); err == nil || string(got) != "before" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestDeclaredDefault writes absent proto2 fields that declare a default.
func TestDeclaredDefault(t *testing.T) {
	const closures = "judge.proto2.Closures"
	codec := codecOf(t, closures, transcode.Options{})
	fields := codec.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !fd.HasDefault() || fd.Enum() == nil {
			continue
		}
		got, err := fieldOf(t, codec, string(fd.Name())).WireToJSON(nil, nil)
		if want := `"` + string(fd.DefaultEnumValue().Name()) + `"`; err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", fd.Name(), got, err, want)
		}
	}
}

func TestFieldMask(t *testing.T) {
	for _, tt := range []struct {
		message protoreflect.FullName
		json    string
		want    []string
	}{
		{bookType, `{}`, nil},
		{bookType, `{"name":"a","id":0}`, []string{"name", "id"}},
		{bookType, `{"author":{"name":"a","years":[]},"tags":["x"]}`, []string{"author.name", "author.years", "tags"}},
		{bookType, `{"author":{},"created":"1970-01-01T00:00:00Z"}`, []string{"author", "created"}},
		{bookType, `{"author":null}`, []string{"author"}},
		{namesType, `{"other":true,"child":{"child":{"aBC":"x"}},"kids":{"k":{"alpha":""}}}`, []string{"renamed", "child.child.a_b_c", "kids"}},
		{knownType, `{"value":{"a":1},"any":{"@type":"x"}}`, []string{"value", "any"}},
	} {
		got, err := codecOf(t, tt.message, transcode.Options{}).FieldMask([]byte(tt.json))
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, %v, want %q", tt.json, got, err, tt.want)
		}
	}
	codec := codecOf(t, bookType, transcode.Options{})
	if got, err := fieldOf(t, codec, "author").FieldMask([]byte(`{"name":""}`)); err != nil || !slices.Equal(got, []string{"name"}) {
		t.Errorf("within a field: got %q, %v", got, err)
	}
	if _, err := fieldOf(t, codec, "name").FieldMask([]byte(`""`)); err == nil {
		t.Error("a scalar has a mask")
	}
	for _, text := range []string{``, `[]`, `{"nope":1}`, `{"author":{"nope":1}}`, `{"name":}`, `{"name":"a"`, `{} x`, `{"":1}`} {
		if got, err := codec.FieldMask([]byte(text)); err == nil {
			t.Errorf("%s: got %q", text, got)
		}
	}
}
