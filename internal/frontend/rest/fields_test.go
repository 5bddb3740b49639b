package rest

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
)

func withFields() frontend.Options {
	return frontend.Options{Fields: &frontend.Fields{Parameter: "fields", Header: true}, ETag: true}
}

const fieldsHeader = "X-Goog-FieldMask: "

// TestFields asks for parts of answers.
func TestFields(t *testing.T) {
	w := newWorld(t, withFields())
	const whole = `"backend":`
	for _, tc := range []struct {
		name, method, path, body, header string
		status                           int
		want                             string // the body, or a part of it that begins with …
	}{
		{name: "parameter", method: "GET", path: "/v1/echo/abc?fields=text", want: `{"text":"abc"}`},
		{name: "header", method: "GET", path: "/v1/echo/abc", header: "text", want: `{"text":"abc"}`},
		{name: "both", method: "GET", path: "/v1/echo/abc?fields=text", header: "request.text", want: `{"text":"abc","request":{"text":"abc"}}`},
		{name: "parameter twice", method: "GET", path: "/v1/echo/abc?fields=text&fields=request.text", want: `{"text":"abc","request":{"text":"abc"}}`},
		{name: "paths", method: "GET", path: "/v1/echo/abc?flag=true&fields=text,request.text", want: `{"text":"abc","request":{"text":"abc"}}`},
		{name: "percent-encoded", method: "GET", path: "/v1/echo/abc?fields=request%2Etext%2Ctext", want: `{"text":"abc","request":{"text":"abc"}}`},
		{name: "empty parameter", method: "GET", path: "/v1/echo/abc?fields=", want: "…" + whole},
		{name: "empty header", method: "GET", path: "/v1/echo/abc", header: " ", want: "…" + whole},
		{name: "empty parameter and header", method: "GET", path: "/v1/echo/abc?fields=", header: "text", want: `{"text":"abc"}`},
		{name: "star", method: "GET", path: "/v1/echo/abc?fields=*", want: "…" + whole},
		{name: "a list", method: "GET", path: "/v1/echo?many[]={}&many[]={%22value%22:%22x%22,%22numbers%22:[1]}&fields=request.many.value", want: `{"request":{"many":[{},{"value":"x"}]}}`},
		{name: "a key", method: "GET", path: "/v1/echo?labels[a]=1&labels[b.c]=2&labels[d]=3&fields=request.labels.a,request.labels.%60b.c%60", want: `{"request":{"labels":{"a":"1","b.c":"2"}}}`},
		{name: "with numbers as enums", method: "GET", path: "/v1/echo?genre=NOVEL&fields=request.genre&$alt=json;enum-encoding=int", want: `{"request":{"genre":1}}`},
		{name: "the whole request is the body", method: "POST", path: "/v1/echo?fields=text", body: `{"text":"abc"}`, want: `{"text":"abc"}`},
		{name: "a part of the request is the body", method: "POST", path: "/v1/echo/abc:shout?fields=request.nested.value", body: `{"value":"x","numbers":[1]}`, want: `{"request":{"nested":{"value":"x"}}}`},
		{name: "by the method's name", method: "POST", path: "/gateway.test.v1.Echo/Unary?fields=text", body: `{"text":"abc"}`, want: `{"text":"abc"}`},
		{name: "within the response_body", method: "GET", path: "/v1/shelves:titles?parent=shelves/a&fields=title", want: "[]"},
		{name: "a stream", method: "GET", path: "/v1/stream/2?fields=number", want: "{\"number\":1}\n{\"number\":2}\n"},
		{name: "a stream of requests", method: "POST", path: "/v1/collect?fields=number", body: "{}\n{}\n", want: `{"number":2}`},
		{name: "unknown path", method: "GET", path: "/v1/echo/abc?fields=text,request.nope", status: 400, want: `fields: path \"request.nope\": expected a field of gateway.test.v1.EchoRequest, found \"nope\"`},
		{name: "unknown path in the header", method: "GET", path: "/v1/echo/abc", header: "nope", status: 400, want: `fields: path \"nope\": expected a field of gateway.test.v1.EchoResponse`},
		{name: "unknown path of the response_body", method: "GET", path: "/v1/shelves:titles?parent=shelves/a&fields=books.title", status: 400, want: `expected a field of gateway.test.v1.Book, found \"books\"`},
		{name: "response_body without fields", method: "POST", path: "/v1/echo:text?fields=text", body: `"x"`, status: 400, want: `the value has no fields`},
		{name: "unknown path of a stream", method: "GET", path: "/v1/stream/2?fields=nope", status: 400, want: `expected a field of gateway.test.v1.EchoResponse`},
		{name: "raw content", method: "GET", path: "/v1/download/2?fields=data", status: 400, want: `fields: the answer is raw content, which has no fields`},
		{name: "too long", method: "GET", path: "/v1/echo/abc?fields=" + strings.Repeat("x", 5000), status: 400, want: `fields: expected at most 4096 bytes, found 5000`},
		{name: "another unknown parameter", method: "GET", path: "/v1/echo/abc?fields=text&Fields=text", status: 400, want: `query parameter \"Fields\"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				var headers []string
				if tc.header != "" {
					headers = append(headers, fieldsHeader+tc.header)
				}
				var body any
				if tc.body != "" {
					body = tc.body
				}
				a := c.do(tc.method, tc.path, body, headers...)
				if tc.status != 0 {
					a.wantError(t, tc.status, 3, tc.want)
					return
				}
				part, isPart := strings.CutPrefix(tc.want, "…")
				if a.StatusCode != http.StatusOK || a.body != tc.want && (!isPart || !strings.Contains(a.body, part)) {
					t.Errorf("got %d %s\nwant %s", a.StatusCode, a.body, tc.want)
				}
				if vary := strings.Join(a.Header["Vary"], ","); !strings.Contains(vary, "X-Goog-Fieldmask") {
					t.Errorf("Vary is %q", vary)
				}
			})
		})
	}
}

// TestFieldsCallNothing makes sure that a mask is refused before the call is made.
func TestFieldsCallNothing(t *testing.T) {
	w := newWorld(t, withFields())
	c := w.client(t, "HTTP1")
	for _, path := range []string{"/v1/echo/abc?fields=nope", "/v1/stream/1?fields=nope"} {
		c.do("GET", path, nil)
	}
	c.do("POST", "/v1/collect?fields=nope", "{}")
	if n := w.backend.Calls(); n != 0 {
		t.Errorf("%d calls were made", n)
	}
}

// TestFieldsAndETags makes sure that a cached part is not taken for the whole.
func TestFieldsAndETags(t *testing.T) {
	w := newWorld(t, withFields())
	c := w.client(t, "HTTP1")
	const path = "/v1/echo/abc?fields="
	part, whole := c.do("GET", path+"text", nil), c.do("GET", path, nil)
	if tag := part.Header.Get("ETag"); tag == "" || tag == whole.Header.Get("ETag") {
		t.Errorf("the tags are %q and %q", tag, whole.Header.Get("ETag"))
	}
	again := c.do("GET", "/v1/echo/abc", nil, fieldsHeader+"text", "If-None-Match: "+part.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || again.Header.Get("Vary") == "" {
		t.Errorf("the same part is %d, Vary %q", again.StatusCode, again.Header.Get("Vary"))
	}
}

// TestFieldsParameter has other settings.
func TestFieldsParameter(t *testing.T) {
	conn := dial(t, newWorld(t, frontend.Options{}).backend.Addr())
	for _, tc := range []struct {
		name   string
		fields *frontend.Fields
		path   string
		header string
		status int
		want   string
		vary   bool
	}{
		{"off", nil, "/v1/echo/abc?fields=text", "", 400, `query parameter \"fields\"`, false},
		{"off, header", nil, "/v1/echo/abc", "nope", 200, `"backend":`, false},
		{"another name", &frontend.Fields{Parameter: "$fields", Header: true}, "/v1/echo/abc?$fields=text", "", 200, `{"text":"abc"}`, true},
		{"not that name", &frontend.Fields{Parameter: "$fields", Header: true}, "/v1/echo/abc?fields=text", "", 400, `query parameter \"fields\"`, false},
		{"no header", &frontend.Fields{Parameter: "fields"}, "/v1/echo/abc", "nope", 200, `"backend":`, false},
		{"a field of that name", &frontend.Fields{Parameter: "text", Header: true}, "/v1/echo?text=number", "", 200, `"text":"number"`, true},
		{"a field of that name, header", &frontend.Fields{Parameter: "text", Header: true}, "/v1/echo?text=number", "text", 200, `{"text":"number"}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{t: t, table: newTable(t, conn, routes.Route{Method: "GET", Template: "/unused", RPC: "gateway.test.v1.Echo/Unary"})}
			w.serve(frontend.Options{Fields: tc.fields})
			var headers []string
			if tc.header != "" {
				headers = append(headers, fieldsHeader+tc.header)
			}
			a := w.client(t, "HTTP1").do("GET", tc.path, nil, headers...)
			if a.StatusCode != tc.status || !strings.Contains(a.body, tc.want) || slices.Contains(a.Header.Values("Vary"), frontend.FieldsHeader) != tc.vary {
				t.Errorf("got %d %s, Vary %q\nwant %d %s", a.StatusCode, a.body, a.Header.Values("Vary"), tc.status, tc.want)
			}
		})
	}
}

// TestPartsAreNotEmpty asks for a part that has nothing. The answer says something all the same, so
// it has a body.
func TestPartsAreNotEmpty(t *testing.T) {
	opts := withFields()
	opts.Answers = &frontend.Answers{EmptyStatus: http.StatusNoContent}
	w := newWorld(t, opts)
	w.eachVersion(t, func(t *testing.T, c *client) {
		if a := c.do("GET", "/v1/echo/abc?fields=request.nested", ""); a.StatusCode != http.StatusOK {
			t.Errorf("a part: %d %q, want 200 and a body", a.StatusCode, a.body)
		}
		if a := c.do("GET", "/v1/shelves/99/books", ""); a.StatusCode != http.StatusNoContent {
			t.Errorf("a whole answer that is empty: %d", a.StatusCode)
		}
	})
}
