package rest

import (
	"bytes"
	"encoding/base64"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// bindingCase is a request and what the backend sees of it, or the error.
type bindingCase struct {
	name, method, path, body string
	want                     *testpb.EchoRequest
	status                   int // with message, where want is nil
	message                  string
}

func runBinding(t *testing.T, w *world, cases []bindingCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				var body any
				if tc.body != "" {
					body = tc.body
				}
				a := c.do(tc.method, tc.path, body)
				if tc.want != nil {
					a.wantEcho(t, tc.want)
					return
				}
				a.wantError(t, tc.status, 3, tc.message)
			})
		})
	}
}

func TestPathVariables(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "one segment", method: "GET", path: "/v1/echo/abc", want: &testpb.EchoRequest{Text: "abc"}},
		{name: "one segment, an encoded slash", method: "GET", path: "/v1/echo/a%2Fb", want: &testpb.EchoRequest{Text: "a/b"}},
		{name: "decoded once", method: "GET", path: "/v1/echo/a%252Fb", want: &testpb.EchoRequest{Text: "a%2Fb"}},
		{name: "UTF-8", method: "GET", path: "/v1/echo/%C3%A9%E4%BD%A0", want: &testpb.EchoRequest{Text: "é你"}},
		{name: "plus is a plus", method: "GET", path: "/v1/echo/a+b", want: &testpb.EchoRequest{Text: "a+b"}},
		{name: "many segments keep an encoded slash", method: "GET", path: "/v1/files/a/b%2Fc/d%20e", want: &testpb.EchoRequest{Path: "a/b%2Fc/d e"}},
		{name: "a verb that is registered", method: "POST", path: "/v1/echo/loud:shout", body: `{"value":"v"}`,
			want: &testpb.EchoRequest{Text: "loud", Nested: &testpb.Nested{Value: "v"}}},
		{name: "a verb that is not", method: "GET", path: "/v1/echo/loud:whisper", want: &testpb.EchoRequest{Text: "loud:whisper"}},
		{name: "a number that is none", method: "GET", path: "/v1/stream/abc", status: 400, message: "path variable count"},
		{name: "not UTF-8", method: "GET", path: "/v1/echo/%ff", status: 400, message: "path variable text"},
	})
}

func TestPrecedence(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		// The literal "shelves:titles" beats the variable of "{name=shelves/*/books/*}" and of
		// "books/{name}".
		if a := c.do("GET", "/v1/shelves:titles", nil); a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, `[{"name":`) {
			t.Errorf("literal: %d %s", a.StatusCode, a.body)
		}
		book := &testpb.Book{}
		c.do("GET", "/v1/shelves/1/books/1", nil).decode(t, book)
		if book.GetTitle() != "Emma" {
			t.Errorf("got %v", book)
		}
		list := &testpb.ListBooksResponse{}
		c.do("GET", "/v1/shelves/1/books", nil).decode(t, list)
		if len(list.GetBooks()) != 2 {
			t.Errorf("got %v", list)
		}
	})
}

func TestBodyAll(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "a message", method: "POST", path: "/v1/echo", body: `{"text":"hi","nested":{"value":"n"}}`,
			want: &testpb.EchoRequest{Text: "hi", Nested: &testpb.Nested{Value: "n"}}},
		{name: "empty body is {}", method: "POST", path: "/v1/echo", want: &testpb.EchoRequest{}},
		{name: "white space is {}", method: "POST", path: "/v1/echo", body: " \n\t", want: &testpb.EchoRequest{}},
		{name: "no query parameters", method: "POST", path: "/v1/echo?text=x", body: `{}`, status: 400, message: `query parameter \"text\"`},
		{name: "malformed", method: "POST", path: "/v1/echo", body: `{"text":`, status: 400, message: "request body"},
		{name: "a wrong type", method: "POST", path: "/v1/echo", body: `{"count":"many"}`, status: 400, message: "count"},
		{name: "an unknown field", method: "POST", path: "/v1/echo", body: `{"nonsense":1}`, status: 400, message: "nonsense"},
		{name: "text behind it", method: "POST", path: "/v1/echo", body: `{} {}`, status: 400, message: "request body"},
	})
}

