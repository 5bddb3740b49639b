package module_test

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/caddy-grpc/gateway/internal/testkit"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/module"
)

// startPoliced starts a backend that answers methods which no schema has, too, and a site with
// these options of the directive and these directives after it.
func startPoliced(t *testing.T, options string, after ...string) (*testkit.Backend, *site) {
	t.Helper()
	backend := testkit.StartBackend(t, testkit.WithServerOptions(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
		return ss.SendMsg(&testpb.EchoResponse{Text: "unknown"})
	})))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\treflection on\n\thealth on\n"+options+"\n}\n"+strings.Join(after, "\n"))
	eventually(t, "the schema is known", func() bool { return s.get("/v1/nowhere").status == http.StatusNotFound })
	return backend, s
}

func TestPolicyRunsForEveryWayToCall(t *testing.T) {
	_, s := startPoliced(t, `with * {
		probe every
		encode
		header X-Policy "{http.grpc_gateway.protocol} {http.grpc_gateway.method}"
	}`)
	for name, w := range callWays() {
		t.Run(name, func(t *testing.T) {
			in, out := seen("every")
			got := w.call(t, s)
			if got.code != codes.OK {
				t.Errorf("got %v %s", got.code, got.message)
			}
			if h := got.header.Get("X-Policy"); h != w.protocol+" "+w.method {
				t.Errorf("the header that the block has set: %q", h)
			}
			eventually(t, "the block has ended", func() bool { _, n := seen("every"); return n > out })
			if n, _ := seen("every"); n != in+1 {
				t.Errorf("the block has run %d times", n-in)
			}
		})
	}
}

func TestPolicyRefusesInEveryProtocol(t *testing.T) {
	for name, tt := range map[string]struct {
		block   string
		code    codes.Code
		message string
	}{
		"error":       {"probe refuse " + "refuse 429", codes.ResourceExhausted, "Too Many Requests"},
		"no message":  {"error 403", codes.PermissionDenied, "Forbidden"},
		"basic auth":  {"basic_auth {\n alice $2a$04$1Qtkr6vyqbNCUCZ7HzZzQOlYlLTbzVkZ.9D1Np0Kp7iNoZ9b1RIzG\n }", codes.Unauthenticated, "Unauthorized"},
		"not allowed": {"request_header -Nothing\n error 503", codes.Unavailable, "Service Unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			backend, s := startPoliced(t, "with * {\n"+tt.block+"\n}")
			calls := backend.Calls()
			for name, w := range callWays() {
				got := w.call(t, s)
				if got.code != tt.code || got.message != tt.message {
					t.Errorf("%s: got %v %q, want %v %q", name, got.code, got.message, tt.code, tt.message)
				}
			}
			if n := backend.Calls(); n != calls {
				t.Errorf("%d calls were made", n-calls)
			}
		})
	}
}

// A page that a block writes is for clients that can show it.
func TestPolicyThatWritesAPage(t *testing.T) {
	backend, s := startPoliced(t, "with * {\n header X-Page yes\n respond \"log in here\" 401\n}")
	calls := backend.Calls()
	for name, w := range callWays() {
		if w.protocol != "rest" {
			if got := w.call(t, s); got.code != codes.Unauthenticated || got.message != "Unauthorized" {
				t.Errorf("%s: %v %q", name, got.code, got.message)
			}
		}
	}
	got := s.want(s.get("/v1/echo/x"), http.StatusUnauthorized)
	if got.body != "log in here" || got.header.Get("X-Page") != "yes" {
		t.Errorf("REST: %s %v", got, got.header)
	}
	if n := backend.Calls(); n != calls {
		t.Errorf("%d calls were made", n-calls)
	}
}

func TestPoliciesNestInTheOrderWritten(t *testing.T) {
	_, s := startPoliced(t, `
	with gateway.test.v1.Echo {
		probe service
	}
	with gateway.test.v1.Library */Stream* {
		probe others
	}
	with */Unary {
		probe method
		request_header X-User alice
	}
	with * {
		probe all
	}`)
	const want = "service method all"
	if got := s.want(s.get("/v1/echo/x"), 200); got.field("metadata", "x-way") != want || got.field("metadata", "x-user") != "alice" {
		t.Errorf("REST: %s", got)
	}
	got := s.want(s.post("/"+unaryName, "application/json", `{}`, "Connect-Protocol-Version", "1"), 200)
	if got.field("metadata", "x-way") != want || got.field("metadata", "x-user") != "alice" {
		t.Errorf("Connect: %s", got)
	}
	resp, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{})
	if md := resp.GetMetadata(); err != nil || md["x-way"] != want || md["x-user"] != "alice" {
		t.Errorf("gRPC: %v, %v", md, err)
	}
}

