package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/rpctest"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

const urlEncoded = "Content-Type: " + typeURLEncoded

func TestAnyMediaType(t *testing.T) {
	for _, tc := range []struct {
		name, method, path, header string
		strict                     int // The status without the option.
	}{
		{"text", "POST", "/v1/echo", "Content-Type: text/plain", 415},
		{"a form, which is JSON if forms are off", "POST", "/v1/echo", urlEncoded, 415},
		{"XML", "POST", "/v1/echo", "Content-Type: application/xml; charset=latin1", 415},
		{"no media type at all", "POST", "/v1/echo", "Content-Type: ;;", 415},
		{"JSON in another charset", "POST", "/v1/echo", "Content-Type: application/json; charset=latin1", 415},
		{"a stream of requests", "POST", "/v1/collect", "Content-Type: text/plain", 415},
		{"Accept", "GET", "/v1/echo/x", "Accept: text/html", 406},
		{"Accept of a stream", "GET", "/v1/stream/1", "Accept: text/html", 406},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := ""
			if tc.method == "POST" {
				body = `{"text":"x"}`
			}
			strict, lenient := newWorld(t, frontend.Options{}), newWorld(t, frontend.Options{AnyMediaType: true})
			if a := strict.client(t, "HTTP2").do(tc.method, tc.path, body, tc.header); a.StatusCode != tc.strict {
				t.Errorf("without the option: %d %s", a.StatusCode, a.body)
			}
			a := lenient.client(t, "HTTP2").do(tc.method, tc.path, body, tc.header)
			if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.body, "{") {
				t.Errorf("got %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// TestAnyMediaTypeIsStillCrossSite is the request that a page of another site can send without a
// preflight.
func TestAnyMediaTypeIsStillCrossSite(t *testing.T) {
	w := newWorld(t, frontend.Options{AnyMediaType: true, FormsToQuery: true})
	for _, header := range []string{"Content-Type: text/plain", urlEncoded, "Content-Type: "} {
		for _, path := range []string{"/v1/echo", "/v1/echo/x"} {
			w.client(t, "HTTP2").do("POST", path, `{"text":"x"}`, header, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example").
				wantError(t, 403, 7, "")
		}
	}
}

func TestTrailingText(t *testing.T) {
	strict, lenient := newWorld(t, frontend.Options{}), newWorld(t, frontend.Options{TrailingText: true})
	for _, tc := range []struct{ path, body, want string }{ // want is "" for 400
		{"/v1/echo", `{"text":"x"} and more`, "x"},
		{"/v1/echo", " \n{\"text\":\"x\"}{\"text\":\"y\"}", "x"},
		{"/v1/echo", `{"text":"x}{]"}]`, `x}{]`},
		{"/v1/echo", `{"text":"x\"}"}"`, `x\"}`},
		{"/v1/echo", `{"text":"x"`, ""},
		{"/v1/echo", `}{"text":"x"}`, ""},
		{"/v1/echo", `and {"text":"x"}`, ""},
		{"/v1/echo:text", `"x" "y"`, "x"},
		{"/v1/echo:text", `"x"y`, "x"},
	} {
		if a := strict.client(t, "HTTP2").do("POST", tc.path, tc.body); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s without the option", tc.body, a.StatusCode, a.body)
		}
		a := lenient.client(t, "HTTP2").do("POST", tc.path, tc.body)
		switch {
		case tc.want == "":
			a.wantError(t, 400, 3, "")
		case a.StatusCode != http.StatusOK, !strings.Contains(a.body, `"`+tc.want+`"`), strings.Contains(a.body, `"y"`):
			t.Errorf("%s: %d %s", tc.body, a.StatusCode, a.body)
		}
	}
	// Messages of a stream follow one another, and none is lost.
	if e := lenient.client(t, "HTTP2").do("POST", "/v1/collect", `{"text":"x"}{"text":"y"}`).echo(t); e.GetNumber() != 2 {
		t.Errorf("a stream: %v", e)
	}
}

func FuzzFirstValue(f *testing.F) {
	for _, seed := range []string{"", " ", `{"a":"}"} x`, "1x", "[1,[2]],", `"\\"`, "true,", "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := firstValue(text)
		if len(got) > len(text) || string(text[:len(got)]) != string(got) {
			t.Errorf("%q of %q", got, text)
		}
		if again := firstValue(got); string(again) != string(got) {
			t.Errorf("%q of %q, and %q of that", got, text, again)
		}
	})
}

func TestFormsToQuery(t *testing.T) {
	w := newWorld(t, frontend.Options{FormsToQuery: true})
	for _, tc := range []struct {
		name, method, path, body string
		want                     *testpb.EchoRequest
		status                   int
		message                  string
	}{
		{name: "a POST of a form to a path of GET", method: "POST", path: "/v1/echo/x", body: "count=3&list=a&list=b+c", want: &testpb.EchoRequest{Text: "x", Count: 3, List: []string{"a", "b c"}}},
		{name: "beside the query", method: "POST", path: "/v1/echo/x?list=c&flag=true", body: "list=a&list=b", want: &testpb.EchoRequest{Text: "x", List: []string{"a", "b", "c"}, Flag: true}},
		{name: "the same field in both", method: "POST", path: "/v1/echo/x?count=1", body: "count=1", status: 400, message: "more than once"},
		{name: "nothing in it", method: "POST", path: "/v1/echo/x", body: "", want: &testpb.EchoRequest{Text: "x"}},
		{name: "bad percent-encoding", method: "POST", path: "/v1/echo/x", body: "a=%", status: 400, message: "percent-encoding"},
		{name: "an unknown parameter", method: "POST", path: "/v1/echo/x", body: "nope=1", status: 400, message: "nope"},
		{name: "another method of the same path", method: "PUT", path: "/v1/echo/x", body: "count=3", status: 405, message: "PUT"},
		{name: "too many", method: "POST", path: "/v1/echo/x", body: strings.Repeat("list=a&", maxFormParts), status: 400, message: "more than 1000 parts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) {
				a := c.do(tc.method, tc.path, tc.body, urlEncoded)
				if tc.want != nil {
					a.wantEcho(t, tc.want)
				} else if a.StatusCode != tc.status || !strings.Contains(a.body, tc.message) {
					t.Errorf("got %d %s", a.StatusCode, a.body)
				}
			})
		})
	}
	c := w.client(t, "HTTP2")
	t.Run("a path with a POST route keeps it", func(t *testing.T) { c.do("POST", "/v1/echo", "count=3", urlEncoded).wantError(t, 415, 3, "form") })
	t.Run("other types", func(t *testing.T) {
		c.do("POST", "/v1/echo/x", "count=3", "Content-Type: multipart/form-data; boundary=x").wantError(t, 405, 12, "POST")
	})
	t.Run("a stream", func(t *testing.T) {
		if a := c.do("POST", "/v1/stream/2", "text=x", urlEncoded); strings.Count(a.body, `"text":"x"`) < 2 {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	})
	t.Run("a form that is too large", func(t *testing.T) {
		small := newWorld(t, frontend.Options{FormsToQuery: true, MaxRequestSize: 10}).client(t, "HTTP1")
		small.do("POST", "/v1/echo/x", "list=aaaaaaaaaaaaaaaa", urlEncoded).wantError(t, 413, 8, "larger than 10 bytes")
	})
	t.Run("off", func(t *testing.T) {
		off := newWorld(t, frontend.Options{}).client(t, "HTTP2")
		off.do("POST", "/v1/echo/x", "count=3", urlEncoded).wantError(t, 405, 12, "POST")
	})
}

