//go:build !nomcp

package module_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// agent is a client of MCP: the one of the official SDK.
type agent struct {
	t       testing.TB
	session *mcp.ClientSession
}

// withHeaders adds headers to each request.
type withHeaders struct {
	http.RoundTripper

	headers []string
}

func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for i := 0; i < len(w.headers); i += 2 {
		r.Header.Set(w.headers[i], w.headers[i+1])
	}
	return w.RoundTripper.RoundTrip(r)
}

// agent connects to /mcp with a revision of the protocol. "" is the newest one.
func (s *site) agent(revision string, headers ...string) *agent {
	s.t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(bounded(s.t), &mcp.StreamableClientTransport{
		Endpoint: "http://" + s.addr + "/mcp", MaxRetries: -1, DisableStandaloneSSE: true,
		HTTPClient: &http.Client{Transport: withHeaders{s.client.Transport, headers}},
	}, &mcp.ClientSessionOptions{ProtocolVersion: revision})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = session.Close() })
	return &agent{s.t, session}
}

// tools are those that are listed, by name.
func (a *agent) tools() map[string]*mcp.Tool {
	a.t.Helper()
	out := make(map[string]*mcp.Tool)
	for t, err := range a.session.Tools(bounded(a.t), nil) {
		if err != nil {
			a.t.Fatal(err)
		}
		out[t.Name] = t
	}
	return out
}

// names are the names of the tools, sorted.
func (a *agent) names() string {
	a.t.Helper()
	return strings.Join(slices.Sorted(maps.Keys(a.tools())), " ")
}

// called is the result of a tool.
type called struct {
	failed     bool
	text       string
	structured map[string]any
}

// call calls a tool.
func (a *agent) call(tool string, arguments any) called {
	a.t.Helper()
	if text, ok := arguments.(string); ok {
		arguments = json.RawMessage(text)
	}
	got, err := a.session.CallTool(bounded(a.t), &mcp.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		a.t.Fatalf("%s: %v", tool, err)
	}
	out := called{failed: got.IsError}
	if len(got.Content) > 0 {
		out.text = got.Content[0].(*mcp.TextContent).Text
	}
	out.structured, _ = got.StructuredContent.(map[string]any)
	return out
}

// status is the google.rpc.Status of a tool call that has failed.
func (c called) status() string {
	var st struct {
		Code    int
		Message string
	}
	if !c.failed || json.Unmarshal([]byte(c.text), &st) != nil {
		return fmt.Sprintf("%+v", c)
	}
	return fmt.Sprintf("%d %s", st.Code, st.Message)
}

// TestMCP lists tools and calls them, with each revision of the protocol.
func TestMCP(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp {\n\t\tinstructions \"Use it well.\"\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for _, revision := range []string{"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"} {
		t.Run(revision, func(t *testing.T) {
			a := s.agent(revision)
			a.t = t
			if got := a.session.InitializeResult(); got.ProtocolVersion != revision || got.Instructions != "Use it well." {
				t.Errorf("initialised: %+v", got)
			}
			const want = "Echo_Download Echo_ServerStream Echo_Unary Library_GetBook Library_ListBooks"
			if got := a.names(); got != want {
				t.Errorf("the tools are %s, want %s", got, want)
			}
			got := a.call("Echo_Unary", `{"text":"hello","big":"12345678901"}`)
			request, _ := got.structured["request"].(map[string]any)
			if got.failed || got.structured["text"] != "hello" || request["big"] != "12345678901" {
				t.Errorf("got %+v", got)
			}
			var text map[string]any
			if err := json.Unmarshal([]byte(got.text), &text); err != nil || text["text"] != "hello" {
				t.Errorf("the text is %s", got.text)
			}
			if got := a.call("Echo_Unary", nil); got.failed {
				t.Errorf("without arguments: %+v", got)
			}
			_, err := a.session.CallTool(bounded(t), &mcp.CallToolParams{Name: "Echo_Bidi"})
			if err == nil || !strings.Contains(err.Error(), `unknown tool "Echo_Bidi"`) {
				t.Errorf("a method that is no tool: %v", err)
			}
		})
	}
}