func TestBodyField(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	runBinding(t, w, []bindingCase{
		{name: "a message field", method: "POST", path: "/v1/echo/x:shout", body: `{"value":"v"}`, want: &testpb.EchoRequest{Text: "x", Nested: &testpb.Nested{Value: "v"}}},
		{name: "with query", method: "POST", path: "/v1/echo/x:shout?count=3", body: `{}`, want: &testpb.EchoRequest{Text: "x", Nested: &testpb.Nested{}, Count: 3}},
		{name: "no body leaves the field unset", method: "POST", path: "/v1/echo/x:shout", want: &testpb.EchoRequest{Text: "x"}},
		{name: "the body's field is not the query's", method: "POST", path: "/v1/echo/x:shout?nested.value=q", body: `{"value":"v"}`,
			status: 400, message: "taken from the body"},
		{name: "malformed", method: "POST", path: "/v1/echo/x:shout", body: `[`, status: 400, message: "request body"},
	})
	w.eachVersion(t, func(t *testing.T, c *client) {
		// body and response_body are scalars here.
		if a := c.do("POST", "/v1/echo:text", `"hello"`); a.StatusCode != http.StatusOK || a.body != `"hello"` {
			t.Errorf("scalar body and response_body: %d %s", a.StatusCode, a.body)
		}
	})
}

func TestPathWinsOverBodyAndQuery(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	runBinding(t, w, []bindingCase{
		{name: "equal in the query", method: "GET", path: "/v1/echo/a%20b?text=a+b", want: &testpb.EchoRequest{Text: "a b"}},
		{name: "different in the query", method: "GET", path: "/v1/echo/a?text=b", status: 400, message: "the path says otherwise"},
	})
	w.eachVersion(t, func(t *testing.T, c *client) {
		if a := c.do("GET", "/v1/stream/1?count=01", nil); a.StatusCode == http.StatusOK {
			t.Log("01 is taken as 1")
		}
		c.do("PATCH", "/v1/shelves/1/books/2?update_mask=title", `{"name":"shelves/1/books/1","title":"Silas Marner"}`)
		book := &testpb.Book{}
		c.do("GET", "/v1/shelves/1/books/2", nil).decode(t, book)
		if book.GetTitle() != "Silas Marner" || book.GetName() != "shelves/1/books/2" {
			t.Errorf("path over body: got %v", book)
		}
	})
}

func TestSingularTwiceOneofTwiceRepeatedMessage(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "a scalar twice", method: "GET", path: "/v1/echo?count=1&count=2", status: 400, message: `query parameter \"count\": given more than once`},
		{name: "twice by two names", method: "GET", path: "/v1/echo?renamed_field=1&otherName=1", status: 400, message: "given more than once"},
		{name: "a map entry twice", method: "GET", path: "/v1/echo?labels[a]=1&labels[a]=2", status: 400, message: "given more than once"},
		{name: "two members of a oneof", method: "GET", path: "/v1/echo?left=a&right=1", status: 400, message: "another member of the oneof choice"},
		{name: "two members of a oneof, one inside", method: "GET", path: "/v1/echo?middle.value=a&left=b", status: 400, message: "another member of the oneof choice"},
		{name: "two fields of one member", method: "GET", path: "/v1/echo?middle.value=a&middle.child.value=b",
			want: &testpb.EchoRequest{Choice: &testpb.EchoRequest_Middle{Middle: &testpb.Nested{Value: "a", Child: &testpb.Nested{Value: "b"}}}}},
		{name: "presence is no oneof", method: "GET", path: "/v1/echo?maybe=a&maybe_number=1",
			want: &testpb.EchoRequest{Maybe: proto.String("a"), MaybeNumber: proto.Int32(1)}},
		{name: "a repeated message", method: "GET", path: "/v1/echo?many=x", status: 400, message: "many"},
		{name: "a field of a repeated message", method: "GET", path: "/v1/echo?many.value=x", status: 400, message: "many"},
		{name: "a message", method: "GET", path: "/v1/echo?nested=x", status: 400, message: "nested"},
	})
}

