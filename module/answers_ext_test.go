package module_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

const teapot = `{"text":"hi","script":{"headers":{"x-http-code":"418"}}}`

// TestShapeOfAnswers loads all options of the shape of successful answers, and looks at each. The
// RPC protocols are as they are without them.
func TestShapeOfAnswers(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		route POST /t/created gateway.test.v1.Echo/Unary {
			body *
			status 201
		}
		answers {
			empty_status 204
			status_from X-Http-Code
			envelope code=0 message=ok data
		}
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	const accepted = `{"text":"hi","script":{"headers":{"x-http-code":"202"},"trailers":{"x-http-code":"203"}}}`

	t.Run("a route's status", func(t *testing.T) {
		if got := s.want(s.do("POST", "/t/created", `{"text":"hi"}`), http.StatusCreated); got.field("data", "text") != "hi" || got.field("message") != "ok" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("an empty answer", func(t *testing.T) {
		got := s.want(s.do("DELETE", "/v1/shelves/1/books/1", ""), http.StatusNoContent)
		if got.body != "" || got.header.Get("Content-Type") != "" || got.header.Get("Content-Length") != "" {
			t.Errorf("got %s %v", got, got.header)
		}
	})
	t.Run("the service's status", func(t *testing.T) {
		for _, path := range []string{"/v1/echo", "/t/created", "/gateway.test.v1.Echo/Unary"} {
			if got := s.want(s.do("POST", path, accepted), http.StatusAccepted); got.header.Get("X-Http-Code") != "" || got.field("data", "text") != "hi" {
				t.Errorf("%s: got %s %v", path, got, got.header)
			}
		}
	})
	t.Run("a status that cannot be used is logged once for each method", func(t *testing.T) {
		for range 3 {
			s.want(s.do("POST", "/v1/echo", teapot), http.StatusOK)
			s.want(s.do("POST", "/t/created", teapot), http.StatusCreated)
		}
		lines := s.logged("HTTP status that cannot be used")
		if len(lines) != 1 {
			t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, ""))
		}
		for _, part := range []string{`"level":"warn"`, `"method":"gateway.test.v1.Echo/Unary"`, `"upstream":"` + backend.Addr() + `"`,
			`metadata x-http-code: \"418\": expected a status from 200 to 399`} {
			if !strings.Contains(lines[0], part) {
				t.Errorf("no %s in %s", part, lines[0])
			}
		}
	})
	t.Run("Connect", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/gateway.test.v1.Echo/Unary", strings.NewReader(accepted))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Connect-Protocol-Version", "1")
		got := s.want(send(s.client, req), http.StatusOK)
		if got.header.Get("X-Http-Code") != "202" || got.header.Get("Trailer-X-Http-Code") != "203" || got.field("text") != "hi" {
			t.Errorf("got %s %v", got, got.header)
		}
	})
	t.Run("gRPC", func(t *testing.T) {
		cc, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer cc.Close()
		var header metadata.MD
		script := &testpb.Script{Headers: map[string]string{"x-http-code": "202"}}
		got, err := testpb.NewEchoClient(cc).Unary(context.Background(), &testpb.EchoRequest{Text: "hi", Script: script}, grpc.Header(&header))
		if err != nil || got.GetText() != "hi" || len(header["x-http-code"]) != 1 {
			t.Errorf("got %v, %v, header %v", got, err, header)
		}
		if _, err := testpb.NewLibraryClient(cc).DeleteBook(context.Background(), &testpb.GetBookRequest{Name: "shelves/1/books/2"}); err != nil {
			t.Error(err)
		}
	})
}

// TestEmptyAnswersAndUnpopulatedFields shows that an answer whose fields are written is not empty,
// though nothing of it is on the wire.
func TestEmptyAnswersAndUnpopulatedFields(t *testing.T) {
	backend := testkit.StartBackend(t)
	for name, tt := range map[string]struct {
		json string
		want answer
	}{
		"nothing is written":    {"", answer{status: http.StatusNoContent}},
		"defaults are written":  {"json {\n emit_defaults\n }", answer{status: http.StatusOK, body: `{"books":[],"nextPageToken":""}`}},
		"everything is written": {"json {\n emit_unpopulated\n }", answer{status: http.StatusOK, body: `{"books":[],"nextPageToken":""}`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.load("", "grpc_gateway "+backend.Addr()+" {\n answers {\n empty_status 204\n }\n "+tt.json+"\n }")
			eventually(t, "routes", func() bool { return s.get("/v1/shelves/1/books/3").status == http.StatusNotFound })
			if got := s.get("/v1/shelves/99/books"); got.status != tt.want.status || got.body != tt.want.body {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestUnpopulatedFields shows the null of a message that is not set, in REST and Connect.
func TestUnpopulatedFields(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n json {\n emit_unpopulated\n }\n }")
	const want = `"genre":"NOVEL","pages":"880","published":null,"tags":[],"labels":{}`
	for path, got := range map[string]answer{
		"REST":    s.want(s.get("/v1/shelves/1/books/2"), http.StatusOK),
		"by name": s.want(s.do("POST", "/gateway.test.v1.Library/GetBook", `{"name":"shelves/1/books/2"}`), http.StatusOK),
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s: got %s", path, got)
		}
	}
}

// TestStatusOfARouteIsChecked loads routes whose status cannot be.
func TestStatusOfARouteIsChecked(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+` {
		route GET /t/stream/{count} gateway.test.v1.Echo/ServerStream {
			status 204
		}
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	s.want(s.get("/t/stream/1"), http.StatusNotFound)
	lines := s.logged("a route or pattern does not work")
	if len(lines) != 1 || !strings.Contains(lines[0], "status 204: expected another") {
		t.Errorf("%d lines in the log: %s", len(lines), strings.Join(lines, ""))
	}
}
