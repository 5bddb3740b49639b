package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

const (
	echoUnary  = "gateway.test.v1.Echo/Unary"
	echoStream = "gateway.test.v1.Echo/ServerStream"
)

// newShapedWorld is a world whose answers have a shape, with further routes.
func newShapedWorld(t *testing.T, opts frontend.Options) *world {
	t.Helper()
	b := testkit.StartBackend(t)
	w := &world{t: t, backend: b}
	w.table = newTable(t, dial(t, b.Addr()),
		routes.Route{Method: "POST", Template: "/t/created", RPC: echoUnary, Body: "*", Status: http.StatusCreated},
		routes.Route{Method: "POST", Template: "/t/gone", RPC: echoUnary, Body: "*", Status: http.StatusNoContent},
		routes.Route{Method: "GET", Template: "/t/other/{text}", RPC: echoUnary, Status: http.StatusNonAuthoritativeInfo},
		routes.Route{Method: "POST", Template: "/t/text", RPC: echoUnary, Body: "*", ResponseBody: "text"},
		routes.Route{Method: "POST", Template: "/t/nested", RPC: echoUnary, Body: "*", ResponseBody: "request.nested"},
		routes.Route{Method: "POST", Template: "/t/labels", RPC: echoUnary, Body: "*", ResponseBody: "request.labels"},
		routes.Route{Method: "POST", Template: "/t/object", RPC: echoUnary, Body: "*", ResponseBody: "request.object"},
		routes.Route{Method: "POST", Template: "/t/wrapped", RPC: echoUnary, Body: "*", ResponseBody: "request.wrapped"},
		routes.Route{Method: "DELETE", Template: "/t/{name=shelves/*/books/*}", RPC: "gateway.test.v1.Library/DeleteBook", Status: http.StatusOK},
		routes.Route{Method: "POST", Template: "/t/stream", RPC: echoStream, Body: "*", Status: http.StatusAccepted},
		routes.Route{Method: "POST", Template: "/t/collect", RPC: "gateway.test.v1.Echo/ClientStream", Body: "*", Status: http.StatusCreated},
	)
	w.serve(opts)
	return w
}

// script is a request that makes the backend set header and trailer metadata.
func script(headers, trailers string) string {
	return fmt.Sprintf(`{"text":"hi","script":{"headers":{%s},"trailers":{%s}}}`, headers, trailers)
}

// complaints collects what services are blamed for.
type complaints struct {
	mu  sync.Mutex
	all []string
}

func (c *complaints) add(m *frontend.Method, problem error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, m.Name+": "+problem.Error())
}

func (c *complaints) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := strings.Join(c.all, "\n")
	c.all = nil
	return all
}

func TestStatusOfASuccess(t *testing.T) {
	for _, version := range []string{"HTTP1", "HTTP2"} {
		t.Run(version, func(t *testing.T) {
			var blamed complaints
			w := newShapedWorld(t, frontend.Options{ETag: true, Answers: &frontend.Answers{
				EmptyStatus: http.StatusNoContent, StatusFrom: "x-http-code", Complained: blamed.add,
			}})
			testStatus(t, w.client(t, version), &blamed)
		})
	}
}