// TestQueryPathWins shows what the option adds to QueryIgnoreUnknown. How texts are read belongs to
// the codecs.
func TestQueryPathWins(t *testing.T) {
	opts := frontend.Options{QueryIgnoreUnknown: true}
	strict := newWorld(t, opts).client(t, "HTTP2")
	opts.QueryPathWins, opts.Forms = true, true
	lenient := newWorld(t, opts).client(t, "HTTP2")
	strict.do("GET", "/v1/echo/x?text=y", nil).wantError(t, 400, 3, "the path says otherwise")
	lenient.do("GET", "/v1/echo/x?text=y", nil).wantEcho(t, &testpb.EchoRequest{Text: "x"})
	lenient.do("POST", "/v1/echo", "text=x&nope=1", urlEncoded).wantEcho(t, &testpb.EchoRequest{Text: "x"})
	lenient.do("POST", "/v1/echo", "text=x&text=y", urlEncoded).wantError(t, 400, 3, "more than once")
}

// TestWholeBody reads the body and the query of every route into the whole message.
func TestWholeBody(t *testing.T) {
	b := testkit.StartBackend(t)
	w := &world{t: t, backend: b}
	w.table = rpctest.Compile(t, &routes.Config{
		Annotations: true, WholeBody: true,
		Routes: []routes.Route{
			{Method: "POST", Template: "/v2/whole", RPC: "gateway.test.v1.Echo/Unary"},
			{Method: "POST", Template: "/v2/nested", RPC: "gateway.test.v1.Echo/Unary", Body: "nested"},
		},
	}, dial(t, b.Addr()))
	w.serve(frontend.Options{})
	for _, tc := range []struct {
		name, method, path, body string
		want                     *testpb.EchoRequest
	}{
		{"a rule with body *", "POST", "/v1/echo?count=2", `{"text":"x","count":1}`, &testpb.EchoRequest{Text: "x", Count: 2}},
		{"a rule without a body", "GET", "/v1/echo/p?count=2", `{"text":"x","big":"7"}`, &testpb.EchoRequest{Text: "p", Count: 2, Big: 7}},
		{"a rule for a field", "POST", "/v1/echo/p:shout", `{"nested":{"value":"n"}}`, &testpb.EchoRequest{Text: "p", Nested: &testpb.Nested{Value: "n"}}},
		{"lists are joined", "POST", "/v1/echo?list=b", `{"list":["a"]}`, &testpb.EchoRequest{List: []string{"a", "b"}}},
		{"another member of a oneof", "POST", "/v1/echo?right=2", `{"left":"l"}`, &testpb.EchoRequest{Choice: &testpb.EchoRequest_Right{Right: 2}}},
		{"a route of the config without a body", "POST", "/v2/whole?count=2", `{"text":"x"}`, &testpb.EchoRequest{Text: "x", Count: 2}},
		{"a route of the config with one", "POST", "/v2/nested?count=2", `{"value":"n"}`, &testpb.EchoRequest{Count: 2, Nested: &testpb.Nested{Value: "n"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.eachVersion(t, func(t *testing.T, c *client) { c.do(tc.method, tc.path, tc.body).wantEcho(t, tc.want) })
		})
	}
	c := w.client(t, "HTTP2")
	t.Run("response_body of a rule", func(t *testing.T) {
		if a := c.do("POST", "/v1/echo:text", `{"text":"x"}`); !strings.HasPrefix(a.body, `{"text":"x"`) {
			t.Errorf("got %d %s", a.StatusCode, a.body)
		}
	})
	t.Run("an unknown parameter", func(t *testing.T) { c.do("POST", "/v1/echo?nope=1", `{}`).wantError(t, 400, 3, "nope") })
}

func TestResultLines(t *testing.T) {
	w := newWorld(t, frontend.Options{ResultLines: true})
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, accept := range []string{"*/*", "application/json", "application/x-ndjson"} {
			a := c.do("GET", "/v1/stream/2", nil, "Accept: "+accept)
			lines := strings.SplitAfter(a.body, "\n")
			if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != typeJSON || len(lines) != 3 || lines[2] != "" {
				t.Fatalf("%s: %d %v %q", accept, a.StatusCode, a.Header, a.body)
			}
			for i, line := range lines[:2] {
				if !strings.HasPrefix(line, `{"result":{`) || !strings.HasSuffix(line, "}}\n") || !strings.Contains(line, `"number":`+string(rune('1'+i))) {
					t.Errorf("line %d: %q", i+1, line)
				}
			}
		}
		a := c.do("POST", "/v1/stream", `{"count":1,"script":{"failCode":5,"failMessage":"gone","failAfter":1}}`)
		if !strings.HasSuffix(a.body, "}}\n{\"error\":{\"code\":5,\"message\":\"gone\"}}\n") {
			t.Errorf("a failure after a message: %q", a.body)
		}
		a = c.do("GET", "/v1/stream/1", nil, "Accept: text/event-stream")
		if a.Header.Get("Content-Type") != typeSSE || !strings.Contains(a.body, `data: {"text"`) && !strings.Contains(a.body, `data: {"request"`) {
			t.Errorf("an event stream: %v %q", a.Header, a.body)
		}
		if a = c.do("POST", "/v1/chat", `{"text":"x"}`); !strings.HasPrefix(a.body, `{"result":{`) {
			t.Errorf("both ways: %q", a.body)
		}
		if a = c.do("GET", "/v1/download/1", nil); strings.Contains(a.body, "result") {
			t.Errorf("HttpBody: %q", a.body)
		}
		if a = c.do("GET", "/v1/echo/x", nil); strings.Contains(a.body, `"result"`) {
			t.Errorf("unary: %q", a.body)
		}
	})
}