func TestAHundredPolicies(t *testing.T) {
	var options, want strings.Builder
	for i := range 100 {
		fmt.Fprintf(&options, "with %s {\n probe p%d\n}\n", []string{"*", "*/Unary", "gateway.*", "gateway.test.v1.Echo"}[i%4], i)
		fmt.Fprintf(&want, " p%d", i)
	}
	_, s := startPoliced(t, options.String())
	if got := s.want(s.get("/v1/echo/x"), 200); got.field("metadata", "x-way") != want.String()[1:] {
		t.Errorf("got %s", got)
	}
	resp, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{})
	if err != nil || resp.GetMetadata()["x-way"] != want.String()[1:] {
		t.Errorf("gRPC: %v, %v", resp, err)
	}
}

func TestPlaceholdersBeforeTheCall(t *testing.T) {
	backend, s := startPoliced(t, `with * {
		header X-Known "{http.grpc_gateway.service}|{http.grpc_gateway.route}|{http.grpc_gateway.var.text}|{http.grpc_gateway.var.name}|{http.grpc_gateway.upstream}"
	}`)
	for path, want := range map[string]string{
		"/v1/echo/a%20b":           "gateway.test.v1.Echo|/v1/echo/{text}|a b||",
		"/v1/shelves/1/books/1":    "gateway.test.v1.Library|/v1/{name=shelves/*/books/*}||shelves/1/books/1|",
		"/v1/echo/x?text=conflict": "gateway.test.v1.Echo|/v1/echo/{text}|x||",
	} {
		if got := s.get(path); got.header.Get("X-Known") != want+backend.Addr() {
			t.Errorf("%s: %q", path, got.header.Get("X-Known"))
		}
	}
	got := s.do("POST", "/"+unaryName, `{"text":"x"}`)
	if want := "gateway.test.v1.Echo||||" + backend.Addr(); got.header.Get("X-Known") != want {
		t.Errorf("by name: %q", got.header.Get("X-Known"))
	}
}

// What the gateway refuses by itself is refused as without policies.
func TestNoPolicyRunsWithoutAMethod(t *testing.T) {
	_, s := startPoliced(t, "cors https://app.example\nwith * {\n probe none\n}")
	before, _ := seen("none")
	for name, got := range map[string]struct {
		answer
		want int
	}{
		"unknown route":          {s.get("/v1/nowhere"), 404},
		"wrong method":           {s.do("DELETE", "/v1/echo", ""), 405},
		"unknown method":         {s.post("/gateway.test.v1.Echo/New", "application/json", "{}", "Connect-Protocol-Version", "1"), 404},
		"content type of no use": {s.post("/"+streamName, "application/proto", ""), 415},
		"another site": {s.post("/"+unaryName, "application/json", "{}", "Connect-Protocol-Version", "1",
			"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"), 403},
		"preflight": {s.request("OPTIONS", "/v1/echo", "Origin", "https://app.example", "Access-Control-Request-Method", "POST"), 204},
		"OPTIONS":   {s.request("OPTIONS", "/v1/echo"), 204},
	} {
		if got.status != got.want {
			t.Errorf("%s: got %s, want %d", name, got, got.want)
		}
	}
	err := s.dial().Invoke(bounded(t), "/gateway.test.v1.Echo/New/more", &testpb.EchoRequest{}, &testpb.EchoResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("gRPC: %v", err)
	}
	if after, _ := seen("none"); after != before {
		t.Errorf("a block has run %d times", after-before)
	}
}

// A new URI is not routed again. The query that the block leaves is the one that is read.
func TestPolicyThatRewrites(t *testing.T) {
	_, s := startPoliced(t, "with */Unary */GetBook {\n rewrite * /v1/nowhere?flag=true\n method DELETE\n}")
	got := s.want(s.get("/v1/echo/x"), 200)
	if got.field("request", "text") != "x" || got.field("request", "flag") != true {
		t.Errorf("REST: %s", got)
	}
	if got := s.want(s.post("/"+unaryName, "application/json", `{"text":"y"}`, "Connect-Protocol-Version", "1"), 200); got.field("text") != "y" {
		t.Errorf("Connect: %s", got)
	}
	resp, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{Text: "z"})
	if err != nil || resp.GetText() != "z" {
		t.Errorf("gRPC: %v, %v", resp, err)
	}
}