func testStatus(t *testing.T, c *client, blamed *complaints) {
	t.Helper()
	const bookless = "/v1/shelves/99/books" // Its list of books is empty.
	for _, tt := range []struct {
		name         string
		method, path string
		body         string
		headers      []string
		status       int
		wantBody     string // A part of it. "": there is none.
		want         http.Header
		complaint    string
	}{
		{name: "no option applies", method: "POST", path: "/v1/echo", body: `{"text":"hi"}`, status: 200, wantBody: `"text":"hi"`},
		{name: "of a route", method: "POST", path: "/t/created", body: `{"text":"hi"}`, status: 201, wantBody: `"text":"hi"`},
		{name: "of a route, without a body", method: "POST", path: "/t/gone", body: script(`"x-one":"1"`, `"x-two":"2"`), headers: []string{"Te: trailers"},
			status: 204, want: http.Header{"X-One": {"1"}, "Content-Type": nil, "Content-Length": nil}},
		{name: "of a client stream", method: "POST", path: "/t/collect", body: `{"text":"a"}{"text":"b"}`, status: 201, wantBody: `"text":"a,b"`},
		{name: "of a stream", method: "POST", path: "/t/stream", body: `{"count":2}`, status: 202, wantBody: `"number":2`},
		{name: "of a route of a stream that fails", method: "POST", path: "/t/stream", body: `{"script":{"failCode":5}}`, status: 404, wantBody: `"code":5`},
		{name: "of a route of a call that fails", method: "POST", path: "/t/created", body: `{"script":{"failCode":5}}`, status: 404, wantBody: `"code":5`},

		{name: "an Empty", method: "DELETE", path: "/v1/shelves/1/books/1", status: 204, want: http.Header{"Content-Type": nil, "Content-Length": nil}},
		{name: "an Empty by name", method: "POST", path: "/gateway.test.v1.Library/DeleteBook", body: `{"name":"shelves/1/books/2"}`, status: 204},
		{name: "an Empty whose route has a status", method: "DELETE", path: "/t/shelves/2/books/3", status: 200, wantBody: `{}`},
		{name: "a message without a field", method: "GET", path: bookless, status: 204, want: http.Header{"Etag": nil}},
		{name: "HEAD of such a message", method: "HEAD", path: bookless, status: 204},
		{name: "a field that is not set", method: "POST", path: "/t/nested", body: `{}`, status: 204},
		{name: "a field that is an empty message", method: "POST", path: "/t/nested", body: `{"nested":{}}`, status: 204},
		{name: "a field that is not empty", method: "POST", path: "/t/nested", body: `{"nested":{"value":"v"}}`, status: 200, wantBody: `{"value":"v"}`},
		{name: "an empty text", method: "POST", path: "/t/text", body: `{}`, status: 200, wantBody: `""`},
		{name: "an empty map", method: "POST", path: "/t/labels", body: `{}`, status: 200, wantBody: `{}`},
		{name: "an empty Struct", method: "POST", path: "/t/object", body: `{"object":{}}`, status: 200, wantBody: `{}`},
		{name: "a wrapper that is not set", method: "POST", path: "/t/wrapped", body: `{}`, status: 200, wantBody: `null`},
		{name: "raw content that looks empty", method: "POST", path: "/v1/upload/f", body: `{}`, status: 200, wantBody: `{}`},

		{name: "of the service", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"202"`, ``), status: 202, wantBody: `"text":"hi"`},
		{name: "of the service, over that of the route", method: "POST", path: "/t/created", body: script(`"x-http-code":"200"`, ``), status: 200, wantBody: `"text":"hi"`},
		{name: "of the service, without a body", method: "POST", path: "/t/created", body: script(`"x-http-code":"204","x-one":"1"`, ``),
			status: 204, want: http.Header{"X-One": {"1"}, "Content-Type": nil}},
		{name: "reset content", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"205"`, ``), status: 205, want: http.Header{"Content-Type": nil}},
		{name: "not modified", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"304","etag":"\"v7\""`, ``),
			status: 304, want: http.Header{"Etag": {`"v7"`}, "Content-Type": nil}},
		{name: "a redirect", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"303","location":"/elsewhere"`, ``),
			status: 303, wantBody: `"text":"hi"`, want: http.Header{"Location": {"/elsewhere"}}},
		{name: "a part", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"206","content-range":"bytes 0-1/9"`, ``),
			status: 206, wantBody: `"text":"hi"`, want: http.Header{"Content-Range": {"bytes 0-1/9"}}},
		{name: "a redirect to nowhere", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"302"`, ``),
			status: 200, wantBody: `"text":"hi"`, complaint: echoUnary + `: metadata x-http-code: "302": expected the metadata location, too`},
		{name: "a part of nothing", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"206"`, ``),
			status: 200, wantBody: `"text":"hi"`, complaint: `"206": expected the metadata content-range, too`},
		{name: "an error's status", method: "POST", path: "/t/created", body: script(`"x-http-code":"404"`, ``),
			status: 201, wantBody: `"text":"hi"`, complaint: `"404": expected a status from 200 to 399`},
		{name: "an interim status", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"103"`, ``),
			status: 200, wantBody: `"text":"hi"`, complaint: `"103": expected a status from 200 to 399`},
		{name: "a number with a sign", method: "POST", path: "/v1/echo", body: script(`"x-http-code":"+201"`, ``), status: 200, wantBody: `"text":"hi"`, complaint: `"+201"`},
		{name: "an empty value", method: "POST", path: "/v1/echo", body: script(`"x-http-code":""`, ``), status: 200, wantBody: `"text":"hi"`, complaint: `""`},
		{name: "in a trailer", method: "POST", path: "/v1/echo", body: script(``, `"x-http-code":"202"`), headers: []string{"Te: trailers"}, status: 200, wantBody: `"text":"hi"`},
		{name: "of the service, for a stream", method: "POST", path: "/v1/stream", body: `{"count":1,` + script(`"x-http-code":"202"`, ``)[len(`{"text":"hi",`):],
			status: 200, wantBody: `"number":1`},
		{name: "of the service, with an error", method: "POST", path: "/v1/echo", body: `{"script":{"headers":{"x-http-code":"202"},"failCode":5}}`, status: 404, wantBody: `"code":5`},

		{name: "a condition on another status", method: "GET", path: "/t/other/x", headers: []string{"If-None-Match: *"}, status: 203, wantBody: `"text":"x"`, want: http.Header{"Etag": nil}},
		{name: "a condition on 200", method: "GET", path: "/v1/echo/x", headers: []string{"If-None-Match: *"}, status: 304},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &client{c.world, t, c.http}
			a := c.do(tt.method, tt.path, tt.body, tt.headers...)
			if a.StatusCode != tt.status || (a.body == "") != (tt.wantBody == "") || !strings.Contains(a.body, tt.wantBody) || a.err != nil {
				t.Errorf("got %d %q, %v\nwant %d %q", a.StatusCode, a.body, a.err, tt.status, tt.wantBody)
			}
			for key, want := range tt.want {
				if got := a.Header[key]; !slices.Equal(got, want) {
					t.Errorf("header %s: got %q, want %q", key, got, want)
				}
			}
			if a.Header["X-Http-Code"] != nil || a.Trailer["X-Http-Code"] != nil {
				t.Errorf("the client sees the key: header %v, trailer %v", a.Header, a.Trailer)
			}
			if got := blamed.take(); (got == "") != (tt.complaint == "") || !strings.Contains(got, tt.complaint) {
				t.Errorf("complaint %q, want %q", got, tt.complaint)
			}
		})
	}
}