func TestTrailerRules(t *testing.T) {
	const script = `{"script":{"headers":{"x-head":"h"},"trailers":{"x-tail":"t","cache-control":"no-store"}}}`
	const failure = `{"script":{"failCode":5,"headers":{"x-head":"h"},"trailers":{"x-tail":"t"}}}`
	md := frontend.Options{
		ResponseMetadata: rules(t, frontend.CompileResponseRules, "x-* grpc-metadata-*"),
		TrailerMetadata:  rules(t, frontend.CompileResponseRules, "* grpc-trailer-*", "x-tail grpc-trailer-x-tail x-second"),
	}
	t.Run("trailers", func(t *testing.T) {
		newWorld(t, md).eachVersion(t, func(t *testing.T, c *client) {
			for _, body := range []string{script, failure} {
				a := c.do("POST", "/v1/echo", body, "Te: trailers")
				if a.Header.Get("Grpc-Metadata-Head") != "h" || a.Header.Get("Grpc-Trailer-X-Tail") != "" {
					t.Errorf("header: %v", a.Header)
				}
				if a.Trailer.Get("Grpc-Trailer-X-Tail") != "t" || a.Trailer.Get("X-Second") != "t" || a.Trailer.Get("X-Tail") != "" {
					t.Errorf("trailer: %v", a.Trailer)
				}
			}
		})
	})
	md.TrailersAsHeaders = true
	t.Run("as headers", func(t *testing.T) {
		newWorld(t, md).eachVersion(t, func(t *testing.T, c *client) {
			for _, body := range []string{script, failure} {
				a := c.do("POST", "/v1/echo", body, "Te: trailers")
				if a.Header.Get("Grpc-Metadata-Head") != "h" || a.Header.Get("Grpc-Trailer-X-Tail") != "t" || a.Header.Get("X-Second") != "t" {
					t.Errorf("header: %v", a.Header)
				}
				if len(a.Trailer) > 0 || a.Header.Get("Content-Length") == "" {
					t.Errorf("trailer: %v, header: %v", a.Trailer, a.Header)
				}
			}
			// The header of a stream is sent before its trailers are known.
			a := c.do("POST", "/v1/stream", `{"count":1,`+script[1:], "Te: trailers")
			if a.Header.Get("Grpc-Trailer-X-Tail") != "" || a.Trailer.Get("Grpc-Trailer-X-Tail") != "t" {
				t.Errorf("a stream: header %v, trailer %v", a.Header, a.Trailer)
			}
		})
	})
}

