package httpe2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// seen is the request metadata that the backend saw.
func (a answer) seen(t testing.TB) map[string]string {
	t.Helper()
	var echo struct{ Metadata map[string]string }
	if err := json.Unmarshal([]byte(a.body), &echo); err != nil || a.StatusCode != http.StatusOK {
		t.Fatalf("%v in %s", err, a)
	}
	return echo.Metadata
}

func TestMetadata(t *testing.T) {
	w := newWorld(t, `
	@rules header X-Site rules
	handle @rules {
		grpc_gateway echo {
			metadata {
				request +accept-language
				request -x-secret*
				request +grpc-metadata-* *
				response x-*
			}
		}
	}
	handle {
		grpc_gateway echo
	}`)
	w.eachVersion(t, func(t *testing.T, c *client) {
		t.Run("request headers become metadata", func(t *testing.T) { provesRequestMetadata(t, c) })
		t.Run("X-Forwarded-For, -Host, -Proto", func(t *testing.T) {
			md := c.do("GET", "/v1/echo", nil, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https").seen(t)
			for key, want := range map[string]string{"x-forwarded-for": "127.0.0.1", "x-forwarded-host": w.Listen, "x-forwarded-proto": "http"} {
				if md[key] != want {
					t.Errorf("%s: %q, want %q: the claims of anyone count for nothing", key, md[key], want)
				}
			}
		})
		t.Run("rules", func(t *testing.T) {
			a := c.do("POST", "/v1/echo", []byte(`{"script":{"headers":{"x-a":"1","other":"2"}}}`), "X-Site: rules", "Accept-Language: de", "X-Secret-Key: 1", "Grpc-Metadata-Tenant: t")
			md := a.seen(t)
			if md["accept-language"] != "de" || md["x-secret-key"] != "" || md["tenant"] != "t" || a.Header.Get("X-A") != "1" || a.Header.Get("Other") != "" {
				t.Errorf("metadata %v, answer %s", md, a)
			}
		})
	})
	const script = `"script":{"headers":{"x-one":"1","x-raw-bin":"AP8=","server":"x"},"trailers":{"x-two":"2","x-end-bin":"AP8="}`
	answers := row{name: "header metadata becomes headers, trailer metadata trailers where the client said TE"}
	for _, x := range []exchange{
		{request: "POST /v1/echo", body: `{` + script + `}}`},
		{request: "POST /v1/stream", body: `{"count":2,` + script + `}}`},
		{request: "POST /v1/collect", body: `{` + script + `}}`},
		{request: "POST /v1/chat", body: `{` + script + `}}`},
		{request: "POST /v1/echo", body: `{` + script + `,"failCode":5}}`, status: 404},
	} {
		x.fields = "X-One: 1|X-Raw-Bin: AP8|Server: Caddy|X-Two"
		x.ends = "X-Two"
		answers.cases = append(answers.cases, x)
		x.headers, x.ends = "Te: trailers", "X-Two: 2|X-End-Bin: AP8"
		answers.cases = append(answers.cases, x)
	}
	run(t, w, []row{
		answers,
		{"deadlines: Grpc-Timeout, Connect-Timeout-Ms, X-Request-Timeout", []exchange{
			{request: "POST /v1/echo", headers: "X-Request-Timeout: 50ms", body: `{"script":{"delay":"20s"}}`, status: 504, has: `{"code":4,"message":"`},
			{request: "POST /v1/echo", headers: "Grpc-Timeout: 50m", body: `{"script":{"delay":"20s"}}`, status: 504},
			{request: "POST /v1/echo", headers: "Connect-Timeout-Ms: 50", body: `{"script":{"delay":"20s"}}`, status: 504},
			{request: "POST /v1/stream", headers: "X-Request-Timeout: 1s", body: `{"count":2,"script":{"interval":"20s"}}`, has: "\n" + `{"error":{"code":4,`},
			{request: "GET /v1/echo", headers: "X-Request-Timeout: -1s", status: 400},
			{request: "GET /v1/echo", headers: "Grpc-Timeout: soon", status: 400},
			{request: "GET /v1/echo", headers: "Connect-Timeout-Ms: 1.5", status: 400},
			{request: "GET /v1/echo", headers: "X-Data-Bin: ###", status: 400, has: "X-Data-Bin"},
		}},
	})
}

func provesRequestMetadata(t *testing.T, c *client) {
	md := c.do("GET", "/v1/echo", nil,
		"Authorization: Bearer x", "X-Custom: one", "X-Custom: two", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Cookie: $Version=1; a=b; $Path=/; c=d", "X-Data-Bin: AP8", "X-More-Bin: AQ==, Ag",
		"Accept-Language: de", "Content-Language: de", "Grpc-Foo: x", "Connect-Foo: x", "X-Request-Timeout: 1m", "Te: trailers", "User-Agent: me",
		"X-Latin: caf\xe9").seen(t)
	for key, want := range map[string]string{
		"authorization": "Bearer x", "x-custom": "one, two", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"x-data-bin": "AP8=", "x-more-bin": "AQ==, Ag==",
	} {
		if md[key] != want {
			t.Errorf("%s: %q, want %q", key, md[key], want)
		}
	}
	if got := strings.ReplaceAll(md["cookie"], ", ", "; "); got != "a=b; c=d" {
		t.Errorf("cookie: %q", got)
	}
	for _, key := range []string{"accept-language", "content-language", "grpc-foo", "connect-foo", "x-request-timeout", "te", "host", "accept-encoding", "connection", "x-latin"} {
		if got, ok := md[key]; ok {
			t.Errorf("%s: %q, want none", key, got)
		}
	}
	if strings.Contains(md["user-agent"], "me") {
		t.Errorf("user-agent: %q", md["user-agent"])
	}
}
