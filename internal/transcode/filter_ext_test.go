package transcode_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

func filterOf(t *testing.T, message protoreflect.FullName, hidden ...string) (*transcode.Filter, *transcode.Codec) {
	t.Helper()
	s, err := loadSchema()
	if err != nil {
		t.Fatal(err)
	}
	mt, err := s.types.FindMessageByName(message)
	if err != nil {
		t.Fatal(err)
	}
	c := transcode.NewCompiler(s.types, transcode.Options{Hidden: strings.Join(hidden, " ")})
	codec, err := c.Codec(mt.Descriptor())
	if err != nil {
		t.Fatal(err)
	}
	return c.Filter(mt.Descriptor()), codec
}

func group(num protowire.Number, content []byte) []byte {
	return protowire.AppendGroup(protowire.AppendTag(nil, num, protowire.StartGroupType), num, content)
}

// TestFilter says byte by byte what a filter leaves on the wire.
func TestFilter(t *testing.T) {
	const (
		author    = "judge.proto3.Book.Author.name"
		bookName  = "judge.proto3.Book.name"
		url       = "x/judge.proto3.Book"
		authorURL = "x/judge.proto3.Book.Author"
	)
	text := func(num protowire.Number, s string) []byte { return field(num, []byte(s)) }
	years := field(2, []byte{1, 2})
	anyOf := func(url string, content []byte) []byte { return concat(text(1, url), field(2, content)) }
	long := strings.Repeat("x", 200)
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		hidden  string
		wire    []byte
		want    []byte
	}{
		{"nothing", bookType, bookName, nil, nil},
		{"a field", bookType, bookName, concat(text(1, "n"), varint(2, 7)), varint(2, 7)},
		{"a field twice", bookType, bookName, concat(text(1, "n"), varint(2, 7), text(1, "m")), varint(2, 7)},
		{"a field of another wire type", bookType, bookName, concat(varint(1, 9), varint(2, 7)), varint(2, 7)},
		{"a field that is a group", bookType, bookName, concat(group(1, text(1, "n")), varint(2, 7)), varint(2, 7)},
		{"an unknown field", bookType, bookName, concat(text(99, "n"), varint(2, 7)), varint(2, 7)},
		{"a visible field of another wire type", bookType, bookName, concat(text(2, "n"), text(5, "t")), text(5, "t")},
		{"a field of a message", bookType, author, concat(text(1, "n"), field(6, concat(text(1, "a"), years)), text(5, "t")),
			concat(text(1, "n"), field(6, years), text(5, "t"))},
		{"a message twice", bookType, author, concat(field(6, text(1, "a")), field(6, concat(years, text(1, "b")))), concat(field(6, nil), field(6, years))},
		{"a length that gets shorter", bookType, author, field(6, concat(text(1, long), years)), field(6, years)},
		{"a length that stays long", bookType, author, field(6, concat(text(1, "a"), field(2, []byte(long)))), field(6, field(2, []byte(long)))},
		{"a message that is no message", bookType, author, concat(varint(6, 1), years), nil},
		{"a packed list", bookType, "judge.proto3.Book.Author.years", field(6, concat(text(1, "a"), years)), field(6, text(1, "a"))},
		{"a list that is not packed", bookType, "judge.proto3.Book.Author.years", field(6, concat(varint(2, 1), text(1, "a"), varint(2, 2))), field(6, text(1, "a"))},
		{"a list that stays, of both forms", bookType, author, field(6, concat(varint(2, 1), years)), field(6, concat(varint(2, 1), years))},
		{"a list of messages", knownType, "judge.proto3.Known.Choice.plain", concat(field(2, varint(15, 1)), field(2, nil)), concat(field(2, nil), field(2, nil))},
		{"values of a map", namesType, "judge.proto3.Names.a", field(50, concat(text(1, "k"), field(2, concat(text(6, "a"), text(2, "b"))), text(3, "?"))),
			field(50, concat(text(1, "k"), field(2, text(2, "b"))))},
		{"a map", namesType, "judge.proto3.Names.kids", concat(text(2, "b"), field(50, text(1, "k"))), text(2, "b")},
		{"the values of a map", namesType, "judge.proto3.Names.KidsEntry.value", concat(text(2, "b"), field(50, text(1, "k"))), text(2, "b")},
		{"a member of a oneof", namesType, "judge.proto3.Names.golf", concat(text(15, "g"), text(2, "b")), text(2, "b")},
		{"recursively", namesType, "judge.proto3.Names.a", field(12, field(12, concat(text(6, "a"), text(7, "b")))), field(12, field(12, text(7, "b")))},
		{"a field of a group", needsType, "judge.proto2.Needs.Part.x", group(7, concat(varint(1, 1), varint(2, 2))), group(7, varint(2, 2))},
		{"a group", needsType, "judge.proto2.Needs.part", concat(text(1, "i"), group(7, varint(1, 1))), text(1, "i")},
		{"groups in a list", needsType, "judge.proto2.Needs.id", group(8, field(2, text(1, "i"))), group(8, field(2, nil))},
		{"an extension", extendedType, "judge.proto2.x_int64", concat(varint(100, 1), varint(2, 3)), varint(2, 3)},
		{"a field of an extension", extendedType, "judge.proto2.Extended.Scope.s", field(110, concat(text(1, "s"), field(2, nil))), field(110, field(2, nil))},
		{"an extension that is not known", extendedType, "judge.proto2.x_int64", concat(varint(199, 1), varint(2, 3)), varint(2, 3)},
		{"in an Any", knownType, bookName, field(22, anyOf(url, concat(text(1, "n"), varint(2, 7)))), field(22, anyOf(url, varint(2, 7)))},
		{"in an Any in an Any", "google.protobuf.Any", bookName, anyOf("x/google.protobuf.Any", anyOf(url, text(1, "n"))), anyOf("x/google.protobuf.Any", anyOf(url, nil))},
		{"an Any of another type", knownType, bookName, field(22, anyOf(authorURL, text(1, "n"))), field(22, anyOf(authorURL, text(1, "n")))},
		{"an Any of an unknown type", knownType, bookName, field(22, anyOf("x/y.Z", text(1, "n"))), field(22, anyOf("x/y.Z", nil))},
		{"an Any without a type", knownType, bookName, field(22, field(2, text(1, "n"))), field(22, anyOf("", nil))},
		{"an Any without content", knownType, bookName, field(22, text(1, url)), field(22, anyOf(url, nil))},
		{"an Any of nothing", knownType, bookName, field(22, nil), field(22, nil)},
		{"an Any whose content comes first", knownType, bookName, field(22, concat(field(2, text(1, "n")), text(1, url))), field(22, anyOf(url, nil))},
		// A reader would take the content of the first as the type of the second.
		{"an Any in two places", knownType, bookName, concat(field(22, anyOf(authorURL, text(1, "n"))), field(22, text(1, url))),
			concat(field(22, anyOf(authorURL, text(1, "n"))), field(22, anyOf(url, nil)))},
		{"a message that can hold nothing hidden", bookType, bookName, field(6, concat(text(99, "?"), text(1, "a"))), field(6, concat(text(99, "?"), text(1, "a")))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter, _ := filterOf(t, tt.message, tt.hidden)
			if filter.Passes() {
				t.Fatal("the filter lets everything pass")
			}
			got, err := filter.Append([]byte("before"), tt.wire)
			if err != nil || string(got) != "before"+string(tt.want) {
				t.Errorf("got  %x, %v\nwant %x", strings.TrimPrefix(string(got), "before"), err, tt.want)
			}
		})
	}
}