// A member that the path sets comes last on the wire and would drop the one of the query in
// silence.
func TestOneofInPathAndQuery(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.table = newTable(t, w.table.Methods["/gateway.test.v1.Echo/Unary"].Conn,
		routes.Route{Method: "GET", Template: "/v1/choice/{left}", RPC: "gateway.test.v1.Echo/Unary"},
		routes.Route{Method: "GET", Template: "/v1/middle/{middle.value}", RPC: "gateway.test.v1.Echo/Unary"})
	runBinding(t, w, []bindingCase{
		{name: "two members", method: "GET", path: "/v1/choice/a?right=1", status: 400, message: "another member of the oneof choice"},
		{name: "the same member and value", method: "GET", path: "/v1/choice/a?left=a", want: &testpb.EchoRequest{Choice: &testpb.EchoRequest_Left{Left: "a"}}},
		{name: "two members, one inside", method: "GET", path: "/v1/middle/a?left=b", status: 400, message: "another member of the oneof choice"},
		{name: "two fields of one member", method: "GET", path: "/v1/middle/a?middle.child.value=b",
			want: &testpb.EchoRequest{Choice: &testpb.EchoRequest_Middle{Middle: &testpb.Nested{Value: "a", Child: &testpb.Nested{Value: "b"}}}}},
	})
}

func TestUnknownQueryParameter(t *testing.T) {
	cases := []bindingCase{
		{name: "unknown", method: "GET", path: "/v1/echo/a?nonsense=1", status: 400, message: `query parameter \"nonsense\"`},
		{name: "unknown inside", method: "GET", path: "/v1/echo/a?nested.nonsense=1", status: 400, message: "nested.nonsense"},
		{name: "inside a scalar", method: "GET", path: "/v1/echo/a?count.x=1", status: 400, message: "count.x"},
		{name: "without a name", method: "GET", path: "/v1/echo/a?=1", status: 400, message: "query parameter"},
	}
	t.Run("refused", func(t *testing.T) { runBinding(t, newWorld(t, frontend.Options{}), cases) })
	t.Run("ignored", func(t *testing.T) {
		for i := range cases {
			cases[i].want = &testpb.EchoRequest{Text: "a"}
		}
		cases = append(cases,
			bindingCase{name: "with body *", method: "POST", path: "/v1/echo?x=1", body: `{"text":"b"}`, want: &testpb.EchoRequest{Text: "b"}},
			bindingCase{name: "a wrong value of a known one", method: "GET", path: "/v1/echo/a?count=x", status: 400, message: "count"})
		runBinding(t, newWorld(t, frontend.Options{QueryIgnoreUnknown: true}), cases)
	})
}

