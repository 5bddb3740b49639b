package transcode_test

import (
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// wireOf returns the wire form of a JSON text.
func wireOf(t testing.TB, message protoreflect.FullName, json string) []byte {
	t.Helper()
	wire, err := codecOf(t, message, transcode.Options{}).JSONToWire(nil, []byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

const extendedType = "judge.proto2.Extended"

const (
	book = `{"name":"b","id":"7","state":"OPEN_ONE","created":"1970-01-01T00:00:01Z","tags":["x","y"],"author":{"name":"a","years":[1,2]}}`
	maps = `{"byBool":{"true":"OPEN_ONE"},"byInt32":{"-1":{"byString":{"k":"OPEN_ONE"}},"2":{"byString":{"l":"OPEN_ONE"},"byUint64":{"3":1.5}}},` +
		`"byString":{"":"OPEN_ONE","a.b":"OPEN_ONE","c` + "`" + `d":"OPEN_ONE","plain":"OPEN_ONE"}}`
	names    = `{"alpha":"1","other":true,"child":{"alpha":"2","child":{"alpha":"3","a":"4"}},"golf":"g","kids":{"x":{"alpha":"5","a":"6"},"y":{"a":"7"}}}`
	known    = `{"choices":[{"timestamp":"1970-01-01T00:00:01Z"},{"empty":{}}],"structs":{"s":{"k":1}},"any":{"@type":"x/judge.proto3.Book","name":"b"},"empty":{}}`
	extended = `{"own":1,"[judge.proto2.Extended.Scope.scoped]":{"s":"q","back":{"own":2}},"[judge.proto2.x_int64]":"5","[judge.proto2.x_strings]":["a"]}`
)

// TestMask writes parts of messages.
func TestMask(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		json    string
		mask    string
		want    string
	}{
		{"nothing is everything", bookType, book, "", book},
		{"space is nothing", bookType, book, " \t", book},
		{"star is everything", bookType, book, "*", book},
		{"star besides a field", bookType, book, "name,*", book},
		{"one field", bookType, book, "name", `{"name":"b"}`},
		{"fields come in their own order", bookType, book, "tags,id,name", `{"name":"b","id":"7","tags":["x","y"]}`},
		{"a field twice", bookType, book, "name,name", `{"name":"b"}`},
		{"space around paths", bookType, book, " name , id ", `{"name":"b","id":"7"}`},
		{"a message", bookType, book, "author", `{"author":{"name":"a","years":[1,2]}}`},
		{"all fields of a message", bookType, book, "author.*", `{"author":{"name":"a","years":[1,2]}}`},
		{"a field of a message", bookType, book, "author.name", `{"author":{"name":"a"}}`},
		{"a path within another", bookType, book, "author.name,author", `{"author":{"name":"a","years":[1,2]}}`},
		{"another within a path", bookType, book, "author,author.name", `{"author":{"name":"a","years":[1,2]}}`},
		{"an absent field", bookType, `{"id":"7"}`, "name", `{}`},
		{"a field of an absent message", bookType, `{"id":"7"}`, "author.name", `{}`},
		{"a field that a message lacks", bookType, `{"author":{"years":[1]}}`, "author.name", `{"author":{}}`},
		{"a timestamp", bookType, book, "created", `{"created":"1970-01-01T00:00:01Z"}`},
		{"all elements of a list", bookType, book, "tags.*", `{"tags":["x","y"]}`},
		{"proto name", mapsType, maps, "by_bool", `{"byBool":{"true":"OPEN_ONE"}}`},
		{"JSON name", mapsType, maps, "byBool", `{"byBool":{"true":"OPEN_ONE"}}`},
		{"custom JSON name", namesType, names, "other", `{"other":true}`},
		{"proto name of one with a custom JSON name", namesType, names, "renamed", `{"other":true}`},
		{"fields whose numbers are not in order", namesType, `{"zulu":"z","alpha":"a","lima":[1]}`, "lima,zulu,alpha", `{"zulu":"z","alpha":"a","lima":[1]}`},
		{"a recursive message", namesType, names, "child.child.alpha,child.a,alpha", `{"alpha":"1","child":{"child":{"alpha":"3"}}}`},
		{"a member of a oneof", namesType, names, "golf", `{"golf":"g"}`},
		{"another member of the oneof", namesType, names, "hotel", `{}`},
		{"a list walked through", knownType, known, "choices.timestamp", `{"choices":[{"timestamp":"1970-01-01T00:00:01Z"},{}]}`},
		{"a list walked through with a star", knownType, known, "choices.*.empty", `{"choices":[{},{"empty":{}}]}`},
		{"an Any is one value", knownType, known, "any", `{"any":{"@type":"x/judge.proto3.Book","name":"b"}}`},
		{"a key", mapsType, maps, "by_string.plain", `{"byString":{"plain":"OPEN_ONE"}}`},
		{"a key in backticks", mapsType, maps, "by_string.`a.b`", `{"byString":{"a.b":"OPEN_ONE"}}`},
		{"a key with a backtick", mapsType, maps, "by_string.`c``d`", `{"byString":{"c` + "`" + `d":"OPEN_ONE"}}`},
		{"the empty key", mapsType, maps, "by_string.``", `{"byString":{"":"OPEN_ONE"}}`},
		{"a key that is not there", mapsType, maps, "by_string.nope", `{}`},
		{"some keys", mapsType, maps, "by_string.plain,by_string.nope,by_string.`a.b`", `{"byString":{"a.b":"OPEN_ONE","plain":"OPEN_ONE"}}`},
		{"all keys", mapsType, maps, "by_bool.*", `{"byBool":{"true":"OPEN_ONE"}}`},
		{"a number as a key", mapsType, maps, "by_int32.-1", `{"byInt32":{"-1":{"byString":{"k":"OPEN_ONE"}}}}`},
		{"a field of one value", mapsType, maps, "by_int32.2.by_uint64", `{"byInt32":{"2":{"byUint64":{"3":1.5}}}}`},
		{"a field of all values", mapsType, maps, "by_int32.*.by_uint64", `{"byInt32":{"-1":{},"2":{"byUint64":{"3":1.5}}}}`},
		{"fields of all values and more of one", mapsType, maps, "by_int32.*.by_uint64,by_int32.2.by_string", `{"byInt32":{"-1":{},"2":{"byUint64":{"3":1.5},"byString":{"l":"OPEN_ONE"}}}}`},
		{"keys within values", mapsType, maps, "by_int32.*.by_string.l,by_int32.-1.by_string.k", `{"byInt32":{"-1":{"byString":{"k":"OPEN_ONE"}},"2":{"byString":{"l":"OPEN_ONE"}}}}`},
		{"extensions", extendedType, extended, "[judge.proto2.x_int64],own,[judge.proto2.Extended.Scope.scoped].back.own",
			`{"own":1,"[judge.proto2.Extended.Scope.scoped]":{"back":{"own":2}},"[judge.proto2.x_int64]":"5"}`},
		{"no extensions", extendedType, extended, "own", `{"own":1}`},
		{"values that are messages", namesType, names, "kids.y,kids.x.a", `{"kids":{"x":{"a":"6"},"y":{"a":"7"}}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec, err := codecOf(t, tt.message, transcode.Options{}).Mask(tt.mask)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := codec.WireToJSON(nil, wireOf(t, tt.message, tt.json)); err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestMaskErrors compares the exact messages. They say what was expected, and where.
func TestMaskErrors(t *testing.T) {
	deep := strings.Repeat("child.", 600) + "a"
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		mask    string
		want    string
	}{
		{"unknown field", bookType, "nope", `path "nope": expected a field of judge.proto3.Book, found "nope"`},
		{"unknown field of a message", bookType, "name,author.nope", `path "author.nope": expected a field of judge.proto3.Book.Author, found "nope"`},
		{"nothing between commas", bookType, "name,,id", `path "": expected a name`},
		{"nothing after a comma", bookType, "name,", `path "": expected a name`},
		{"nothing after a dot", bookType, "author.", `path "author.": expected a name`},
		{"dot first", bookType, ".name", `path ".name": expected a name`},
		{"field of a scalar", bookType, "name.x", `path "name.x": expected the end of the path, because the value has no fields`},
		{"field of elements that are scalars", bookType, "tags.x", `path "tags.x": expected the end of the path, because the value has no fields`},
		{"index of a list", knownType, "choices.0", `path "choices.0": expected a field of judge.proto3.Known.Choice, found "0"`},
		{"field of a well-known type", bookType, "created.seconds", `path "created.seconds": expected the end of the path, because the value has no fields`},
		{"key of a Struct", knownType, "structs.s.k", `path "structs.s.k": expected the end of the path, because the value has no fields`},
		{"content of an Any", knownType, "any.name", `path "any.name": expected the end of the path, because the value has no fields`},
		{"field of an Empty", knownType, "empty.x", `path "empty.x": expected a field of google.protobuf.Empty, found "x"`},
		{"path after a star", bookType, "author.*.name", `path "author.*.name": expected the end of the path after *`},
		{"path after the star", bookType, "*.name", `path "*.name": expected the end of the path after *`},
		{"key that is not a number", mapsType, "by_int32.x", `path "by_int32.x": expected a key of kind int32 or *, found "x"`},
		{"key of a map of bools", mapsType, "by_bool.true", `path "by_bool.true": expected the end of the path or * after a map whose keys are bools`},
		{"field of a value that is a scalar", mapsType, "by_string.a.b", `path "by_string.a.b": expected the end of the path, because the value has no fields`},
		{"open backtick", mapsType, "by_string.`a", "path \"by_string.`a\": expected a backtick at the end of the key"},
		{"text after a backtick", mapsType, "by_string.`a`b", "path \"by_string.`a`b\": expected a dot or a comma after \"a\""},
		{"field in backticks", bookType, "`name`", "path \"`name`\": expected a field of judge.proto3.Book, found \"name\""},
		{"open bracket", bookType, "[x", `path "[x": expected a ] after the name of the extension`},
		{"unknown extension", bookType, "[x.y]", `path "[x.y]": expected a field of judge.proto3.Book, found "x.y"`},
		{"extension of another message", bookType, "[judge.proto2.x_int64]", `path "[judge.proto2.x_int64]": expected a field of judge.proto3.Book, found "judge.proto2.x_int64"`},
		{"root without fields", "google.protobuf.Struct", "a", `path "a": expected nothing, because google.protobuf.Struct has no fields in JSON`},
		{"too long", bookType, strings.Repeat("x", 4097), `expected at most 4096 bytes, found 4097`},
		{"too deep", namesType, deep, `expected at most 512 fields in all paths together`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := codecOf(t, tt.message, transcode.Options{}).Mask(tt.mask)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// TestMaskWithDefaults writes the defaults of the fields that the mask names, and of no others.
func TestMaskWithDefaults(t *testing.T) {
	for _, tt := range []struct{ message, mask, wire, want string }{
		{bookType, "name,tags,author.name", `{}`, `{"name":"","tags":[]}`},
		{bookType, "author.name,author.years", `{"author":{}}`, `{"author":{"name":"","years":[]}}`},
		{mapsType, "by_string.x,by_bool", `{"byString":{"y":"OPEN_ONE"}}`, `{"byBool":{},"byString":{}}`},
		{knownType, "choices.plain,null", `{"choices":[{}]}`, `{"choices":[{}],"null":null}`},
	} {
		t.Run(tt.mask, func(t *testing.T) {
			codec, err := codecOf(t, protoreflect.FullName(tt.message), transcode.Options{EmitDefaults: true}).Mask(tt.mask)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := codec.WireToJSON(nil, wireOf(t, protoreflect.FullName(tt.message), tt.wire)); err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestMaskOfReplacedMember has wire that sets several members of a oneof. The last one counts, even
// if the mask does not name it.
func TestMaskOfReplacedMember(t *testing.T) {
	// Its fields are declared in the order of their numbers.
	const choiceType = "judge.proto3.Known.Choice"
	golf, hotel := field(15, []byte("g")), varint(14, 1)
	empty, plain := field(9, nil), varint(15, 1)
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		mask    string
		wire    []byte
		want    string
	}{
		{"last", namesType, "golf", concat(hotel, golf), `{"golf":"g"}`},
		{"not last", namesType, "golf", concat(golf, hotel), `{}`},
		{"again", namesType, "golf", concat(golf, hotel, golf), `{"golf":"g"}`},
		{"with another wire type", namesType, "golf", concat(golf, field(14, nil)), `{"golf":"g"}`},
		{"last, in one pass", choiceType, "plain", concat(empty, plain), `{"plain":1}`},
		{"not last, in one pass", choiceType, "empty", concat(empty, plain), `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec, err := codecOf(t, tt.message, transcode.Options{}).Mask(tt.mask)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // The second time, the type is known not to be canonical.
				if got, err := codec.WireToJSON(nil, tt.wire); err != nil || string(got) != tt.want {
					t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
				}
			}
		})
	}
}

// TestMaskOfField writes parts of the value of one field, as a response_body has it.
func TestMaskOfField(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		json    string
		field   string
		mask    string
		want    string // or the error
	}{
		{"message", bookType, book, "author", "years", `{"years":[1,2]}`},
		{"nothing is everything", bookType, book, "author", "", `{"name":"a","years":[1,2]}`},
		{"star", bookType, book, "author", "*", `{"name":"a","years":[1,2]}`},
		{"absent message", bookType, `{}`, "author", "name", `null`},
		{"list of messages", knownType, known, "choices", "empty", `[{},{"empty":{}}]`},
		{"list with a star", knownType, known, "choices", "*.empty", `[{},{"empty":{}}]`},
		{"absent list", knownType, `{}`, "choices", "empty", `[]`},
		{"list of scalars", bookType, book, "tags", "*", `["x","y"]`},
		{"map", mapsType, maps, "by_string", "plain,``", `{"":"OPEN_ONE","plain":"OPEN_ONE"}`},
		{"map without the key", mapsType, maps, "by_string", "x", `{}`},
		{"map of messages", mapsType, maps, "by_int32", "*.by_uint64", `{"-1":{},"2":{"byUint64":{"3":1.5}}}`},
		{"entry of a map", namesType, names, "kids[x]", "a", `{"a":"6"}`},
		{"absent entry", namesType, names, "kids[z]", "a", `null`},
		{"within a message", namesType, names, "child.child", "a", `{"a":"4"}`},
		{"scalar", bookType, book, "name", "x", `path "x": expected the end of the path, because the value has no fields`},
		{"timestamp", bookType, book, "created", "seconds", `path "seconds": expected the end of the path, because the value has no fields`},
		{"unknown field", bookType, book, "author", "nope", `path "nope": expected a field of judge.proto3.Book.Author, found "nope"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := fieldOf(t, codecOf(t, tt.message, transcode.Options{}), tt.field).Mask(tt.mask)
			if err != nil {
				if err.Error() != tt.want {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				return
			}
			if got, err := f.WireToJSON(nil, wireOf(t, tt.message, tt.json)); err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestMaskWithEnumNumbers makes sure that a mask is kept when a request asks for numbers.
func TestMaskWithEnumNumbers(t *testing.T) {
	codec, err := codecOf(t, bookType, transcode.Options{}).Mask("state")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := codec.WithEnumNumbers().WireToJSON(nil, wireOf(t, bookType, book)); err != nil || string(got) != `{"state":1}` {
		t.Errorf("got %s, %v", got, err)
	}
	f, err := fieldOf(t, codecOf(t, mapsType, transcode.Options{}), "by_string").Mask("plain")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.WithEnumNumbers().WireToJSON(nil, wireOf(t, mapsType, maps)); err != nil || string(got) != `{"plain":1}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestMasksAreBounded makes sure that a client which asks for other parts each time fills no
// memory.
func TestMasksAreBounded(t *testing.T) {
	codec := codecOf(t, mapsType, transcode.Options{})
	for i := range 10 * transcode.MaxCachedMasks {
		if _, err := codec.Mask("by_int32." + strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := transcode.CachedMasks(codec); n != transcode.MaxCachedMasks {
		t.Errorf("%d masks are kept", n)
	}
	codec = codecOf(t, mapsType, transcode.Options{})
	if _, err := codec.Mask("by_int32.1," + strings.Repeat(" ", 300) + "by_bool"); err != nil {
		t.Fatal(err)
	}
	if n := transcode.CachedMasks(codec); n != 0 {
		t.Errorf("a long mask is kept")
	}
}