// The answers to errors of calls are written inside the blocks, so blocks can change them.
func TestPolicySeesAnswersAndErrors(t *testing.T) {
	_, s := startPoliced(t, `with * {
		header >X-Late yes
		encode {
			gzip
			minimum_length 1
		}
	}`)
	for path, want := range map[string]int{"/v1/echo/x": 200, "/v1/echo/x?script.fail_code=5": 404, "/v1/echo/x?nothing=1": 400} {
		got := s.want(s.request("GET", path, "Accept-Encoding", "gzip"), want)
		if got.header.Get("X-Late") != "yes" || got.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %v", path, got.header)
		}
		zr, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(zr); err != nil || !strings.HasPrefix(string(text), "{") {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	got := s.want(s.post("/"+unaryName, "application/json", `{"script":{"failCode":5}}`, "Connect-Protocol-Version", "1"), 404)
	if got.header.Get("X-Late") != "yes" || got.field("code") != "not_found" {
		t.Errorf("Connect: %s %v", got, got.header)
	}
}

// With `errors pass` an error goes up through the blocks to the error routes.
func TestPolicyAndErrorsPass(t *testing.T) {
	_, s := startPoliced(t, `errors pass
	with */Unary {
		probe inner
	}
	with */DeleteBook {
		header X-Auth asked
		error "an internal text" 403
	}`, `handle_errors {
		respond "{err.status_code}|{http.grpc_gateway.code}|{http.grpc_gateway.message}"
	}`)
	_, out := seen("inner")
	if got := s.want(s.get("/v1/echo/x?script.fail_code=5&script.fail_message=gone"), 404); got.body != "404|NOT_FOUND|gone" {
		t.Errorf("of the call: %s", got)
	}
	if _, n := seen("inner"); n != out+1 {
		t.Errorf("the error has passed the block %d times", n-out)
	}
	if got := s.want(s.do("DELETE", "/v1/shelves/1/books/1", ""), 403); got.body != "403|PERMISSION_DENIED|Forbidden" {
		t.Errorf("of the block: %s", got)
	}
	got := s.want(s.post("/gateway.test.v1.Library/DeleteBook", "application/proto", ""), 403)
	if got.field("code") != "permission_denied" {
		t.Errorf("Connect: %s", got)
	}
}

// Errors have the form that `errors` says, whether the block refuses the call or the call fails
// inside of it.
func TestPolicyAndTheFormOfErrors(t *testing.T) {
	_, s := startPoliced(t, "errors problem\nwith */Unary {\n header X-A b\n}\nwith */GetBook {\n error 429\n}")
	for path, want := range map[string]int{"/v1/echo/x?script.fail_code=5": 404, "/v1/shelves/1/books/1": 429} {
		got := s.want(s.get(path), want)
		if got.header.Get("Content-Type") != "application/problem+json" || got.field("status") != float64(want) {
			t.Errorf("%s: %s %v", path, got, got.header)
		}
	}
}

func TestPolicyThatBoundsBodies(t *testing.T) {
	_, s := startPoliced(t, "with */Unary {\n request_body {\n max_size 20\n }\n}")
	large := `{"text":"` + strings.Repeat("x", 100) + `"}`
	s.want(s.do("POST", "/v1/echo", `{"text":"x"}`), 200)
	// A body of unknown length is refused only while it is read.
	send := func(path, contentType, body string, headers ...string) answer {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.addr+path, struct{ io.Reader }{strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		return send(s.client, req)
	}
	for name, post := range map[string]func(path, contentType, body string, headers ...string) answer{"known length": s.post, "unknown length": send} {
		if got := ofREST(post("/v1/echo", "application/json", large)); got.code != codes.ResourceExhausted {
			t.Errorf("REST, %s: %v", name, got)
		}
		if got := ofConnect(post("/"+unaryName, "application/json", large, "Connect-Protocol-Version", "1")); got.code != codes.ResourceExhausted {
			t.Errorf("Connect, %s: %v", name, got)
		}
		if got := ofGRPCWeb(t, post("/"+unaryName, "application/grpc-web", enveloped(large))); got.code != codes.ResourceExhausted {
			t.Errorf("gRPC-Web, %s: %v", name, got)
		}
		text := base64.StdEncoding.EncodeToString([]byte(enveloped(large)))
		got := post("/"+unaryName, "application/grpc-web-text", text)
		if raw, _ := base64.StdEncoding.DecodeString(got.body); !strings.Contains(string(raw), "grpc-status: 8") {
			t.Errorf("gRPC-Web text, %s: %q", name, raw)
		}
	}
	_, err := testpb.NewEchoClient(s.dial()).Unary(bounded(t), &testpb.EchoRequest{Text: large})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("gRPC: %v", err)
	}
}

func TestPolicyWithForwardAuth(t *testing.T) {
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer alice" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-User", "alice")
	}))
	defer auth.Close()
	backend, s := startPoliced(t, "with * {\n forward_auth "+auth.Listener.Addr().String()+" {\n uri /verify\n copy_headers X-User\n }\n}")
	calls := backend.Calls()
	for name, w := range callWays() {
		if got := w.call(t, s); w.protocol != "rest" && got.code != codes.Unauthenticated {
			t.Errorf("%s: %v %q", name, got.code, got.message)
		}
	}
	if got := s.want(s.get("/v1/echo/x"), 401); got.body != "who are you?" || got.header.Get("WWW-Authenticate") != `Bearer realm="test"` {
		t.Errorf("REST: %s %v", got, got.header)
	}
	if n := backend.Calls(); n != calls {
		t.Errorf("%d calls were made", n-calls)
	}
	if got := s.want(s.request("GET", "/v1/echo/x", "Authorization", "Bearer alice"), 200); got.field("metadata", "x-user") != "alice" {
		t.Errorf("REST: %s", got)
	}
	got := s.want(s.post("/"+unaryName, "application/json", `{}`, "Connect-Protocol-Version", "1", "Authorization", "Bearer alice"), 200)
	if got.field("metadata", "x-user") != "alice" {
		t.Errorf("Connect: %s", got)
	}
}

