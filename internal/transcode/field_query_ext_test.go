package transcode_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/transcode"
)

// oddNames is a message whose JSON names contain dots and brackets.
func oddNames(t *testing.T, opts transcode.Options) *transcode.Codec {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{}
	const text = `{"name": "odd.proto", "package": "odd", "syntax": "proto2",
		"enumType": [{"name": "OrderStatus", "value": [
			{"name": "ORDER_STATUS_UNSPECIFIED", "number": 0}, {"name": "ORDER_STATUS_PENDING", "number": 1},
			{"name": "ORDER_STATUS_2", "number": 2}, {"name": "PAID", "number": 3}, {"name": "ORDER_STATUS_PAID", "number": 4},
			{"name": "ORDERSTATUS_Sent", "number": 5}, {"name": "ORDER_STATUS_sent", "number": 6}, {"name": "ORDER_STATUSES", "number": 7}]}],
		"messageType": [{"name": "Msg", "field": [
			{"name": "f", "number": 1, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL", "jsonName": "filter[name]"},
			{"name": "ids", "number": 2, "type": "TYPE_STRING", "label": "LABEL_REPEATED", "jsonName": "ids[]"},
			{"name": "d", "number": 3, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL", "jsonName": "a.b"},
			{"name": "a", "number": 4, "type": "TYPE_MESSAGE", "typeName": ".odd.Msg", "label": "LABEL_OPTIONAL", "jsonName": "a"},
			{"name": "b", "number": 5, "type": "TYPE_STRING", "label": "LABEL_OPTIONAL", "jsonName": "b"},
			{"name": "deep", "number": 6, "type": "TYPE_MESSAGE", "typeName": ".odd.Msg", "label": "LABEL_OPTIONAL", "jsonName": "a.b.c"},
			{"name": "status", "number": 7, "type": "TYPE_ENUM", "typeName": ".odd.OrderStatus", "label": "LABEL_OPTIONAL", "jsonName": "status"},
			{"name": "all", "number": 8, "type": "TYPE_ENUM", "typeName": ".odd.OrderStatus", "label": "LABEL_REPEATED", "jsonName": "all"}]}]}`
	if err := protojson.Unmarshal([]byte(text), file); err != nil {
		t.Fatal(err)
	}
	fd, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := transcode.NewCompiler(nil, opts).Codec(fd.Messages().ByName("Msg"))
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

// TestPathsWithBracketsAndDots shows how a path is split into names. If names contain dots or
// brackets, the longest name counts.
func TestPathsWithBracketsAndDots(t *testing.T) {
	odd := oddNames(t, transcode.Options{})
	book, maps := codecOf(t, bookType, transcode.Options{}), codecOf(t, mapsType, transcode.Options{})
	names := codecOf(t, namesType, transcode.Options{})
	for _, tt := range []struct {
		codec *transcode.Codec
		path  string
		want  string // proto names, or what the error says
		ok    bool
	}{
		{odd, "filter[name]", "f", true},
		{odd, "ids[]", "ids", true},
		{odd, "ids[][]", "ids", true},
		{odd, "ids", "ids", true},
		{odd, "a.b", "d", true},
		{odd, "a.f", "a.f", true},
		{odd, "a[b]", "a.b", true},
		{odd, "a.a.b", "a.d", true},
		{odd, "a.b.c", "deep", true},
		{odd, "a.b.c.b", "deep.b", true},
		{odd, "a[a.b].x", `"[a.b]" is not a singular message`, false},
		{odd, "a.b.x", `is not a singular message`, false},
		{odd, "filter[other]", `has no field "filter"`, false},
		{book, "author[name]", "author.name", true},
		{book, "author[years][]", "author.years", true},
		{book, "tags[]", "tags", true},
		{book, "tags[0]", `written as tags or tags[]`, false},
		{book, "name[x]", `"name" is not a map`, false},
		{book, "author[name", `is not a name in brackets`, false},
		{book, "author[name]x", `is not a name in brackets`, false},
		{book, "author[title]", `message type judge.proto3.Book.Author has no field "[title]"`, false},
		{names, "child[child].kids[a]", "child.child.kids", true},
		{maps, "byString[x[0]]", "by_string", true},
		{maps, "byString[]", "by_string", true},
		{maps, "byString[a][b]", `one key in brackets at the end`, false},
		{maps, "byString[a]b]", "by_string", true},
		{maps, "byString[[a]", "by_string", true},
		{maps, "byString[a", `one key in brackets at the end`, false},
		{maps, "byString[a].b[c]", `one key in brackets at the end`, false},
		{maps, "byInt32[1].byString[a]", `one key in brackets at the end`, false},
	} {
		field, err := tt.codec.Field(tt.path)
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
		if !tt.ok || strings.Join(got, ".") != tt.want {
			t.Errorf("%q: got %q, want %s", tt.path, got, tt.want)
		}
	}
}

// TestDepthOfPaths checks that paths have the same limit of depth as bodies.
func TestDepthOfPaths(t *testing.T) {
	for _, tt := range []struct {
		limit, levels int
		ok            bool
	}{{0, 99, true}, {0, 100, false}, {3, 2, true}, {3, 3, false}, {0, 10_000, false}} {
		codec := codecOf(t, namesType, transcode.Options{MaxDepth: tt.limit})
		if _, err := codec.Field(strings.Repeat("child.", tt.levels) + "alpha"); (err == nil) != tt.ok {
			t.Errorf("limit %d, %d levels: %v", tt.limit, tt.levels, err)
		}
	}
	codec := codecOf(t, knownType, transcode.Options{MaxDepth: 5})
	for text, ok := range map[string]bool{`[[[1]]]`: true, `[[[[1]]]]`: false} {
		if _, err := fieldOf(t, codec, "value").AppendQuery(nil, text); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestQueryTakesJSON reads messages, maps and dynamic values as JSON, unless they have another form
// as text.
func TestQueryTakesJSON(t *testing.T) {
	for _, tt := range []struct {
		message          protoreflect.FullName
		path, text, want string // JSON of the message that the wire makes, or what the error says
		ok               bool
	}{
		{knownType, "value", `5`, `{"value":5}`, true},
		{knownType, "value", ` "5" `, `{"value":"5"}`, true},
		{knownType, "value", `null`, `{"value":null}`, true},
		{knownType, "value", `{"a":[1,true]}`, `{"value":{"a":[1,true]}}`, true},
		{knownType, "valueList", `[1]`, `{"valueList":[[1]]}`, true},
		{knownType, "structList", `{"a":1}`, `{"structList":[{"a":1}]}`, true},
		{knownType, "listList", ` [1]`, `{"listList":[[1]]}`, true},
		{knownType, "structs[k]", `{}`, `{"structs":{"k":{}}}`, true},
		{knownType, "any", `{"value":"1s","@type":"x/google.protobuf.Duration"}`, `{"any":{"@type":"x/google.protobuf.Duration","value":"1s"}}`, true},
		{bookType, "author", `{"name":"Eve","years":[1]}`, `{"author":{"name":"Eve","years":[1]}}`, true},
		{mapsType, "byString", `{"a":1,"b":"OPEN_NEG"}`, `{"byString":{"a":"OPEN_ONE","b":"OPEN_NEG"}}`, true},
		{needsType, "child", `{}`, `{"id":"","child":{"id":""}}`, true},
		{"judge.editions.Features", "delimited", `{}`, `{"delimited":{}}`, true},
		{knownType, "value", `five`, `/value: expected false, found five`, false},
		{knownType, "value", ``, `/value: expected JSON text of google.protobuf.Value, found ""`, false},
		{knownType, "structList", `[1]`, `/structList: expected JSON text of google.protobuf.Struct`, false},
		{bookType, "author", `Eve`, `/author: expected JSON text of judge.proto3.Book.Author, found "Eve"`, false},
		{bookType, "author", `null`, `/author: expected JSON text`, false},
		{bookType, "author", `{"nome":1}`, `/author: expected a field of judge.proto3.Book.Author, found string "nome"`, false},
		{bookType, "author", `{"name":1}`, `/author/name: expected a string`, false},
		{bookType, "author", `{} x`, `/author: expected the end of the input`, false},
		{bookType, "tags", `["a"]`, `{"tags":["[\"a\"]"]}`, true},
		{mapsType, "byString", `{"a":1,"a":2}`, `/byString: expected each map key once`, false},
	} {
		codec := codecOf(t, tt.message, transcode.Options{})
		wire, err := fieldOf(t, codec, tt.path).AppendQuery([]byte("before"), tt.text)
		if err != nil {
			if tt.ok || !strings.Contains(err.Error(), tt.want) || string(wire) != "before" {
				t.Errorf("%s=%q: %v\nwant %s", tt.path, tt.text, err, tt.want)
			}
			continue
		}
		if tt.message == needsType {
			continue // its required fields come from elsewhere
		}
		got, err := codec.WireToJSON(nil, wire[len("before"):])
		if err != nil || !tt.ok || string(got) != tt.want {
			t.Errorf("%s=%q: got %s, %v, want %s", tt.path, tt.text, got, err, tt.want)
		}
	}
	if wire, err := fieldOf(t, codecOf(t, bookType, transcode.Options{}), "author").AppendText(nil, `{}`); err == nil {
		t.Errorf("a path takes JSON: %x", wire)
	}
}

// TestEnumNames reads and writes the names of enum values as the options say.
func TestEnumNames(t *testing.T) {
	omit, lower := transcode.Options{OmitEnumPrefix: true}, transcode.Options{EnumCase: transcode.EnumCaseLower}
	both := transcode.Options{OmitEnumPrefix: true, EnumCase: transcode.EnumCaseLower}
	for _, tt := range []struct {
		name, text string
		opts       transcode.Options
		want       string // nothing if it is refused
	}{
		{"as declared", `ORDER_STATUS_PENDING`, transcode.Options{}, `ORDER_STATUS_PENDING`},
		{"no other case", `order_status_pending`, transcode.Options{}, ``},
		{"not without the prefix", `PENDING`, transcode.Options{}, ``},
		{"without the prefix", `PENDING`, omit, `PENDING`},
		{"with the prefix too", `ORDER_STATUS_PENDING`, omit, `PENDING`},
		{"the prefix is not part of a word", `ORDER_STATUSES`, omit, `ORDER_STATUSES`},
		{"no name is a number", `ORDER_STATUS_2`, omit, `ORDER_STATUS_2`},
		{"another value has the short name", `ORDER_STATUS_PAID`, omit, `ORDER_STATUS_PAID`},
		{"and keeps it", `PAID`, omit, `PAID`},
		{"a prefix written otherwise", `ORDERSTATUS_Sent`, omit, `Sent`},
		{"no other case of a short name", `pending`, omit, ``},
		{"any case", `Order_Status_Pending`, transcode.Options{EnumCase: transcode.EnumCaseAny}, `ORDER_STATUS_PENDING`},
		{"any case, lower back", `ORDER_STATUS_PENDING`, lower, `order_status_pending`},
		{"any case without the prefix", `peNding`, both, `pending`},
		{"names that differ by case alone stay", `sent`, both, `sent`},
		{"and are told apart", `Sent`, both, `Sent`},
		{"so that a third is neither", `SENT`, both, ``},
		{"unknown", `nonsense_that_is_much_longer_than_any_name_of_the_enum`, both, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			codec := oddNames(t, tt.opts)
			fromBody, err := codec.JSONToWire(nil, []byte(`{"status":"`+tt.text+`","all":["`+tt.text+`"]}`))
			fromQuery, queryErr := fieldOf(t, codec, "status").AppendQuery(nil, tt.text)
			if tt.want == "" {
				if err == nil || queryErr == nil {
					t.Fatalf("read as %x and %x", fromBody, fromQuery)
				}
				return
			}
			if err != nil || queryErr != nil {
				t.Fatal(err, queryErr)
			}
			if got, err := codec.WireToJSON(nil, fromBody); err != nil || string(got) != `{"status":"`+tt.want+`","all":["`+tt.want+`"]}` {
				t.Errorf("the body became %s, %v", got, err)
			}
			if got, err := codec.WireToJSON(nil, fromQuery); err != nil || string(got) != `{"status":"`+tt.want+`"}` {
				t.Errorf("the query became %s, %v", got, err)
			}
		})
	}
}

// TestUnknownEnumNamesInQueries shows that unknown names are skipped, as in a body. Anything that
// cannot be a name is refused.
func TestUnknownEnumNamesInQueries(t *testing.T) {
	codec := codecOf(t, mapsType, transcode.Options{DiscardUnknown: true})
	for path, text := range map[string]string{"byString[a]": "OPEN_NEW", "byBool[true]": "x", "byInt32[1]": "{}"} {
		wire, err := fieldOf(t, codec, path).AppendQuery([]byte("before"), text)
		if err != nil || (string(wire) == "before") != (path != "byInt32[1]") {
			t.Errorf("%s=%s: %q, %v", path, text, wire, err)
		}
	}
	for _, text := range []string{"", "-", "1x", "99999999999"} {
		if _, err := fieldOf(t, codec, "byString[a]").AppendQuery(nil, text); err == nil {
			t.Errorf("%q is skipped", text)
		}
	}
	if _, err := fieldOf(t, codec, "byString[a]").AppendText(nil, "OPEN_NEW"); err == nil {
		t.Error("an unknown name in a path is skipped")
	}
}

// TestEnumNumbersForOneRequest writes enum values as numbers, although the options say names.
func TestEnumNumbersForOneRequest(t *testing.T) {
	codec := codecOf(t, bookType, transcode.Options{UseProtoNames: true})
	wire := varint(3, 1)
	if got, err := codec.WithEnumNumbers().WireToJSON(nil, wire); err != nil || string(got) != `{"state":1}` {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := fieldOf(t, codec, "state").WithEnumNumbers().WireToJSON(nil, wire); err != nil || string(got) != `1` {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := codec.WireToJSON(nil, wire); err != nil || string(got) != `{"state":"OPEN_ONE"}` {
		t.Errorf("got %s, %v", got, err)
	}
	numbers := codecOf(t, bookType, transcode.Options{EnumsAsNumbers: true})
	if numbers.WithEnumNumbers() != numbers {
		t.Error("a codec that writes numbers is not used as it is")
	}
}