// TestMCPHints tells agents what a call may do.
func TestMCPHints(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp {\n\t\ttools gateway.test.v1.Library\n\t\ttool gateway.test.v1.Echo/Unary as echo {\n\t\t\tdescription \"Says it again.\"\n\t\t}\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	tools := s.agent("").tools()
	for name, want := range map[string]struct{ readOnly, idempotent, destructive bool }{
		"Library_GetBook":    {readOnly: true, idempotent: true},
		"Library_ListBooks":  {readOnly: true, idempotent: true},
		"Library_CreateBook": {destructive: true},
		"Library_UpdateBook": {idempotent: true, destructive: true},
		"Library_DeleteBook": {destructive: true},
		"echo":               {readOnly: true, idempotent: true},
	} {
		tool := tools[name]
		if tool == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		hints := tool.Annotations
		if hints.ReadOnlyHint != want.readOnly || hints.IdempotentHint != want.idempotent || *hints.DestructiveHint != want.destructive {
			t.Errorf("%s: %+v, want %+v", name, hints, want)
		}
	}
	if len(tools) != 6 || tools["echo"].Description != "Says it again." || tools["Library_GetBook"].Description != "Calls gateway.test.v1.Library/GetBook." {
		t.Errorf("the tools are %v", slices.Collect(maps.Keys(tools)))
	}
}

// TestMCPErrors returns a google.rpc.Status, which the model can read.
func TestMCPErrors(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmax_request_size 2KiB\n\ttimeout 300ms\n\tmcp /mcp\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	a := s.agent("")
	for name, tt := range map[string]struct{ arguments, want string }{
		"of the service":   {`{"script":{"failCode":9,"failMessage":"not now"}}`, "9 not now"},
		"unknown field":    {`{"nothing":1}`, `3 request message: nothing: unknown field in gateway.test.v1.EchoRequest`},
		"a list":           {`[1]`, `3 request message: expected an object, got [`},
		"deadline":         {`{"script":{"delay":"5s"}}`, "4 the deadline of the call passed"},
		"details are kept": {`{"script":{"failCode":3,"failMessage":"bad","failBadRequest":true}}`, "3 bad"},
	} {
		got := a.call("Echo_Unary", tt.arguments)
		if code, _, _ := strings.Cut(tt.want, " "); !strings.HasPrefix(got.status(), code+" ") {
			t.Errorf("%s: %s, want %s", name, got.status(), tt.want)
		}
		if got.structured != nil {
			t.Errorf("%s: an error has a result: %+v", name, got)
		}
		if name == "details are kept" && !strings.Contains(got.text, `"@type":"type.googleapis.com/google.rpc.BadRequest"`) {
			t.Errorf("%s: %s", name, got.text)
		}
	}
	_, err := a.session.CallTool(bounded(t), &mcp.CallToolParams{Name: "Echo_Unary", Arguments: map[string]string{"text": strings.Repeat("x", 3<<10)}})
	if err == nil || !strings.Contains(err.Error(), "Request Entity Too Large") && !strings.Contains(err.Error(), "2048 bytes") {
		t.Errorf("a large request: %v", err)
	}
}

// TestMCPIsAnOrdinaryCall passes through everything that other calls pass through.
func TestMCPIsAnOrdinaryCall(t *testing.T) {
	backend := testkit.StartBackend(t, testkit.WithRules())
	s := newSite(t)
	access := filepath.Join(s.dir, "access.json")
	s.load("", `log {
		output file `+access+`
	}
	grpc_gateway {
		upstream tooled {
			discover static `+backend.Addr()+`
		}
		hide */ListBooks
		validate on
		timeout 4s
		metadata {
			request authorization
			request x-kept
			request mcp-name
			request x-policy
			response x-made as x-shown
		}
		with */Unary {
			@denied header X-Deny *
			respond @denied "no" 403
			@odd vars {http.request.uri.path} /other
			error @odd 500
			request_header X-Policy {http.grpc_gateway.protocol}:{http.request.uri.path}
		}
		with */GetBook {
			basic_auth {
				alice $2a$04$OdBcF26S1MT2tH.XFRdYKO4Il797ojAWMM/vgNKg7VYe420Zttq2m
			}
		}
		mcp /mcp
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	const of = `method="Unary",protocol="mcp",service="gateway.test.v1.Echo",upstream="tooled"`
	before := s.metric(`requests_total{code="OK",` + of + `}`)
	a := s.agent("", "Authorization", "Bearer secret", "X-Kept", "yes", "X-Dropped", "no", "Grpc-Timeout", "2S")

	t.Run("metadata, policy and deadline", func(t *testing.T) {
		got := a.call("Echo_Unary", `{"text":"x","script":{"headers":{"x-made":"1"}}}`)
		md, _ := got.structured["metadata"].(map[string]any)
		if got.failed || md["authorization"] != "Bearer secret" || md["x-kept"] != "yes" || md["x-dropped"] != nil || md["mcp-name"] != nil {
			t.Errorf("metadata %v in %+v", md, got)
		}
		if md["x-policy"] != "mcp:/gateway.test.v1.Echo/Unary" {
			t.Errorf("the policy has seen %v", md["x-policy"])
		}
		if ms, _ := got.structured["deadlineMs"].(string); ms == "" || len(ms) > 4 || ms > "2000" && len(ms) == 4 {
			t.Errorf("the deadline is in %v ms", got.structured["deadlineMs"])
		}
	})
	t.Run("hidden", func(t *testing.T) {
		if got := a.names(); got != "Echo_Download Echo_ServerStream Echo_Unary Library_GetBook" {
			t.Errorf("the tools are %s", got)
		}
	})
	t.Run("validated", func(t *testing.T) {
		if got := a.call("Echo_Unary", wrongJSON); got.status() != "3 "+wrongMessage {
			t.Errorf("got %s", got.status())
		}
	})
	t.Run("refused by a policy", func(t *testing.T) {
		if got := s.agent("", "X-Deny", "1").call("Echo_Unary", nil); got.status() != "7 Forbidden" {
			t.Errorf("got %s", got.status())
		}
	})
	t.Run("authenticated by a policy", func(t *testing.T) {
		if got := a.call("Library_GetBook", `{"name":"shelves/1/books/1"}`); got.status() != "16 Unauthorized" {
			t.Errorf("got %s", got.status())
		}
		req, _ := http.NewRequest(http.MethodGet, "http://x", nil)
		req.SetBasicAuth("alice", "wonderland")
		got := s.agent("", "Authorization", req.Header.Get("Authorization")).call("Library_GetBook", `{"name":"shelves/1/books/1"}`)
		if strings.HasPrefix(got.status(), "16 ") {
			t.Errorf("got %s", got.status())
		}
	})
	t.Run("counted", func(t *testing.T) {
		if n := s.metric(`requests_total{code="OK",`+of+`}`) - before; n != 1 {
			t.Errorf("%v calls are counted", n)
		}
		if n := s.metric(`requests_total{code="PERMISSION_DENIED",` + of + `}`); n < 1 {
			t.Errorf("%v refusals are counted", n)
		}
	})
	t.Run("logged", func(t *testing.T) {
		eventually(t, "a line of the access log", func() bool {
			raw, _ := os.ReadFile(access)
			for line := range strings.SplitSeq(string(raw), "\n") {
				if strings.Contains(line, `"uri":"/mcp"`) && strings.Contains(line, `"grpc_method":"gateway.test.v1.Echo/Unary"`) &&
					strings.Contains(line, `"grpc_code":"OK"`) && strings.Contains(line, `"grpc_endpoint":"`+backend.Addr()) {
					return true
				}
			}
			return false
		})
	})
	t.Run("the metadata of the answer is in the header", func(t *testing.T) {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Echo_Unary","arguments":{"script":{"headers":{"x-made":"1"}}}}}`
		got := s.want(s.post("/mcp", "application/json", body, "Accept", "application/json, text/event-stream"), http.StatusOK)
		if got.header.Get("X-Shown") != "1" || got.header.Get("X-Made") != "" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("the header is %v", got.header)
		}
	})
}