// Messages pass the blocks at once, in both directions.
func TestStreamsInsideOfAPolicy(t *testing.T) {
	_, s := startPoliced(t, "with * {\n probe stream\n header X-A b\n encode\n}")
	stream, err := testpb.NewEchoClient(s.dial()).Bidi(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		if err := stream.Send(&testpb.EchoRequest{Text: text}); err != nil {
			t.Fatal(err)
		}
		if resp, err := stream.Recv(); err != nil || resp.GetText() != text {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// On a reload Caddy cleans the old handlers up while streams are still inside of them.
func TestPolicyOutlivesItsConfig(t *testing.T) {
	backend, s := startPoliced(t, "with * {\n probe old\n header X-A b\n}")
	client := testpb.NewEchoClient(s.dial())
	stream, err := client.Bidi(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	talk := func() {
		t.Helper()
		if err := stream.Send(&testpb.EchoRequest{Text: "x"}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	talk()
	_, out := seen("old")
	s.load("", "grpc_gateway "+backend.Addr()+" {\n with * {\n probe new\n error 403\n }\n}")
	eventually(t, "the old block was cleaned up", func() bool {
		probes.Lock()
		defer probes.Unlock()
		return probes.cleaned["old"] > 0
	})
	talk()
	eventually(t, "the new block holds", func() bool { return s.afresh("/v1/echo/x").status == http.StatusForbidden })
	talk()
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	eventually(t, "the stream has left the old block", func() bool { _, n := seen("old"); return n == out+1 })
}

// A handler that misbehaves gets an error, or its client does.
func TestPolicyThatMisbehaves(t *testing.T) {
	_, s := startPoliced(t, `
	with */CreateBook {
		probe x twice
	}
	with */DeleteBook {
		probe x fail
	}
	with */GetBook {
		probe x drop
	}
	with */ListBooks {
		probe x leave at once
	}
	with */UpdateBook {
		probe x early
	}`)
	t.Run("second call", func(t *testing.T) {
		s.want(s.do("POST", "/v1/shelves/1/books", `{"title":"x"}`), 200)
	})
	t.Run("error after the answer", func(t *testing.T) {
		s.want(s.do("DELETE", "/v1/shelves/1/books/1", ""), 200)
	})
	t.Run("no answer", func(t *testing.T) {
		if got := ofConnect(s.post("/gateway.test.v1.Library/GetBook", "application/proto", "")); got.code != codes.Unknown {
			t.Errorf("Connect: %v", got)
		}
		_, err := testpb.NewLibraryClient(s.dial()).GetBook(bounded(t), &testpb.GetBookRequest{})
		if status.Code(err) != codes.Unknown {
			t.Errorf("gRPC: %v", err)
		}
	})
	t.Run("left behind", func(t *testing.T) {
		for range 20 {
			_, err := testpb.NewLibraryClient(s.dial()).ListBooks(bounded(t), &testpb.ListBooksRequest{})
			if code := status.Code(err); code != codes.OK && code != codes.Canceled && code != codes.Unknown && code != codes.NotFound {
				t.Errorf("gRPC: %v", err)
			}
		}
	})
	t.Run("early answer", func(t *testing.T) {
		if got := s.do("PATCH", "/v1/shelves/1/books/1", `{"title":"x"}`); got.status != http.StatusAccepted || got.body != "early" {
			t.Errorf("REST: %s", got)
		}
		_, err := testpb.NewLibraryClient(s.dial()).UpdateBook(bounded(t), &testpb.UpdateBookRequest{})
		if status.Code(err) != codes.Unknown {
			t.Errorf("gRPC: %v", err)
		}
	})
}

// The client leaves, and the handler with it, while the call still runs. The gateway waits for it.
func TestPolicyThatLeavesTheCallBehind(t *testing.T) {
	backend, s := startPoliced(t, "with * {\n probe left leave\n}")
	in, out := seen("left")
	ctx, cancel := context.WithCancel(bounded(t))
	done := make(chan answer, 1)
	go func() { done <- s.doContext(ctx, "GET", "/v1/echo/x?script.delay=15s", "") }()
	// Server reflection is in flight, too.
	eventually(t, "the call runs", func() bool { n, _ := seen("left"); return n > in && backend.InFlight() > 0 })
	cancel()
	<-done
	eventually(t, "the handler has left", func() bool { _, n := seen("left"); return n > out })
	eventually(t, "the call has ended", func() bool { return backend.InFlight() == 0 })
	s.want(s.get("/v1/echo/x"), 200)
}

// A panic is Caddy's business, but the log must not say that all is well.
func TestPanicOfAPolicyIsNoSuccess(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	path := filepath.Join(s.dir, "access.json")
	s.load("", "log {\n output file "+path+"\n}\ngrpc_gateway "+backend.Addr()+" {\n with */GetBook {\n probe p panic\n }\n}")
	s.want(s.get("/v1/echo/x"), 200)
	if got := s.get("/v1/shelves/1/books/1"); got.status != 0 && got.status != 500 {
		t.Errorf("got %s", got)
	}
	eventually(t, "the request is in the log", func() bool {
		raw, _ := os.ReadFile(path)
		return strings.Contains(string(raw), `"grpc_code":"UNKNOWN"`)
	})
	s.want(s.get("/v1/echo/x"), 200)
}

func TestPatternOfAPolicyThatMatchesNothing(t *testing.T) {
	_, s := startPoliced(t, "with */Unary grpc.health.v1.Health gateway.test.v1.Ehco {\n error 403\n}")
	var views []module.HandlerView
	s.ask("/grpc_gateway/routes", &views)
	var problems []string
	for _, p := range views[0].Problems {
		problems = append(problems, p.Reason)
	}
	if len(problems) != 1 || problems[0] != `with: pattern "gateway.test.v1.Ehco" matches no method of any upstream` {
		t.Errorf("problems: %q", problems)
	}
}

// Some servers find methods without regard to case. If no schema says how a name is spelt, a policy
// holds for every spelling.
func TestPolicyForMethodsThatNoSchemaDescribes(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithReflection(false, false),
		testkit.WithServerOptions(grpc.UnknownServiceHandler(func(_ any, ss grpc.ServerStream) error {
			return ss.SendMsg(&testpb.EchoResponse{Text: "unknown"})
		})))
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\twith any.Admin */Delete* {\n\t\terror 403\n\t}\n}")
	cc := s.dial()
	for path, want := range map[string]codes.Code{
		"/any.Service/Method":  codes.OK,
		"/any.Admin/Method":    codes.PermissionDenied,
		"/ANY.admin/Method":    codes.PermissionDenied,
		"/any.Service/Delete":  codes.PermissionDenied,
		"/any.Service/deleteX": codes.PermissionDenied,
	} {
		if err := cc.Invoke(bounded(t), path, &testpb.EchoRequest{}, &testpb.EchoResponse{}); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