// TestFilterRefuses lists wire that no filter can look into.
func TestFilterRefuses(t *testing.T) {
	deep := varint(2, 1)
	for range transcode.DefaultMaxWireDepth {
		deep = field(12, deep)
	}
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		wire    []byte
		want    string
	}{
		{"half a tag", bookType, []byte{0x80}, "expected a field tag (offset 0)"},
		{"field number 0", bookType, []byte{0x00, 1}, "expected a field tag (offset 0)"},
		{"a wire type that does not exist", bookType, []byte{0x0f}, "expected a whole value of wire type reserved wire type 7 (offset 1)"},
		{"a length beyond the end", bookType, []byte{0x0a, 5, 'x'}, "expected a length within the message (offset 1)"},
		{"half a message in a message", bookType, field(6, []byte{0x0a, 5, 'x'}), "/author: expected a length within the message (offset 3)"},
		{"half a message in an Any", knownType, field(22, concat(field(1, []byte("x/judge.proto3.Book")), field(2, []byte{0x0a, 5}))),
			"/any/[judge.proto3.Book]: expected a length within the message (offset 27)"},
		{"a group without an end", bookType, []byte{0x9b, 0x06}, "expected a field tag (offset 2)"},
		{"too deep", namesType, deep, "expected nesting within the limit of depth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			filter, _ := filterOf(t, tt.message, "judge.proto3.Book.Author.name", "judge.proto3.Book.id", "judge.proto3.Names.a")
			got, err := filter.Append([]byte("before"), tt.wire)
			if err == nil || !strings.Contains(err.Error(), tt.want) || string(got) != "before" {
				t.Errorf("got %q, %v\nwant %s", got, err, tt.want)
			}
		})
	}
}