func TestParameterNamesAndTypes(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "json_name", method: "GET", path: "/v1/echo?otherName=a", want: &testpb.EchoRequest{RenamedField: "a"}},
		{name: "proto name", method: "GET", path: "/v1/echo?renamed_field=a", want: &testpb.EchoRequest{RenamedField: "a"}},
		{name: "nested by dots", method: "GET", path: "/v1/echo?nested.child.value=a&nested.value=b",
			want: &testpb.EchoRequest{Nested: &testpb.Nested{Value: "b", Child: &testpb.Nested{Value: "a"}}}},
		{name: "a list", method: "GET", path: "/v1/echo?list=a&list=&list=c", want: &testpb.EchoRequest{List: []string{"a", "", "c"}}},
		{name: "a list inside", method: "GET", path: "/v1/echo?nested.numbers=1&nested.numbers=-2", want: &testpb.EchoRequest{Nested: &testpb.Nested{Numbers: []int32{1, -2}}}},
		{name: "map", method: "GET", path: "/v1/echo?labels[a]=1&labels[b.c]=2", want: &testpb.EchoRequest{Labels: map[string]string{"a": "1", "b.c": "2"}}},
		{name: "map, brackets encoded", method: "GET", path: "/v1/echo?labels%5Ba%5D=1", want: &testpb.EchoRequest{Labels: map[string]string{"a": "1"}}},
		{name: "enum by name", method: "GET", path: "/v1/echo?genre=POETRY", want: &testpb.EchoRequest{Genre: testpb.Genre_POETRY}},
		{name: "enum by number", method: "GET", path: "/v1/echo?genre=1", want: &testpb.EchoRequest{Genre: testpb.Genre_NOVEL}},
		{name: "enum, unknown name", method: "GET", path: "/v1/echo?genre=DRAMA", status: 400, message: "genre"},
		{name: "list of enums", method: "GET", path: "/v1/echo?genres=POETRY&genres=1", want: &testpb.EchoRequest{Genres: []testpb.Genre{testpb.Genre_POETRY, testpb.Genre_NOVEL}}},
		{name: "64 bits", method: "GET", path: "/v1/echo?big=-9223372036854775808&huge=18446744073709551615",
			want: &testpb.EchoRequest{Big: -9223372036854775808, Huge: 18446744073709551615}},
		{name: "out of range", method: "GET", path: "/v1/echo?count=2147483648", status: 400, message: "count"},
		{name: "double", method: "GET", path: "/v1/echo?ratio=-1.5e3", want: &testpb.EchoRequest{Ratio: -1500}},
		{name: "bool", method: "GET", path: "/v1/echo?flag=true", want: &testpb.EchoRequest{Flag: true}},
		{name: "bool, something else", method: "GET", path: "/v1/echo?flag=yes", status: 400, message: "flag"},
		{name: "bytes", method: "GET", path: "/v1/echo?data=AP8%3D", want: &testpb.EchoRequest{Data: []byte{0, 255}}},
		{name: "timestamp", method: "GET", path: "/v1/echo?at=2020-01-02T03:04:05Z", want: &testpb.EchoRequest{At: &timestamppb.Timestamp{Seconds: 1577934245}}},
		{name: "duration", method: "GET", path: "/v1/echo?lag=1.5s", want: &testpb.EchoRequest{Lag: &durationpb.Duration{Seconds: 1, Nanos: 500000000}}},
		{name: "field mask", method: "GET", path: "/v1/echo?mask=a,bC.d", want: &testpb.EchoRequest{Mask: &fieldmaskpb.FieldMask{Paths: []string{"a", "b_c.d"}}}},
		{name: "wrapper", method: "GET", path: "/v1/echo?wrapped=w&wrapped_number=7", want: &testpb.EchoRequest{Wrapped: wrapperspb.String("w"), WrappedNumber: wrapperspb.Int64(7)}},
		{name: "a oneof", method: "GET", path: "/v1/echo?right=4", want: &testpb.EchoRequest{Choice: &testpb.EchoRequest_Right{Right: 4}}},
	})
}

func TestEmptyParameter(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "presence", method: "GET", path: "/v1/echo?maybe=", want: &testpb.EchoRequest{Maybe: proto.String("")}},
		{name: "presence, no equals sign", method: "GET", path: "/v1/echo?maybe", want: &testpb.EchoRequest{Maybe: proto.String("")}},
		{name: "no presence", method: "GET", path: "/v1/echo?text=", want: &testpb.EchoRequest{}},
		{name: "a number", method: "GET", path: "/v1/echo?count=", status: 400, message: "count"},
		{name: "a number with presence", method: "GET", path: "/v1/echo?maybe_number=", status: 400, message: "maybe_number"},
		{name: "nothing between separators", method: "GET", path: "/v1/echo?&text=a&&", want: &testpb.EchoRequest{Text: "a"}},
	})
}

func TestQueryDecoding(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "plus is a space", method: "GET", path: "/v1/echo?text=a+b%2Bc", want: &testpb.EchoRequest{Text: "a b+c"}},
		{name: "semicolon is literal", method: "GET", path: "/v1/echo?text=a;count=1", want: &testpb.EchoRequest{Text: "a;count=1"}},
		{name: "decoded once", method: "GET", path: "/v1/echo?text=%2541", want: &testpb.EchoRequest{Text: "%41"}},
		{name: "an equals sign in the value", method: "GET", path: "/v1/echo?text=a=b", want: &testpb.EchoRequest{Text: "a=b"}},
		{name: "an encoded name", method: "GET", path: "/v1/echo?%74ext=a", want: &testpb.EchoRequest{Text: "a"}},
		{name: "bad encoding in the value", method: "GET", path: "/v1/echo?text=%zz", status: 400, message: "bad percent-encoding in the value"},
		{name: "bad encoding in the name", method: "GET", path: "/v1/echo?te%xt=a", status: 400, message: "bad percent-encoding in the name"},
		{name: "not UTF-8", method: "GET", path: "/v1/echo?text=%ff", status: 400, message: "text"},
		{name: "a name that is not UTF-8", method: "GET", path: "/v1/echo?labels[%ff]=a", status: 400, message: "the name is not UTF-8"},
	})
}

