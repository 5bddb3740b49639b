package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// TestQueryTakesWhatABodyTakes has the forms that other frameworks and gateways write.
func TestQueryTakesWhatABodyTakes(t *testing.T) {
	object, err := structpb.NewStruct(map[string]any{"a": 1})
	if err != nil {
		t.Fatal(err)
	}
	child := &testpb.Nested{Child: &testpb.Nested{Value: "x"}}
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "a list with brackets", method: "GET", path: "/v1/echo?list[]=a&list%5B%5D=b&list=c", want: &testpb.EchoRequest{List: []string{"a", "b", "c"}}},
		{name: "a list with an index", method: "GET", path: "/v1/echo?list[0]=a", status: 400, message: "written as list or list[]"},
		{name: "nested by brackets", method: "GET", path: "/v1/echo?nested[child][value]=x", want: &testpb.EchoRequest{Nested: child}},
		{name: "nested by both", method: "GET", path: "/v1/echo?nested.child[value]=x", want: &testpb.EchoRequest{Nested: child}},
		{name: "two keys of a map", method: "GET", path: "/v1/echo?labels[a][b]=x", status: 400, message: "one key in brackets"},
		{name: "a key with brackets", method: "GET", path: "/v1/echo?labels[a[0]]=x", want: &testpb.EchoRequest{Labels: map[string]string{"a[0]": "x"}}},
		{name: "a struct", method: "GET", path: "/v1/echo?object=%7B%22a%22:1%7D", want: &testpb.EchoRequest{Object: object}},
		{name: "a value", method: "GET", path: "/v1/echo?value=5", want: &testpb.EchoRequest{Value: structpb.NewNumberValue(5)}},
		{name: "a value that is a string", method: "GET", path: "/v1/echo?value=%22x%22", want: &testpb.EchoRequest{Value: structpb.NewStringValue("x")}},
		{name: "a value that is not JSON", method: "GET", path: "/v1/echo?value=x", status: 400, message: `query parameter \"value\"`},
		{name: "a message", method: "GET", path: "/v1/echo?nested={%22child%22:{%22value%22:%22x%22}}", want: &testpb.EchoRequest{Nested: child}},
		{name: "a list of messages", method: "GET", path: "/v1/echo?many={}&many[]={%22value%22:%22x%22}", want: &testpb.EchoRequest{Many: []*testpb.Nested{{}, {Value: "x"}}}},
		{name: "a map", method: "GET", path: "/v1/echo?labels={%22a%22:%22b%22}", want: &testpb.EchoRequest{Labels: map[string]string{"a": "b"}}},
	})
}

// TestMasksWithoutJSONForm takes and writes masks for which ProtoJSON has no form.
func TestMasksWithoutJSONForm(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, mask := range []string{"*", "isbn_10,aB", "books.*.title"} {
			inQuery := c.do("GET", "/v1/echo?mask="+mask, nil)
			inBody := c.do("POST", "/v1/echo", `{"mask":"`+mask+`"}`)
			for _, a := range []answer{inQuery, inBody} {
				if want := `"request":{"mask":"` + mask + `"}`; a.StatusCode != http.StatusOK || !strings.Contains(a.body, want) {
					t.Errorf("%d %s, want %s", a.StatusCode, a.body, want)
				}
			}
		}
	})
}

// TestWholeAndParts refuses a message that is given as a whole and in parts, since one of them
// would be lost or merged by chance.
func TestWholeAndParts(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "whole, then a part", method: "GET", path: "/v1/echo?nested={}&nested.value=x", status: 400, message: "given as a whole"},
		{name: "a part, then the whole", method: "GET", path: "/v1/echo?nested.value=x&nested={}", status: 400, message: "given as a whole, and in parts before"},
		{name: "a map, then an entry", method: "GET", path: "/v1/echo?labels={}&labels[a]=b", status: 400, message: "given more than once"},
		{name: "an entry, then the map", method: "GET", path: "/v1/echo?labels[a]=b&labels={}", status: 400, message: "given as a whole, and in parts before"},
		{name: "one key written in two ways", method: "GET", path: "/v1/echo?by_number[1]={}&by_number[01]={}", status: 400, message: "given more than once"},
	})
}