// TestLastStatusCounts is for a service that sets the key several times, as an interceptor and then
// the method may.
func TestLastStatusCounts(t *testing.T) {
	x := &exchange{opts: &frontend.Options{Answers: &frontend.Answers{StatusFrom: "x-http-code"}}, method: &frontend.Method{}}
	for want, values := range map[int][]string{201: {"500", "201"}, 202: {"201", "202"}, 200: {"201", "500"}} {
		if got := x.statusOf(metadata.MD{"x-http-code": values}, http.Header{}, 200); got != want {
			t.Errorf("%q: got %d, want %d", values, got, want)
		}
	}
}

// TestStatusFromWithMetadataRules shows that a rule does not hide the status from the gateway, that
// no rule shows it to clients, and that a rule which drops `location` makes redirects impossible.
func TestStatusFromWithMetadataRules(t *testing.T) {
	var blamed complaints
	w := newShapedWorld(t, frontend.Options{
		ResponseMetadata: rules(t, frontend.CompileResponseRules, "x-one", "x-http-code x-shown"),
		Answers:          &frontend.Answers{StatusFrom: "x-http-code", Complained: blamed.add},
	})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/echo", script(`"x-http-code":"201","x-one":"1"`, ``))
		if a.StatusCode != http.StatusCreated || a.Header.Get("X-One") != "1" || a.Header["X-Shown"] != nil || a.Header["X-Http-Code"] != nil {
			t.Errorf("got %d %v", a.StatusCode, a.Header)
		}
		a = c.do("POST", "/v1/echo", script(`"x-http-code":"302","location":"/x"`, ``))
		if got := blamed.take(); a.StatusCode != http.StatusOK || a.Header["Location"] != nil || !strings.Contains(got, "location") {
			t.Errorf("got %d %v, complaint %q", a.StatusCode, a.Header, got)
		}
	})
}