func TestHttpBody(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	binary := string([]byte{0, 1, 2, 0xff, '\n'})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/upload/a.bin", binary, "Content-Type: image/png; x=1")
		if a.StatusCode != http.StatusOK || a.body != binary || a.Header.Get("Content-Type") != "image/png; x=1" || a.Header.Get("X-Filename") != "a.bin" {
			t.Errorf("unary: %d %q %v", a.StatusCode, a.body, a.Header)
		}
		if a := c.do("POST", "/v1/upload/a", nil); a.StatusCode != http.StatusOK || a.body != "" || a.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("nothing: %d %q %v", a.StatusCode, a.body, a.Header)
		}
		if a := c.do("POST", "/v1/upload/a", "x", "Accept: application/json"); a.StatusCode != http.StatusOK {
			t.Errorf("Accept does not matter: %d", a.StatusCode)
		}
		c.do("POST", "/v1/upload/a?content.data=eA", "x").wantError(t, 400, 3, "content.data")

		big := strings.Repeat("0123456789abcdef", 20<<10)
		resp := c.do("POST", "/v1/upload-stream", big, "Content-Type: text/csv").echo(t)
		if resp.GetText() != "text/csv" || resp.GetRequest().GetBig() != int64(len(big)) || string(resp.GetRequest().GetData()) != big {
			t.Errorf("streamed there: content type %q, %d bytes of %d", resp.GetText(), resp.GetRequest().GetBig(), len(big))
		}
		if n := resp.GetNumber(); n < int32(len(big)/rawChunk) {
			t.Errorf("streamed there in %d messages", n)
		}

		a = c.do("GET", "/v1/download/3", nil)
		if a.StatusCode != http.StatusOK || a.body != "chunk 1\nchunk 2\nchunk 3\n" || a.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("streamed back: %d %q %v", a.StatusCode, a.body, a.Header)
		}
		c.do("GET", "/v1/download/3?script.fail_code=5", nil).wantError(t, 404, 5, "")
		a = c.do("GET", "/v1/download/3?script.fail_code=5&script.fail_after=2", nil)
		if a.StatusCode != http.StatusOK || a.body != "chunk 1\nchunk 2\n" || a.err == nil {
			t.Errorf("failing in the middle: %d %q %v, want the connection aborted", a.StatusCode, a.body, a.err)
		}
	})
}

func TestPatchDerivesUpdateMask(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct {
			name, method, query, body string
			want                      *testpb.Book
		}{
			{"only what is present", "PATCH", "", `{"title":"T","pages":"7"}`, &testpb.Book{Title: "T", Pages: 7, Author: "A", Tags: []string{"x"}}},
			{"null clears", "PATCH", "", `{"author":null,"tags":["y","z"]}`, &testpb.Book{Title: "O", Pages: 1, Tags: []string{"y", "z"}}},
			{"a mask in the query stands", "PATCH", "?update_mask=title", `{"title":"T","pages":"7"}`, &testpb.Book{Title: "T", Pages: 1, Author: "A", Tags: []string{"x"}}},
			{"a mask in the query by its JSON name stands", "PATCH", "?updateMask=title", `{"title":"T","pages":"7"}`, &testpb.Book{Title: "T", Pages: 1, Author: "A", Tags: []string{"x"}}},
			{"an empty object has no mask", "PATCH", "", `{}`, &testpb.Book{}},
			{"PUT replaces", "PUT", "", `{"title":"T"}`, &testpb.Book{Title: "T"}},
		} {
			t.Run(tc.name, func(t *testing.T) {
				const name = "shelves/1/books/2"
				c.do("PUT", "/v1/"+name, `{"title":"O","author":"A","pages":1,"tags":["x"]}`)
				got := &testpb.Book{}
				c.do(tc.method, "/v1/"+name+tc.query, tc.body).decode(t, got)
				tc.want.Name = name
				if !proto.Equal(got, tc.want) {
					t.Errorf("got %v\nwant %v", got, tc.want)
				}
			})
		}
	})
}