func TestOneHeaderUnderSeveralNames(t *testing.T) {
	w := newWorld(t, frontend.Options{
		RequestMetadata:  rules(t, frontend.CompileRequestRules, "authorization grpcgateway-authorization authorization", "x-* a-* b-*"),
		ResponseMetadata: rules(t, frontend.CompileResponseRules, "x-* y-* z-*"),
	})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/echo", `{"script":{"headers":{"x-head":"h"}}}`, "Authorization: Bearer t", "X-One: 1", "X-One: 2", "Other: o")
		got := a.echo(t).GetMetadata()
		for name, want := range map[string]string{
			"authorization": "Bearer t", "grpcgateway-authorization": "Bearer t", "a-one": "1, 2", "b-one": "1, 2", "x-one": "", "other": "",
		} {
			if got[name] != want {
				t.Errorf("%s: %q, want %q", name, got[name], want)
			}
		}
		if a.Header.Get("Y-Head") != "h" || a.Header.Get("Z-Head") != "h" || a.Header.Get("X-Head") != "" {
			t.Errorf("header: %v", a.Header)
		}
	})
}

// A form that becomes the query is not in the URL that others see.
func TestFormToQueryLeavesTheRequest(t *testing.T) {
	r, err := http.NewRequest(http.MethodPost, "/v1/echo/x?a=1", strings.NewReader("b=2"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", typeURLEncoded)
	x := &exchange{opts: &frontend.Options{MaxRequestSize: 10}, r: r, binding: &frontend.Binding{}}
	x.body.Reset(nil, r)
	if err := x.formToQuery(); err != nil {
		t.Fatal(err)
	}
	if got := x.r.URL.RawQuery; got != "b=2&a=1" {
		t.Errorf("the query is %q", got)
	}
	if want := (&url.URL{Path: "/v1/echo/x", RawQuery: "a=1"}).String(); r.URL.String() != want {
		t.Errorf("the URL is %s, want %s", r.URL, want)
	}
}

// TestIgnoreClientTimeout sends deadlines that have passed, and malformed ones.
func TestIgnoreClientTimeout(t *testing.T) {
	obey, ignore := newWorld(t, frontend.Options{}), newWorld(t, frontend.Options{IgnoreClientTimeout: true})
	for header, status := range map[string]int{
		"Grpc-Timeout: 0m": 504, "Grpc-Timeout: 5s": 400, "Connect-Timeout-Ms: 0": 504, "X-Request-Timeout: soon": 400,
	} {
		// The body is read within the client's deadline.
		for _, method := range []string{"GET", "POST"} {
			if a := obey.client(t, "HTTP1").do(method, "/v1/echo", "{}", header); a.StatusCode != status {
				t.Errorf("%s %s: %d %s", method, header, a.StatusCode, a.body)
			}
			if e := ignore.client(t, "HTTP1").do(method, "/v1/echo", "{}", header).echo(t); e.GetDeadlineMs() != 0 {
				t.Errorf("%s %s: the service sees a deadline: %v", method, header, e)
			}
		}
	}
}