// TestMCPStreams collects the messages of a stream up to the limits.
func TestMCPStreams(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp {\n\t\tstream 5 8KiB 700ms\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	a := s.agent("")
	for name, tt := range map[string]struct {
		arguments string
		least     int // messages
		most      int
		truncated bool
	}{
		"short":     {`{"count":3}`, 3, 3, false},
		"none":      {`{}`, 0, 0, false},
		"exactly":   {`{"count":5}`, 5, 5, false},
		"too many":  {`{"count":1000000}`, 5, 5, true},
		"too large": {`{"count":1000000,"script":{"filler":3000}}`, 2, 2, true},
		"too slow":  {`{"count":4,"script":{"interval":"20s"}}`, 1, 1, true},
		"endless":   {`{"count":1000000,"script":{"interval":"0.150s"}}`, 2, 5, true},
		"silent":    {`{"count":1,"script":{"delay":"20s"}}`, 0, 0, true},
		"hesitant":  {`{"count":5,"script":{"interval":"0.010s"}}`, 5, 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.call("Echo_ServerStream", tt.arguments)
			messages, ok := got.structured["messages"].([]any)
			if got.failed || !ok || len(messages) < tt.least || len(messages) > tt.most || got.structured["truncated"] != tt.truncated {
				t.Errorf("%d messages, truncated %v, want %d to %d and %v; failed: %v", len(messages), got.structured["truncated"], tt.least, tt.most, tt.truncated, got.failed)
			}
		})
	}
	t.Run("failing", func(t *testing.T) {
		if got := a.call("Echo_ServerStream", `{"count":9,"script":{"failCode":5,"failMessage":"gone","failAfter":2}}`); got.status() != "5 gone" {
			t.Errorf("got %s", got.status())
		}
	})
	eventually(t, "no call is left", func() bool { return backend.InFlight() == 0 })
}