func TestContentType(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, ok := range []string{"", "application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\"", "application/merge-patch+json", "text/json"} {
			headers := []string{"Content-Type: " + ok}
			if ok == "" {
				headers = nil
			}
			c.do("POST", "/v1/echo", `{"text":"x"}`, headers...).wantEcho(t, &testpb.EchoRequest{Text: "x"})
		}
		for _, bad := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=iso-8859-1",
			"application/grpc+json", "application/connect+json", "json", "application/x-ndjson"} {
			a := c.do("POST", "/v1/echo", `{"text":"x"}`, "Content-Type: "+bad)
			a.wantError(t, 415, 3, "is not supported")
			if a.Header.Get("Accept") != "application/json" {
				t.Errorf("%s: Accept %q", bad, a.Header.Get("Accept"))
			}
		}
		// Where no body is taken, its type does not matter.
		if a := c.do("GET", "/v1/echo/x", nil, "Content-Type: text/plain"); a.StatusCode != http.StatusOK {
			t.Errorf("GET: %d", a.StatusCode)
		}
	})
}

func TestAccept(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, ok := range []string{"application/json", "*/*", "application/*;q=0.1", "text/html, application/json;q=0.5", "text/html,application/xhtml+xml,*/*;q=0.8"} {
			if a := c.do("GET", "/v1/echo/x", nil, "Accept: "+ok); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d", ok, a.StatusCode)
			}
		}
		for _, bad := range []string{"text/html", "application/json;q=0", "application/json;q=0, */*", "text/event-stream"} {
			c.do("GET", "/v1/echo/x", nil, "Accept: "+bad).wantError(t, 406, 3, "application/json")
		}
		for accept, want := range map[string]string{
			"":                                    "application/x-ndjson",
			"*/*":                                 "application/x-ndjson",
			"application/x-ndjson":                "application/x-ndjson",
			"application/jsonl":                   "application/x-ndjson",
			"text/event-stream":                   "text/event-stream",
			"application/json":                    "application/json",
			"application/json, text/plain, */*":   "application/json",
			"application/json;q=0.5, text/*":      "text/event-stream",
			"application/*;q=0.5, text/plain":     "application/x-ndjson",
			"text/event-stream;q=0.1, */*;q=0.05": "text/event-stream",
		} {
			headers := []string{"Accept: " + accept}
			if accept == "" {
				headers = nil
			}
			if a := c.do("GET", "/v1/stream/1", nil, headers...); a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != want {
				t.Errorf("a stream for %q: %d %q, want %q", accept, a.StatusCode, a.Header.Get("Content-Type"), want)
			}
		}
		c.do("GET", "/v1/stream/1", nil, "Accept: text/html").wantError(t, 406, 3, "text/event-stream")
	})
}