// TestFilterPasses says which types need no filter.
func TestFilterPasses(t *testing.T) {
	for _, tt := range []struct {
		message protoreflect.FullName
		hidden  string
		want    bool
	}{
		{bookType, "judge.proto3.Book.name", false},
		{bookType, "judge.proto3.Book.Author.name", false},
		{"judge.proto3.Book.Author", "judge.proto3.Book.name", true},
		{namesType, "judge.proto3.Book.name", true},
		{namesType, "judge.proto3.Names.a", false},
		{knownType, "judge.proto3.Book.name", false}, // An Any may hold one.
		{extendedType, "judge.proto3.Book.name", false},
		{"google.protobuf.Struct", "judge.proto3.Book.name", true},
	} {
		filter, _ := filterOf(t, tt.message, tt.hidden)
		if filter.Passes() != tt.want {
			t.Errorf("%s, hiding %s: passes is %v", tt.message, tt.hidden, filter.Passes())
		}
	}
	if c := transcode.NewCompiler(nil, transcode.Options{}); c.Filter(codecOf(t, bookType, transcode.Options{}).Descriptor()) != nil {
		t.Error("there is a filter for nothing")
	}
}

// TestHiddenInJSON writes answers without hidden fields.
func TestHiddenInJSON(t *testing.T) {
	const url = "x/judge.proto3.Book"
	secret := field(1, []byte("secret"))
	for _, tt := range []struct {
		name    string
		message protoreflect.FullName
		hidden  string
		wire    []byte
		want    string
	}{
		{"a field", bookType, "judge.proto3.Book.name", concat(secret, varint(2, 7)), `{"id":"7"}`},
		{"in an Any", knownType, "judge.proto3.Book.name", field(22, concat(field(1, []byte(url)), field(2, concat(secret, varint(2, 7))))),
			`{"any":{"@type":"x/judge.proto3.Book","id":"7"}}`},
		{"in an Any of an unknown type", knownType, "judge.proto3.Book.name", field(22, concat(field(1, []byte("x/y.Z")), field(2, secret))), `{"any":{"@type":"x/y.Z"}}`},
		{"in a broken Any", knownType, "judge.proto3.Book.name", field(22, concat(field(1, []byte(url)), field(2, concat(secret, []byte{0x12})))),
			`{"any":{"@type":"x/judge.proto3.Book"}}`},
		{"in an Any without a type", knownType, "judge.proto3.Book.name", field(22, field(2, secret)), `{"any":{"@type":""}}`},
		{"an extension", extendedType, "judge.proto2.x_int64", concat(varint(100, 1), varint(2, 3)), `{"own":3}`},
		{"the values of a map", namesType, "judge.proto3.Names.KidsEntry.value", field(50, concat(secret, field(2, nil))), `{}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, codec := filterOf(t, tt.message, tt.hidden)
			got, _, err := codec.AnswerToJSON(nil, tt.wire)
			if err != nil || string(got) != tt.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tt.want)
			}
		})
	}
	_, codec := filterOf(t, bookType, "judge.proto3.Book.name")
	if _, err := codec.Mask("name"); err == nil || err.Error() != `path "name": expected a field of judge.proto3.Book, found "name"` {
		t.Errorf("a mask finds a hidden field: %v", err)
	}
	if _, err := codec.Field("name"); err == nil {
		t.Error("a path finds a hidden field")
	}
}

// TestFilterContent is for the details of an error.
func TestFilterContent(t *testing.T) {
	filter, _ := filterOf(t, knownType, "judge.proto3.Book.name")
	for _, tt := range []struct {
		name, url string
		content   []byte
		want      []byte
		ok        bool
	}{
		{"a field", "x/judge.proto3.Book", concat(field(1, []byte("n")), varint(2, 7)), varint(2, 7), true},
		{"another type", "x/judge.proto3.Names", field(6, []byte("a")), field(6, []byte("a")), true},
		{"unknown type", "x/y.Z", field(1, []byte("n")), nil, false},
		{"broken", "x/judge.proto3.Book", []byte{0x0a}, nil, false},
		{"no type", "", field(1, []byte("n")), nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := filter.AppendContent(nil, tt.url, tt.content); ok != tt.ok || string(got) != string(tt.want) {
				t.Errorf("got %x, %v; want %x, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}