func TestEnvelope(t *testing.T) {
	shape := frontend.Answers{EmptyStatus: http.StatusNoContent, Envelope: &frontend.Envelope{
		Prefix: []byte(`{"code":0,"message":"ok","data":`), Suffix: []byte(`}`), Code: "code", Message: "message", Data: "data",
	}}
	streams := shape
	streams.EmptyStatus = 0
	streams.Envelope = &frontend.Envelope{Prefix: shape.Envelope.Prefix, Suffix: shape.Envelope.Suffix, Streams: true}
	const book = `{"name":"shelves/1/books/2","title":"Middlemarch","author":"George Eliot","genre":"NOVEL","pages":"880"}`
	for name, tt := range map[string]struct {
		method, path, body, accept string
		status                     int
		want                       string
		wantStreams                string // "": want.
		part                       bool   // want is only the beginning.
	}{
		"a message":            {method: "GET", path: "/v1/shelves/1/books/2", status: 200, want: `{"code":0,"message":"ok","data":` + book + `}`},
		"by name":              {method: "POST", path: "/gateway.test.v1.Library/GetBook", body: `{"name":"shelves/1/books/2"}`, status: 200, want: `{"code":0,"message":"ok","data":` + book + `}`},
		"a field":              {method: "POST", path: "/t/text", body: `{"text":"x"}`, status: 200, want: `{"code":0,"message":"ok","data":"x"}`},
		"a field not set":      {method: "POST", path: "/t/wrapped", body: `{}`, status: 200, want: `{"code":0,"message":"ok","data":null}`},
		"another status":       {method: "POST", path: "/t/created", body: `{"text":"x"}`, status: 201, want: `{"code":0,"message":"ok","data":{"text":"x"`, part: true},
		"a client stream":      {method: "POST", path: "/t/collect", body: `{"text":"x"}`, status: 201, want: `{"code":0,"message":"ok","data":{"text":"x"`, part: true},
		"no body":              {method: "POST", path: "/t/gone", body: `{}`, status: 204},
		"raw content":          {method: "POST", path: "/v1/upload/f", body: `{"a":1}`, status: 200, want: `{"a":1}`},
		"a stream of raw data": {method: "GET", path: "/v1/download/2?text=x", status: 200, want: `xx`},
		"lines": {method: "GET", path: "/v1/stream/1?text=x", accept: typeNDJSON, status: 200, part: true,
			want: `{"text":"x",`, wantStreams: `{"code":0,"message":"ok","data":{"text":"x",`},
		"events": {method: "GET", path: "/v1/stream/1?text=x", accept: typeSSE, status: 200, part: true,
			want: "id: 1\n" + `data: {"text":"x",`, wantStreams: "id: 1\n" + `data: {"code":0,"message":"ok","data":{"text":"x",`},
		"an array": {method: "GET", path: "/v1/stream/2?text=x", accept: typeJSON, status: 200, part: true,
			want: `[{"text":"x",`, wantStreams: `[{"code":0,"message":"ok","data":{"text":"x",`},
		"both ways": {method: "POST", path: "/v1/chat", body: `{"text":"x"}`, status: 200, part: true,
			want: `{"text":"x",`, wantStreams: `{"code":0,"message":"ok","data":{"text":"x",`},
	} {
		t.Run(name, func(t *testing.T) {
			for shapeName, a := range map[string]*frontend.Answers{"plain streams": &shape, "wrapped streams": &streams} {
				w := newShapedWorld(t, frontend.Options{Answers: a})
				want := tt.want
				if a == &streams && tt.wantStreams != "" {
					want = tt.wantStreams
				}
				got := w.client(t, "HTTP2").do(tt.method, tt.path, tt.body, "Accept: "+tt.accept)
				if got.StatusCode != tt.status || got.err != nil || got.body != want && (!tt.part || !strings.HasPrefix(got.body, want)) {
					t.Errorf("%s: got %d %s, %v\nwant %d %s", shapeName, got.StatusCode, got.body, got.err, tt.status, want)
				}
			}
		})
	}
	t.Run("an empty message", func(t *testing.T) {
		const empty = "/v1/shelves/99/books"
		if a := newShapedWorld(t, frontend.Options{Answers: &shape}).client(t, "HTTP1").do("GET", empty, nil); a.StatusCode != http.StatusNoContent || a.body != "" {
			t.Errorf("with empty_status: %d %q", a.StatusCode, a.body)
		}
		if a := newShapedWorld(t, frontend.Options{Answers: &streams}).client(t, "HTTP1").do("GET", empty, nil); a.StatusCode != http.StatusOK || a.body != `{"code":0,"message":"ok","data":{}}` {
			t.Errorf("without: %d %q", a.StatusCode, a.body)
		}
	})
	t.Run("a WebSocket", func(t *testing.T) {
		for want, a := range map[string]*frontend.Answers{`{"text":"x",`: &shape, `{"code":0,"message":"ok","data":{"text":"x",`: &streams} {
			ws := newShapedWorld(t, frontend.Options{Answers: a}).websocket(t, "/v1/stream/1?text=x")
			if _, frame, err := ws.Read(ws.ctx); err != nil || !strings.HasPrefix(string(frame), want) {
				t.Errorf("got %s, %v; want %s", frame, err, want)
			}
		}
	})
	t.Run("its bytes have one ETag", func(t *testing.T) {
		c := newShapedWorld(t, frontend.Options{Answers: &shape, ETag: true}).client(t, "HTTP1")
		plain := newShapedWorld(t, frontend.Options{ETag: true}).client(t, "HTTP1")
		tag := c.do("GET", "/v1/shelves/1/books/2", nil).Header.Get("ETag")
		if other := plain.do("GET", "/v1/shelves/1/books/2", nil).Header.Get("ETag"); tag == "" || tag == other {
			t.Errorf("%q and %q", tag, other)
		}
		if a := c.do("GET", "/v1/shelves/1/books/2", nil, "If-None-Match: "+tag); a.StatusCode != http.StatusNotModified || a.body != "" {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
	})
}