func TestETagAndIfNoneMatch(t *testing.T) {
	w := newWorld(t, frontend.Options{ETag: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		first := c.do("GET", "/v1/shelves/1/books/1", nil)
		tag := first.Header.Get("ETag")
		if first.StatusCode != http.StatusOK || len(tag) < 10 || tag[0] != '"' {
			t.Fatalf("%d, ETag %q", first.StatusCode, tag)
		}
		for _, match := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
			a := c.do("GET", "/v1/shelves/1/books/1", nil, "If-None-Match: "+match)
			if a.StatusCode != http.StatusNotModified || a.body != "" || a.Header.Get("ETag") != tag {
				t.Errorf("If-None-Match %s: %d %q %v", match, a.StatusCode, a.body, a.Header)
			}
		}
		if a := c.do("HEAD", "/v1/shelves/1/books/1", nil, "If-None-Match: "+tag); a.StatusCode != http.StatusNotModified {
			t.Errorf("HEAD: %d", a.StatusCode)
		}
		if a := c.do("GET", "/v1/shelves/1/books/1", nil, `If-None-Match: "other", W/"`); a.StatusCode != http.StatusOK || a.body != first.body {
			t.Errorf("no match: %d", a.StatusCode)
		}
		if a := c.do("GET", "/v1/shelves/1/books/2", nil, "If-None-Match: "+tag); a.StatusCode != http.StatusOK || a.Header.Get("ETag") == tag {
			t.Errorf("another body: %d %v", a.StatusCode, a.Header)
		}
		if a := c.do("POST", "/v1/echo", `{"text":"x"}`, "If-None-Match: *"); a.StatusCode != http.StatusOK || a.Header.Get("ETag") != "" {
			t.Errorf("POST: %d %v", a.StatusCode, a.Header)
		}
		if a := c.do("GET", "/v1/shelves/9/books/9", nil, "If-None-Match: *"); a.StatusCode != http.StatusNotFound || a.Header.Get("ETag") != "" {
			t.Errorf("an error: %d %v", a.StatusCode, a.Header)
		}
	})
	plain := newWorld(t, frontend.Options{})
	if a := plain.client(t, "HTTP1").do("GET", "/v1/shelves/1/books/1", nil, "If-None-Match: *"); a.StatusCode != http.StatusOK || a.Header.Get("ETag") != "" {
		t.Errorf("it is opt-in: %d %v", a.StatusCode, a.Header)
	}
}

func TestForms(t *testing.T) {
	w := newWorld(t, frontend.Options{Forms: true})
	binary := string([]byte{0, 0xff, '\r', '\n'})
	build := func(parts ...func(*multipart.Writer)) (body, contentType string) {
		var buf bytes.Buffer
		mw := multipart.NewWriter(&buf)
		for _, p := range parts {
			p(mw)
		}
		mw.Close()
		return buf.String(), "Content-Type: " + mw.FormDataContentType()
	}
	text := func(name, value string) func(*multipart.Writer) {
		return func(mw *multipart.Writer) { _ = mw.WriteField(name, value) }
	}
	file := func(name, contentType, value string) func(*multipart.Writer) {
		return func(mw *multipart.Writer) {
			h := textproto.MIMEHeader{"Content-Disposition": {`form-data; name="` + name + `"; filename="f"`}, "Content-Type": {contentType}}
			p, _ := mw.CreatePart(h)
			_, _ = p.Write([]byte(value))
		}
	}
	w.eachVersion(t, func(t *testing.T, c *client) {
		body, ct := build(text("text", "hello"), text("list", "a"), text("list", "b"), text("nested.value", "n"), file("data", "application/x", binary), text("count", "3"))
		c.do("POST", "/v1/echo", body, ct).wantEcho(t, &testpb.EchoRequest{Text: "hello", List: []string{"a", "b"}, Nested: &testpb.Nested{Value: "n"}, Data: []byte(binary), Count: 3})

		body, ct = build(text("value", "n"), text("numbers", "4"))
		c.do("POST", "/v1/echo/x:shout", body, ct).wantEcho(t, &testpb.EchoRequest{Text: "x", Nested: &testpb.Nested{Value: "n", Numbers: []int32{4}}})

		body, ct = build(file("anything", "image/png", binary))
		if a := c.do("POST", "/v1/upload/f", body, ct); a.StatusCode != http.StatusOK || a.body != binary || a.Header.Get("Content-Type") != "image/png" {
			t.Errorf("into an HttpBody: %d %q %v", a.StatusCode, a.body, a.Header)
		}
		body, ct = build(file("filename", "text/plain", "name"), file("content", "image/png", binary))
		if a := c.do("POST", "/gateway.test.v1.Echo/Upload", body, ct); a.StatusCode != http.StatusOK || a.body != binary || a.Header.Get("X-Filename") != "name" {
			t.Errorf("into an HttpBody field: %d %q %v", a.StatusCode, a.body, a.Header)
		}

		c.do("POST", "/v1/echo", "text=a+b&count=2&data="+base64.StdEncoding.EncodeToString([]byte("x")), "Content-Type: application/x-www-form-urlencoded").
			wantEcho(t, &testpb.EchoRequest{Text: "a b", Count: 2, Data: []byte("x")})

		for name, parts := range map[string][]func(*multipart.Writer){
			"unknown field":        {text("nonsense", "1")},
			"given more than once": {text("count", "1"), text("count", "2")},
			"count":                {text("count", "x")},
			"it has no name":       {text("", "x")},
		} {
			body, ct := build(parts...)
			if a := c.do("POST", "/v1/echo", body, ct); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.body, "form: part") {
				t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
			}
		}
		body, ct = build(text("text", "hello"))
		c.do("POST", "/v1/echo", body[:len(body)-10], ct).wantError(t, 400, 3, "form: ")
	})
}

