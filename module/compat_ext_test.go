package module_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// compatCase is a request of a client that knows the other gateway, and what it expects.
type compatCase struct {
	name, method, path, body string
	header                   string // "Name: value", several with \n between them
	status                   int
	contains                 []string // in the body
	equals                   string   // the body, "" if it does not matter
	answers                  string   // headers, "Name: value", several with \n between them
}

func runCompat(t *testing.T, s *site, cases []compatCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			got := s.callWith(tc.method, tc.path, tc.body, tc.header)
			if got.status != tc.status {
				t.Fatalf("got %s, want status %d", got, tc.status)
			}
			if tc.equals != "" && got.body != tc.equals {
				t.Errorf("got %s\nwant %s", got.body, tc.equals)
			}
			for _, part := range tc.contains {
				if !strings.Contains(got.body, part) {
					t.Errorf("%s does not have %s", got.body, part)
				}
			}
			for line := range strings.SplitSeq(tc.answers, "\n") {
				name, want, _ := strings.Cut(line, ": ")
				if value := got.header.Get(name); name != "" && value != want {
					t.Errorf("%s: %q, want %q", name, value, want)
				}
			}
		})
	}
}

// callWith is do with request headers.
func (s *site) callWith(method, path, body, header string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.SplitSeq(header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			req.Header.Add(name, value)
		}
	}
	return send(s.client, req)
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func TestCompatGRPCGateway(t *testing.T) {
	s := newSite(t)
	s.load("", "grpc_gateway "+testkit.StartBackend(t).Addr()+` {
		compat grpc-gateway
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	runCompat(t, s, []compatCase{
		{name: "null for unset messages", method: "GET", path: "/v1/echo/x", status: 200, contains: []string{`"nested":null`, `"count":0`, `"list":[]`, `"labels":{}`}},
		{name: "unknown fields", method: "POST", path: "/v1/echo", body: `{"text":"x","nope":1}`, status: 200, contains: []string{`"text":"x"`}},
		{name: "unknown parameters", method: "GET", path: "/v1/echo/x?nope=1", status: 200},
		{name: "a parameter that contradicts the path", method: "GET", path: "/v1/echo/x?text=y", status: 200, contains: []string{`"text":"x"`}},
		{name: "a bool as Python writes it", method: "GET", path: "/v1/echo/x?flag=True", status: 200, contains: []string{`"flag":true`}},
		{name: "text after the JSON", method: "POST", path: "/v1/echo", body: `{"text":"x"} {"text":"y"}`, status: 200, contains: []string{`"text":"x"`}},
		{name: "an empty number", method: "GET", path: "/v1/echo/x?count=", status: 400},
		{name: "any content type", method: "POST", path: "/v1/echo", body: `{"text":"x"}`, header: "Content-Type: text/plain", status: 200},
		{name: "what curl -d sends", method: "POST", path: "/v1/echo", body: `{"text":"x"}`, header: formType, status: 200, contains: []string{`"text":"x"`}},
		{name: "any Accept", method: "GET", path: "/v1/echo/x", header: "Accept: text/html", status: 200, answers: "Content-Type: application/json"},
		{name: "a form to a GET route", method: "POST", path: "/v1/echo/x", body: "count=3&list=a", header: formType, status: 200, contains: []string{`"count":3`, `"list":["a"]`}},
		{name: "a known path with another method", method: "DELETE", path: "/v1/echo", status: 501, contains: []string{`{"code":12,`, `"details":[]}`}},
		{name: "an unknown path", method: "GET", path: "/nowhere", status: 404, contains: []string{`{"code":5,`, `"details":[]}`}},
		{name: "a method by its name", method: "POST", path: "/gateway.test.v1.Echo/Unary", body: "{}", status: 404},
		{
			name: "an error of the service", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":5,"failMessage":"gone"}}`, status: 404,
			equals: `{"code":5,"message":"gone","details":[]}`, answers: "Grpc-Metadata-Content-Type: \nGrpc-Metadata-X-Tail: ",
		},
		{
			name: "details", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":3,"failMessage":"bad","failBadRequest":true}}`, status: 400,
			contains: []string{`{"code":3,"message":"bad","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest",`},
		},
		{name: "a stream", method: "GET", path: "/v1/stream/1", header: "Accept: application/json", status: 200, contains: []string{`{"result":{"text":""`}, answers: "Content-Type: application/json"},
		{
			name: "an error within a stream", method: "POST", path: "/v1/stream", body: `{"count":1,"script":{"failCode":5,"failMessage":"gone","failAfter":1}}`, status: 200,
			contains: []string{"}}\n" + `{"error":{"code":5,"message":"gone","details":[]}}`},
		},
		{
			name: "an error before the first message", method: "POST", path: "/v1/stream", body: `{"script":{"failCode":5,"failMessage":"gone"}}`, status: 404,
			equals: `{"error":{"code":5,"message":"gone","details":[]}}`, answers: "Content-Type: application/json",
		},
		{name: "a request that makes no stream", method: "GET", path: "/v1/stream/x", status: 400, contains: []string{`{"code":3,`, `"details":[]}`}},
		{
			name: "response metadata", method: "POST", path: "/v1/echo", body: `{"script":{"headers":{"x-head":"h"},"trailers":{"x-tail":"t"}}}`, status: 200,
			answers: "Grpc-Metadata-X-Head: h\nX-Head: \nGrpc-Trailer-X-Tail: ",
		},
	})
	t.Run("request headers", func(t *testing.T) {
		got := s.want(s.callWith("GET", "/v1/echo/x", "", strings.Join([]string{
			"Authorization: Bearer t", "Cookie: a=b", "Accept: */*", "Referer: r", "Grpc-Metadata-Tenant: acme", "X-Other: o",
			"Grpcgateway-Cookie: forged", "Grpc-Metadata-Grpcgateway-Cookie: forged", "Grpc-Metadata-X-Forwarded-For: 6.6.6.6",
			"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		}, "\n")), http.StatusOK)
		wantMetadata(t, got, map[string]string{
			"authorization": "Bearer t", "grpcgateway-authorization": "Bearer t", "grpcgateway-cookie": "a=b", "grpcgateway-accept": "*/*",
			"grpcgateway-referer": "r", "tenant": "acme", "x-forwarded-for": "127.0.0.1",
			"cookie": "", "x-other": "", "traceparent": "", "grpc-metadata-tenant": "",
		})
	})
	t.Run("no deadline", func(t *testing.T) {
		if got := s.want(s.get("/v1/echo/x"), http.StatusOK).field("deadlineMs"); got != "0" {
			t.Errorf("deadlineMs is %v", got)
		}
	})
	t.Run("a deadline of the client", func(t *testing.T) {
		got, _ := s.want(s.callWith("GET", "/v1/echo/x", "", "Grpc-Timeout: 9S"), http.StatusOK).field("deadlineMs").(string)
		if len(got) != 4 || got > "9000" {
			t.Errorf("deadlineMs is %v, want 9000 at most", got)
		}
		s.want(s.callWith("GET", "/v1/echo/x", "", "Grpc-Timeout: soon"), http.StatusBadRequest)
	})
	t.Run("trailers", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/v1/echo", strings.NewReader(`{"script":{"trailers":{"x-tail":"t"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("TE", "trailers")
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		if got := resp.Trailer.Get("Grpc-Trailer-X-Tail"); got != "t" {
			t.Errorf("trailers are %v", resp.Trailer)
		}
	})
	t.Run("pages of other sites", func(t *testing.T) {
		for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
			for _, path := range []string{"/v1/echo", "/v1/echo/x"} {
				got := s.callWith("POST", path, `{"text":"x"}`, "Content-Type: "+contentType+"\nOrigin: https://evil.example\nSec-Fetch-Site: cross-site")
				s.want(got, http.StatusForbidden)
			}
		}
	})
}

// wantMetadata fails the test unless the service saw this metadata. "" is none.
func wantMetadata(t *testing.T, got answer, want map[string]string) {
	t.Helper()
	seen, _ := got.field("metadata").(map[string]any)
	for name, value := range want {
		if v, _ := seen[name].(string); v != value {
			t.Errorf("%s: %q, want %q", name, v, value)
		}
	}
}

func TestCompatGoZero(t *testing.T) {
	s := newSite(t)
	s.load("", "grpc_gateway "+testkit.StartBackend(t).Addr()+` {
		compat go-zero
		route POST /mapped/{text} gateway.test.v1.Echo/Unary
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	runCompat(t, s, []compatCase{
		{name: "null for unset messages", method: "GET", path: "/v1/echo/x", status: 200, contains: []string{`"nested":null`, `"count":0`}},
		{name: "unknown fields and parameters", method: "POST", path: "/v1/echo?nope=1", body: `{"nope":1}`, status: 200},
		{name: "query and body", method: "POST", path: "/v1/echo?count=2", body: `{"text":"x","count":1}`, status: 200, contains: []string{`"text":"x"`, `"count":2`}},
		{name: "the path wins", method: "POST", path: "/mapped/p?text=q", body: `{"text":"b","count":1}`, status: 200, contains: []string{`"text":"p"`, `"count":1`}},
		{name: "an empty parameter beside the body", method: "POST", path: "/v1/echo?text=", body: `{"text":"x"}`, status: 200, contains: []string{`"text":"x"`}},
		{name: "a parameter given twice", method: "GET", path: "/v1/echo?count=1&count=2", status: 200, contains: []string{`"count":2`}},
		{name: "Grpc-Timeout", method: "GET", path: "/v1/echo/x", header: "Grpc-Timeout: 1500ms\nX-Request-Timeout: soon", status: 200},
		{name: "an empty parameter", method: "GET", path: "/v1/echo/x?count=&flag=", status: 200, contains: []string{`"count":0`}},
		{name: "a form", method: "POST", path: "/v1/echo", body: "text=x&list=a&list=b&nope=1", header: formType, status: 200, contains: []string{`"text":"x"`, `"list":["a","b"]`}},
		{name: "a form with several values", method: "POST", path: "/v1/echo?count=3", body: "text=x&text=y&text=&count=2", header: formType, status: 200, contains: []string{`"text":"y"`, `"count":3`}},
		{name: "any content type", method: "POST", path: "/v1/echo", body: `{"text":"x"}`, header: "Content-Type: text/plain", status: 200},
		{
			name: "an error", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":5,"failMessage":"no <user> 7"}}`, status: 404,
			equals: "rpc error: code = NotFound desc = no <user> 7", answers: "Content-Type: text/plain; charset=utf-8\nX-Content-Type-Options: nosniff",
		},
		{name: "cancelled", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":1,"failMessage":"stop"}}`, status: 408, equals: "rpc error: code = Canceled desc = stop"},
		{name: "an unknown code", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":99,"failMessage":"odd"}}`, status: 500, equals: "rpc error: code = Code(99) desc = odd"},
		{name: "an unknown path", method: "GET", path: "/nowhere", status: 404, equals: "404 page not found", answers: "Content-Type: text/plain; charset=utf-8"},
		{name: "another method", method: "DELETE", path: "/v1/echo/x", status: 405, answers: "Content-Type: \nContent-Length: 0"},
		{name: "a method by its name", method: "POST", path: "/gateway.test.v1.Echo/Unary", body: "{}", status: 404},
		{
			name: "response metadata", method: "POST", path: "/v1/echo", body: `{"script":{"headers":{"x-head":"h"},"trailers":{"x-tail":"t"}}}`, status: 200,
			answers: "Grpc-Metadata-X-Head: h\nGrpc-Trailer-X-Tail: t\nX-Head: ",
		},
		{
			name: "response metadata of an error", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":5,"trailers":{"x-tail":"t"}}}`, status: 404,
			answers: "Grpc-Trailer-X-Tail: t",
		},
	})
	t.Run("request headers", func(t *testing.T) {
		const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		got := s.want(s.callWith("GET", "/v1/echo/x", "", strings.Join([]string{
			"Authorization: Bearer t", "Grpc-Metadata-Tenant: acme", "Traceparent: " + traceparent, "Tracestate: a=b", "Baggage: c=d",
		}, "\n")), http.StatusOK)
		wantMetadata(t, got, map[string]string{
			"gateway-tenant": "acme", "traceparent": traceparent, "tracestate": "a=b", "baggage": "c=d", "authorization": "", "tenant": "",
		})
	})
	t.Run("deadline", func(t *testing.T) {
		got, _ := s.want(s.get("/v1/echo/x"), http.StatusOK).field("deadlineMs").(string)
		if len(got) != 4 || got > "2000" {
			t.Errorf("deadlineMs is %v, want 2000 at most", got)
		}
	})
}

// TestCompatIsOverridden sets every option of a bundle to something else.
func TestCompatIsOverridden(t *testing.T) {
	s := newSite(t)
	s.load("", "grpc_gateway "+testkit.StartBackend(t).Addr()+` {
		compat grpc-gateway
		rpc on
		timeout 7s
		query reject_unknown
		negotiation strict
		form_query off
		json {
			emit_unpopulated off
			discard_unknown off
			discard_trailing off
		}
		answers {
			empty_details off
			refusals precise
		}
		stream {
			lines bare
		}
		metadata {
			request +x-tenant
			request -cookie
			response x-head
		}
	}`)
	s.want(s.get("/v1/echo/x"), http.StatusOK)
	runCompat(t, s, []compatCase{
		{name: "rpc", method: "POST", path: "/gateway.test.v1.Echo/Unary", body: "{}", header: "Content-Type: application/json", status: 200},
		{name: "query", method: "GET", path: "/v1/echo/x?nope=1", status: 400},
		{name: "negotiation", method: "POST", path: "/v1/echo", body: "{}", header: "Content-Type: text/plain", status: 415},
		{name: "form_query and refusals", method: "POST", path: "/v1/echo/x", body: "count=3", header: formType, status: 405},
		{name: "discard_unknown", method: "POST", path: "/v1/echo", body: `{"nope":1}`, status: 400},
		{name: "discard_trailing", method: "POST", path: "/v1/echo", body: `{} x`, status: 400},
		{name: "emit_unpopulated", method: "GET", path: "/v1/echo", status: 200, answers: "Grpc-Metadata-Content-Type: "},
		{name: "empty_details", method: "POST", path: "/v1/echo", body: `{"script":{"failCode":5,"failMessage":"gone"}}`, status: 404, equals: `{"code":5,"message":"gone"}`},
		{name: "lines", method: "GET", path: "/v1/stream/1", status: 200, answers: "Content-Type: application/x-ndjson"},
		{name: "response rules", method: "POST", path: "/v1/echo", body: `{"script":{"headers":{"x-head":"h","x-other":"o"}}}`, status: 200, answers: "X-Head: h\nGrpc-Metadata-X-Head: \nGrpc-Metadata-X-Other: "},
	})
	got := s.want(s.callWith("GET", "/v1/echo/x", "", "X-Tenant: acme\nCookie: a=b\nAuthorization: t"), http.StatusOK)
	if strings.Contains(got.body, "null") {
		t.Errorf("null is written: %s", got)
	}
	wantMetadata(t, got, map[string]string{"x-tenant": "acme", "grpcgateway-cookie": "", "grpcgateway-authorization": "t"})
}

func TestCompatIsChecked(t *testing.T) {
	s := newSite(t)
	for _, tc := range []struct{ name, options, want string }{
		{"compat", `"compat":"envoy"`, `compat "envoy": expected grpc-gateway or go-zero`},
		{"query", `"query":"loose"`, `query "loose": expected reject_unknown, ignore_unknown or lenient`},
		{"request_body", `"request_body":"*"`, `request_body "*": expected by_route or message`},
		{"client_timeout", `"client_timeout":"off"`, `client_timeout "off": expected obey or ignore`},
		{"negotiation", `"negotiation":"any"`, `negotiation "any": expected strict or lenient`},
		{"lines", `"stream":{"lines":"sse"}`, `stream: lines "sse": expected bare or result`},
		{"refusals", `"answers":{"refusals":"none"}`, `answers: refusals "none": expected precise or by_code`},
		{"trailers_as", `"metadata":{"trailers_as":"x"}`, `metadata trailers_as "x": expected trailers or headers`},
		{"trailer", `"metadata":{"trailer":[{"match":"*","as":"grpc-*"}]}`, `metadata trailer: metadata rule "*": "grpc-*" belongs to the protocol`},
		{"several names", `"metadata":{"request":[{"match":"x","as":"a te"}]}`, `metadata request: metadata rule "x": "te" belongs to the protocol`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := strings.Replace(string(adapt(t, s.caddyfile("", "grpc_gateway 127.0.0.1:1"))),
				`"handler":"grpc_gateway"`, `"handler":"grpc_gateway",`+tc.options, 1)
			if err := caddy.Load([]byte(config), true); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