// TestMCPClientLeaves cancels the call of a client that leaves, with each revision.
func TestMCPClientLeaves(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\ttimeout off\n\tmcp /mcp {\n\t\tstream 10 1MiB 1h\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	for _, protocol := range []string{"h1", "h2"} {
		for _, revision := range []string{"2025-06-18", "2026-07-28"} {
			for _, tool := range []string{"Echo_Unary", "Echo_ServerStream"} {
				t.Run(protocol+" "+revision+" "+tool, func(t *testing.T) {
					meta := `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + revision + `","io.modelcontextprotocol/clientInfo":{"name":"a","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
					if revision < "2026" {
						meta = ""
					}
					body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"count":1,"script":{"delay":"3600s"}}` + meta + `}}`
					req, err := http.NewRequestWithContext(bounded(t), http.MethodPost, "http://"+s.addr+"/mcp", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					for _, h := range [][2]string{
						{"Content-Type", "application/json"}, {"Accept", "application/json, text/event-stream"},
						{"Mcp-Protocol-Version", revision}, {"Mcp-Method", "tools/call"}, {"Mcp-Name", tool},
					} {
						req.Header.Set(h[0], h[1])
					}
					ctx, cancel := context.WithCancel(req.Context())
					client := s.client
					if protocol == "h1" {
						transport := new(http.Transport)
						defer transport.CloseIdleConnections()
						client = &http.Client{Transport: transport}
					}
					done := make(chan struct{})
					go func() {
						defer close(done)
						if resp, err := client.Do(req.WithContext(ctx)); err == nil {
							resp.Body.Close()
							t.Errorf("got %s", resp.Status)
						}
					}()
					eventually(t, "the call has begun", func() bool { return backend.InFlight() == 1 })
					cancel()
					<-done
					eventually(t, "the call is cancelled", func() bool { return backend.InFlight() == 0 })
				})
			}
		}
	}
}

// TestMCPSearch offers three tools in place of many.
func TestMCPSearch(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmcp /mcp {\n\t\ttools gateway.test.v1.*\n\t\tsearch on\n\t}\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	a := s.agent("")
	if got := a.names(); got != "call_method describe_method search_methods" {
		t.Errorf("the tools are %s", got)
	}
	found := func(arguments string) string {
		got := a.call("search_methods", arguments)
		methods, _ := got.structured["methods"].([]any)
		names := make([]string, 0, len(methods))
		for _, m := range methods {
			names = append(names, m.(map[string]any)["name"].(string))
		}
		return fmt.Sprint(got.structured["total"], names)
	}
	for arguments, want := range map[string]string{
		`{"query":"get a book"}`:            "5 [Library_GetBook Library_CreateBook Library_DeleteBook Library_UpdateBook Library_ListBooks]",
		`{"query":"DeleteBook"}`:            "5 [Library_DeleteBook Library_CreateBook Library_GetBook Library_UpdateBook Library_ListBooks]",
		`{"query":"weather"}`:               "0 []",
		`{"query":"","limit":2}`:            "9 [Echo_Download Echo_ServerStream]",
		`{"query":"","limit":2,"offset":8}`: "9 [Library_UpdateBook]",
		`{"query":"","offset":99}`:          "9 []",
	} {
		if got := found(arguments); got != want {
			t.Errorf("%s finds %s, want %s", arguments, got, want)
		}
	}
	got := a.call("describe_method", `{"name":"Echo_Unary"}`)
	if schema, _ := got.structured["inputSchema"].(map[string]any); schema["type"] != "object" || got.structured["outputSchema"] == nil {
		t.Errorf("described as %+v", got)
	}
	if got := a.call("call_method", `{"name":"Echo_Unary","arguments":{"text":"found"}}`); got.structured["text"] != "found" {
		t.Errorf("got %+v", got)
	}
	if _, err := a.session.CallTool(bounded(t), &mcp.CallToolParams{Name: "call_method", Arguments: map[string]string{"name": "Echo_Bidi"}}); err == nil {
		t.Error("a method that is no tool was called")
	}
}

// TestMCPOrigin refuses pages of other sites, and pages that pretend to be of this computer.
func TestMCPOrigin(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	_, port, _ := strings.Cut(s.addr, ":")
	// The site answers for any host, as one for a port alone does.
	config := strings.Replace(s.caddyfile("", "grpc_gateway "+backend.Addr()+" {\n\tcors https://app.example.com\n\tmcp /mcp\n}"), "http://"+s.addr, "http://:"+port, 1)
	if err := caddy.Load(adapt(t, config), true); err != nil {
		t.Fatal(err)
	}
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for name, tt := range map[string]struct {
		host    string
		headers []string
		status  int
	}{
		"no browser":           {s.addr, nil, http.StatusOK},
		"behind a tunnel":      {"api.example.com", nil, http.StatusOK},
		"its own page":         {s.addr, []string{"Origin", "http://" + s.addr}, http.StatusOK},
		"a listed page":        {s.addr, []string{"Origin", "https://app.example.com"}, http.StatusOK},
		"another page":         {s.addr, []string{"Origin", "https://evil.example.com"}, http.StatusForbidden},
		"another site":         {s.addr, []string{"Origin", "https://evil.example.com", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
		"rebound":              {"evil.example.com:" + port, []string{"Origin", "http://evil.example.com:" + port}, http.StatusForbidden},
		"rebound, new browser": {"evil.example.com", []string{"Origin", "http://evil.example.com", "Sec-Fetch-Site", "same-origin"}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(bounded(t), http.MethodPost, "http://"+s.addr+"/mcp", strings.NewReader(list))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			for i := 0; i < len(tt.headers); i += 2 {
				req.Header.Set(tt.headers[i], tt.headers[i+1])
			}
			got := send(s.client, req)
			if got.status != tt.status {
				t.Errorf("got %s, want %d", got, tt.status)
			}
			if listed := strings.Contains(name, "listed"); listed != (got.header.Get("Access-Control-Allow-Origin") == "https://app.example.com") {
				t.Errorf("the header is %v", got.header)
			}
		})
	}
	t.Run("preflight", func(t *testing.T) {
		got := s.fetch(http.MethodOptions, "/mcp", "Origin", "https://app.example.com", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "mcp-protocol-version")
		if !got.is(http.StatusNoContent) || got.Header.Get("Access-Control-Allow-Methods") != "POST" || got.Header.Get("Access-Control-Allow-Headers") != "mcp-protocol-version" {
			t.Errorf("got %s %v", got.Status, got.Header)
		}
	})
}

// TestMCPRefusals answers what is no request of MCP on the level of HTTP.
func TestMCPRefusals(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\tmax_request_size 1KiB\n\tmcp /mcp\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	if got := s.get("/mcp"); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %s %v", got, got.header)
	}
	const batch = ` [{"jsonrpc":"2.0","id":1,"method":"tools/list"}]`
	for _, c := range []struct {
		body string
		want int
	}{
		{"", http.StatusBadRequest},
		{"nope", http.StatusBadRequest},
		{"{}", http.StatusBadRequest},
		{"[]", http.StatusBadRequest},
		{batch, http.StatusBadRequest},
		{strings.Repeat(" ", 1025), http.StatusRequestEntityTooLarge},
	} {
		got := s.post("/mcp", "application/json", c.body, "Accept", "application/json, text/event-stream")
		if got.status != c.want {
			t.Errorf("%.20q: %s, want %d", c.body, got, c.want)
		}
	}
}

// TestMCPAuthorization asks for a token, and says where tokens come from.
func TestMCPAuthorization(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", `handle_path /api/* {
		grpc_gateway `+backend.Addr()+` {
			mcp /mcp {
				authorization_server https://idp.example.com
			}
		}
	}`)
	s.want(s.get("/api/v1/echo/x"), http.StatusOK)
	metadata := "http://" + s.addr + "/api/.well-known/oauth-protected-resource/mcp"
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	got := s.post("/api/mcp", "application/json", list, "Accept", "application/json, text/event-stream")
	if challenge := `Bearer resource_metadata="` + metadata + `"`; got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != challenge {
		t.Errorf("without a token: %s %v", got, got.header)
	}
	got = s.want(s.get("/api/.well-known/oauth-protected-resource/mcp"), http.StatusOK)
	want := `{"authorization_servers":["https://idp.example.com"],"bearer_methods_supported":["header"],"resource":"http://` + s.addr + `/api/mcp"}`
	if got.body != want || got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("the metadata is %s %v, want %s", got.body, got.header, want)
	}
	s.want(s.post("/api/mcp", "application/json", list, "Accept", "application/json, text/event-stream", "Authorization", "Bearer x"), http.StatusOK)
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Echo_Unary","arguments":{"script":{"failCode":16,"failMessage":"expired"}}}}`
	got = s.post("/api/mcp", "application/json", call, "Accept", "application/json, text/event-stream", "Authorization", "Bearer x")
	if challenge := `Bearer resource_metadata="` + metadata + `", error="invalid_token"`; got.status != http.StatusUnauthorized ||
		!slices.Contains(got.header["Www-Authenticate"], challenge) || !strings.Contains(got.body, "expired") {
		t.Errorf("with a token that does not count: %s %v", got, got.header)
	}
}

// TestMCPFollowsTheSchema changes the tools when the routes change, and keeps their names.
func TestMCPFollowsTheSchema(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	set := filepath.Join(s.dir, "api.binpb")
	protoset(t, set, nil)
	s.load("", "grpc_gateway {\n\tupstream live {\n\t\tdiscover static "+backend.Addr()+"\n\t\tdescriptors protoset "+set+"\n\t}\n\tmcp /mcp\n}")
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	a := s.agent("")
	if got := a.names(); got != "Echo_Download Echo_ServerStream Echo_Unary Library_GetBook Library_ListBooks" {
		t.Fatalf("the tools are %s", got)
	}
	protoset(t, set, func(fd *descriptorpb.FileDescriptorProto) {
		for _, service := range fd.GetService() {
			service.Method = slices.DeleteFunc(service.Method, func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == "ListBooks" })
		}
	})
	eventually(t, "the tool has gone", func() bool { return a.names() == "Echo_Download Echo_ServerStream Echo_Unary Library_GetBook" })
	if got := a.call("Echo_Unary", `{"text":"still here"}`); got.structured["text"] != "still here" {
		t.Errorf("got %+v", got)
	}
}

// TestMCPNamesNoMethod refuses tools of the config that no schema has.
func TestMCPNamesNoMethod(t *testing.T) {
	s := newSite(t)
	set := filepath.Join(s.dir, "api.binpb")
	protoset(t, set, nil)
	for options, want := range map[string]string{
		"tools */Nothing":                   `mcp: pattern "*/Nothing" matches no method of any upstream`,
		"tool gateway.test.v1.Echo/Nothing": `mcp: pattern "gateway.test.v1.Echo/Nothing" matches no method of any upstream`,
	} {
		err := s.tryLoad("", "grpc_gateway {\n\tupstream live {\n\t\tdiscover static 127.0.0.1:1\n\t\tdescriptors protoset "+set+"\n\t}\n\tmcp /mcp {\n\t\t"+options+"\n\t}\n}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// TestMCPPanics ends the request of a policy that aborts it, and nothing else.
func TestMCPPanics(t *testing.T) {
	backend := testkit.StartBackend(t)
	s := newSite(t)
	s.load("", "grpc_gateway "+backend.Addr()+" {\n\twith */Unary {\n\t\tabort\n\t}\n\tmcp /mcp\n}")
	s.want(s.get("/v1/stream/1"), http.StatusOK)
	const call = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"Echo_Unary"}}`
	if got := s.post("/mcp", "application/json", call, "Accept", "application/json, text/event-stream"); got.status > 0 {
		t.Errorf("got %s", got)
	}
	if got := s.agent("").call("Echo_ServerStream", `{"count":1}`); got.failed {
		t.Errorf("got %+v", got)
	}
}