func TestRequestCompression(t *testing.T) {
	w := newWorld(t, frontend.Options{MaxRequestSize: 1 << 20})
	gz := func(s string) []byte {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		_, _ = zw.Write([]byte(s))
		zw.Close()
		return b.Bytes()
	}
	zs := func(s string) []byte {
		zw, _ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		defer zw.Close()
		return zw.EncodeAll([]byte(s), nil)
	}
	bomb := `{"text":"` + strings.Repeat("a", 2<<20) + `"}`
	w.eachVersion(t, func(t *testing.T, c *client) {
		for coding, compress := range map[string]func(string) []byte{"gzip": gz, "x-gzip": gz, "zstd": zs, "identity": func(s string) []byte { return []byte(s) }} {
			enc := "Content-Encoding: " + coding
			c.do("POST", "/v1/echo", compress(`{"text":"packed"}`), enc).wantEcho(t, &testpb.EchoRequest{Text: "packed"})
			c.do("POST", "/v1/echo", compress(bomb), enc).wantError(t, 413, 8, "larger than 1048576 bytes")
			if coding != "identity" {
				c.do("POST", "/v1/echo", "not packed at all", enc).wantError(t, 400, 3, "not valid")
				c.do("POST", "/v1/echo", compress(`{"text":"packed"}`)[:15], enc).wantError(t, 400, 3, "not valid")
			}
			a := c.do("POST", "/v1/collect", compress(`{"text":"a"}`+"\n"+`{"text":"b"}`), enc)
			if got := a.echo(t).GetText(); got != "a,b" {
				t.Errorf("%s, streamed: %q", coding, got)
			}
		}
		a := c.do("POST", "/v1/echo", "x", "Content-Encoding: br")
		a.wantError(t, 415, 3, "br")
		if got := a.Header.Get("Accept-Encoding"); got != "gzip, zstd" {
			t.Errorf("Accept-Encoding: %q", got)
		}
	})
}

func TestBodyTooLarge(t *testing.T) {
	w := newWorld(t, frontend.Options{MaxRequestSize: 1000})
	fits := `{"text":"` + strings.Repeat("a", 989) + `"}`
	w.eachVersion(t, func(t *testing.T, c *client) {
		if a := c.do("POST", "/v1/echo", fits); a.StatusCode != http.StatusOK {
			t.Errorf("%d bytes: %d %s", len(fits), a.StatusCode, a.body)
		}
		c.do("POST", "/v1/echo", fits+" ").wantError(t, 413, 8, "larger than 1000 bytes")
		// Without a Content-Length.
		if a := c.do("POST", "/v1/echo", struct{ *strings.Reader }{strings.NewReader(fits)}); a.StatusCode != http.StatusOK {
			t.Errorf("%d bytes, chunked: %d %s", len(fits), a.StatusCode, a.body)
		}
		c.do("POST", "/v1/echo", struct{ *strings.Reader }{strings.NewReader(fits + " ")}).wantError(t, 413, 8, "larger than 1000 bytes")
		c.do("POST", "/v1/collect", fits+fits+fits+" ").wantStatus(t, 200)
		c.do("POST", "/v1/collect", fits+`{"text":"`+strings.Repeat("a", 990)+`"}`).wantError(t, 413, 8, "larger than 1000 bytes")
	})
}

func (a answer) wantStatus(t testing.TB, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
}