// TestDepthOfParameters holds a name of many dots to the limit that bodies have.
func TestDepthOfParameters(t *testing.T) {
	runBinding(t, newWorld(t, frontend.Options{}), []bindingCase{
		{name: "too deep", method: "GET", path: "/v1/echo?nested" + strings.Repeat(".child", 100) + ".value=x", status: 400, message: "limit of 100"},
		{name: "far too deep", method: "GET", path: "/v1/echo?nested" + strings.Repeat(".child", 10_000) + ".value=x", status: 400, message: "limit of 100"},
	})
}

// TestMemoryOfParameters bounds what is noted about parameters by the names in their paths.
func TestMemoryOfParameters(t *testing.T) {
	table := newTable(t, nil)
	request := table.Methods["/gateway.test.v1.Echo/Unary"].Request
	var bound boundFields
	names := 0
	for depth := range 90 {
		path := "middle" + strings.Repeat(".child", depth)
		for _, leaf := range []string{".value", ".numbers"} {
			f, err := request.Field(path + leaf)
			if err != nil {
				t.Fatal(err)
			}
			if problem := bound.claim(f); problem != "" {
				t.Fatal(problem)
			}
		}
		names += 2
	}
	if got, limit := len(bound.nodes)+len(bound.oneofs)+len(bound.entries), 2*names; got > limit {
		t.Errorf("%d notes about %d names", got, names)
	}
}

// TestSystemParameters obeys what Google's REST clients send with each request, and nothing else
// that no field is named like.
func TestSystemParameters(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, tc := range []struct{ method, path, body, want string }{
			{"GET", "/v1/echo?$alt=json;enum-encoding=int&genre=POETRY", "", `"genre":2`},
			{"GET", "/v1/echo?genre=POETRY&%24alt=json%3Benum-encoding%3Dint", "", `"genre":2`},
			{"GET", "/v1/echo?genre=POETRY&$alt=json", "", `"genre":"POETRY"`},
			{"GET", "/v1/echo?genre=POETRY&$prettyPrint=false", "", `"genre":"POETRY"`},
			{"POST", "/v1/echo?$alt=json;enum-encoding=int", `{"genre":"POETRY"}`, `"genre":2`},
			{"GET", "/v1/stream/1?$alt=json;enum-encoding=int&genre=POETRY", "", `"genre":2`},
		} {
			if a := c.do(tc.method, tc.path, tc.body); a.StatusCode != http.StatusOK || !strings.Contains(a.body, tc.want) {
				t.Errorf("%s: %d %s", tc.path, a.StatusCode, a.body)
			}
		}
		for _, query := range []string{"$alt=media", "$alt=json;enum-encoding=name", "$alt=", "alt=json", "$fields=text", "$httpMethod=DELETE", "key=x"} {
			name, _, _ := strings.Cut(query, "=")
			c.do("GET", "/v1/echo?"+query, nil).wantError(t, 400, 3, fmt.Sprintf(`query parameter \"%s\"`, name))
		}
	})
}

// TestRawBodyWithQuery has a webhook, whose caller chooses the query. Fields other than the
// body are still checked.
func TestRawBodyWithQuery(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		got := c.do("POST", "/v1/upload-stream?signature=abc&data=hello", "body", "Content-Type: text/csv").echo(t)
		if string(got.GetRequest().GetData()) != "body" {
			t.Errorf("got %v", got)
		}
		c.do("POST", "/v1/upload/a?signature=abc", "body").wantError(t, 400, 3, "signature")
	})
}

// TestFormsTakeWhatQueriesTake binds the parts of a form by the same rules.
func TestFormsTakeWhatQueriesTake(t *testing.T) {
	w := newWorld(t, frontend.Options{Forms: true})
	const urlencoded = "Content-Type: application/x-www-form-urlencoded"
	w.eachVersion(t, func(t *testing.T, c *client) {
		c.do("POST", "/v1/echo", "list[]=a&nested[value]=b&value=5", urlencoded).wantEcho(t, &testpb.EchoRequest{
			List: []string{"a"}, Nested: &testpb.Nested{Value: "b"}, Value: structpb.NewNumberValue(5),
		})
		c.do("POST", "/v1/echo/x:shout", "child[value]=b", urlencoded).wantEcho(t, &testpb.EchoRequest{
			Text: "x", Nested: &testpb.Nested{Child: &testpb.Nested{Value: "b"}},
		})
		c.do("POST", "/v1/echo", "nested"+strings.Repeat(".child", 10_000)+"=x", urlencoded).wantError(t, 400, 3, "limit of 100")
	})
}
