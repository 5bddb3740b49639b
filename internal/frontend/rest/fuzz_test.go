package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

// FuzzQuery binds any query: it is refused with INVALID_ARGUMENT, or it is a message whose fields
// say what the query says.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"text=a&count=1&list=a&list=b", "labels[a]=1&labels[b]=2&nested.child.value=x", "left=a&right=1", "text=%zz", "a;b=c&&=&x", "maybe&genre=POETRY",
		"by_number[1]=x", "labels[=", "many.value=1", "text=a&text=b", "wrapped=x&at=2020-01-01T00:00:00Z", "nested.numbers=1&nested.numbers=2", "text=+%2B",
		"$alt=json%3Benum-encoding=int", "nested={}&nested.value=x", "nested[child][value]=x", "list[]=a", "labels[a][b]=1", "mask=*",
	} {
		f.Add(seed)
	}
	table := newTable(f, nil)
	b, _, ok, err := table.Router.Match("GET", "/v1/echo", nil)
	if !ok || err != nil {
		f.Fatal(ok, err)
	}
	f.Fuzz(func(t *testing.T, query string) {
		x := exchange{
			opts: &frontend.Options{}, info: &frontend.Info{}, method: b.Method, binding: b, codec: b.Method.Response,
			r: &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/v1/echo", RawQuery: query}},
		}
		defer x.release()
		err := x.bindURL()
		if err != nil {
			var e *frontend.Error
			if !errors.As(err, &e) || e.Code() != codes.InvalidArgument || !strings.Contains(e.Status.GetMessage(), "query parameter") {
				t.Fatalf("%q: %v", query, err)
			}
			return
		}
		got := &testpb.EchoRequest{}
		if err := proto.Unmarshal(x.appendSuffix(nil), got); err != nil {
			t.Fatalf("%q: the wire is malformed: %v", query, err)
		}
		// The standard library reads the query its own way, except for semicolons.
		values, err := url.ParseQuery(strings.ReplaceAll(query, ";", "%3B"))
		if err != nil {
			t.Fatalf("%q is taken, and the library says %v", query, err)
		}
		for name, want := range values {
			fd := got.ProtoReflect().Descriptor().Fields().ByTextName(name)
			if fd == nil || fd.Kind() != protoreflect.StringKind {
				continue
			}
			if fd.IsList() {
				if name == "list" && strings.Join(got.GetList(), "\x00") != strings.Join(want, "\x00") {
					t.Fatalf("%q: list is %q", query, got.GetList())
				}
				continue
			}
			if v := got.ProtoReflect().Get(fd).String(); len(want) != 1 || v != want[0] {
				t.Fatalf("%q: %s is %q, want %q", query, name, v, want)
			}
		}
	})
}

// FuzzRequest sends any path, query and body through everything but the connection: no panic, and
// every refusal is an Error.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/v1/echo", "", "application/json", `{"text":"a"}`)
	f.Add("PATCH", "/v1/shelves/1/books/2", "update_mask=title", "", `{"title":null,"labels":{}}`)
	f.Add("POST", "/v1/echo/a%2Fb:shout", "count=1", "application/json", `{"child":{"numbers":[1]}}`)
	f.Add("POST", "/v1/echo", "", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nv\r\n--x--")
	f.Add("POST", "/v1/echo", "", "application/x-www-form-urlencoded", "text=a&list=b")
	f.Add("POST", "/v1/upload/f", "", "image/png", "\x89PNG")
	f.Add("OPTIONS", "/v1/echo", "", "", "")
	table := newTable(f, nil)
	h := New(frontend.Options{Forms: true, MaxRequestSize: 1 << 16})
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			return
		}
		u.RawQuery = query
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", contentType)
		x := &exchange{opts: &h.opts, w: httptest.NewRecorder(), r: r, info: &frontend.Info{}}
		x.body.Reset(x.w, x.r)
		defer x.release()
		found, err := x.route(table)
		if err == nil && found && !x.method.StreamDesc.ClientStreams {
			var wire *[]byte
			wire, err = x.requestWire()
			if err == nil {
				msg := x.method.Request.Descriptor()
				if perr := proto.Unmarshal(*wire, dynamicpb.NewMessage(msg)); perr != nil {
					t.Fatalf("the wire is malformed: %v", perr)
				}
				frontend.PutBuffer(wire)
			}
		}
		var e *frontend.Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%v is no *frontend.Error", err)
		}
	})
}
