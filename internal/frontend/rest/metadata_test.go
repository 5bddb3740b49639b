package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

func rules(t testing.TB, compile func([]frontend.Rule) (*frontend.Rules, error), lines ...string) *frontend.Rules {
	t.Helper()
	var parsed []frontend.Rule
	for _, line := range lines {
		r, err := frontend.ParseRule(strings.Fields(line)...)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, r)
	}
	compiled, err := compile(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestRequestHeadersBecomeMetadata(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	w.eachVersion(t, func(t *testing.T, c *client) {
		md := c.do("GET", "/v1/echo", nil,
			"Authorization: Bearer x", "X-Custom: one", "X-Custom: two", "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"Cookie: $Version=1; a=b; $Path=/; c=d", "X-Data-Bin: AP8", "X-More-Bin: AQ==, Ag",
			"Accept-Language: de", "Content-Language: de", "Grpc-Foo: x", "Connect-Foo: x", "X-Request-Timeout: 1m", "Te: trailers", "User-Agent: curl",
			"X-Latin: caf\xe9", "X-Fine: ok", "X-For!bidden: x",
		).echo(t).GetMetadata()
		for k, want := range map[string]string{
			"authorization": "Bearer x", "x-custom": "one, two", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"cookie": "a=b; c=d", "x-data-bin": "AP8=", "x-more-bin": "AQ==, Ag==", "x-fine": "ok",
		} {
			if md[k] != want {
				t.Errorf("%s: %q, want %q", k, md[k], want)
			}
		}
		for _, k := range []string{"accept-language", "content-language", "grpc-foo", "connect-foo", "x-request-timeout", "te", "x-latin", "host", "accept-encoding", "connection", "x-for!bidden"} {
			if v, ok := md[k]; ok {
				t.Errorf("%s: %q, want none", k, v)
			}
		}
		if got := md["user-agent"]; strings.Contains(got, "curl") {
			t.Errorf("user-agent: %q", got)
		}
		c.do("GET", "/v1/echo", nil, "X-Data-Bin: ###").wantError(t, 400, 3, "X-Data-Bin")
	})
	// A header that Connection names belongs to this hop.
	md := w.client(t, "HTTP1").do("GET", "/v1/echo", nil, "Connection: x-hop", "X-Hop: 1", "X-Stay: 1").echo(t).GetMetadata()
	if md["x-hop"] != "" || md["x-stay"] != "1" {
		t.Errorf("Connection: x-hop: %v", md)
	}
}

func TestForwardedHeaders(t *testing.T) {
	claims := []string{"X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "Host: api.example"}
	for _, tc := range []struct {
		name    string
		opts    frontend.Options
		forward map[string]string
	}{
		{"from anyone", frontend.Options{}, map[string]string{"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "api.example", "x-forwarded-proto": "http"}},
		{"from a trusted proxy", frontend.Options{TrustedProxy: func(*http.Request) bool { return true }},
			map[string]string{"x-forwarded-for": "1.2.3.4, 127.0.0.1", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}},
		{"taken away by a rule", frontend.Options{RequestMetadata: rules(t, frontend.CompileRequestRules, "-x-forwarded-*")},
			map[string]string{"x-forwarded-for": "", "x-forwarded-host": "", "x-forwarded-proto": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			newWorld(t, tc.opts).eachVersion(t, func(t *testing.T, c *client) {
				md := c.do("GET", "/v1/echo", nil, claims...).echo(t).GetMetadata()
				for k, want := range tc.forward {
					if md[k] != want {
						t.Errorf("%s: %q, want %q", k, md[k], want)
					}
				}
			})
		})
	}
}

func TestResponseMetadataBecomesHeadersAndTrailers(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	const script = `"script":{"headers":{"x-one":"1","x-raw-bin":"AP8=","set-cookie":"a=b; Path=/","content-disposition":"attachment","date":"never","server":"x"},` +
		`"trailers":{"x-two":"2","x-end-bin":"AP8="}`
	w.eachVersion(t, func(t *testing.T, c *client) {
		for path, body := range map[string]string{
			"/v1/echo":        `{` + script + `}}`,
			"/v1/stream":      `{"count":1,` + script + `}}`,
			"/v1/collect":     `{` + script + `}}`,
			"/v1/echo?fails":  `{` + script + `,"failCode":5}}`,
			"/v1/stream?fail": `{"count":3,` + script + `,"failCode":5}}`,
		} {
			path, _, _ = strings.Cut(path, "?")
			a := c.do("POST", path, body, "Te: trailers")
			for k, want := range map[string]string{"X-One": "1", "X-Raw-Bin": "AP8", "Set-Cookie": "a=b; Path=/", "Content-Disposition": "attachment", "X-Two": "", "Server": ""} {
				if got := a.Header.Get(k); got != want {
					t.Errorf("%s: header %s: %q, want %q", body, k, got, want)
				}
			}
			if d := a.Header.Get("Date"); d == "never" {
				t.Errorf("%s: date %q", body, d)
			}
			if a.Trailer.Get("X-Two") != "2" || a.Trailer.Get("X-End-Bin") != "AP8" {
				t.Errorf("%s: trailer %v", body, a.Trailer)
			}
			if ct := a.Header.Get("Content-Type"); strings.Contains(ct, "grpc") {
				t.Errorf("%s: Content-Type %q", body, ct)
			}
			if a := c.do("POST", path, body); len(a.Trailer) != 0 || a.Header.Get("X-One") != "1" {
				t.Errorf("%s without TE: trailer %v, header %v", body, a.Trailer, a.Header)
			}
		}
	})
}

// A service that fails before it sends anything sends its metadata with the status. Nothing has
// been sent to the client either. So the client gets the metadata as header, even if it takes
// trailers.
func TestMetadataOfAnErrorAtOnceBecomesHeaders(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	const body = `{"script":{"trailers":{"www-authenticate":"Bearer","x-reset":"7"},"failCode":16}}`
	w.eachVersion(t, func(t *testing.T, c *client) {
		for _, path := range []string{"/v1/echo", "/v1/stream", "/v1/collect"} {
			for _, te := range [][]string{nil, {"Te: trailers"}} {
				a := c.do("POST", path, body, te...)
				if a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != "Bearer" || a.Header.Get("X-Reset") != "7" || len(a.Trailer) != 0 {
					t.Errorf("%s %v: %d, header %v, trailer %v", path, te, a.StatusCode, a.Header, a.Trailer)
				}
			}
		}
	})
}

func TestMetadataRules(t *testing.T) {
	w := newWorld(t, frontend.Options{
		RequestMetadata:  rules(t, frontend.CompileRequestRules, "+accept-language", "-x-secret*", "+user-agent client-agent", "+grpc-metadata-* *"),
		ResponseMetadata: rules(t, frontend.CompileResponseRules, "x-*", "-x-internal", "etag x-tag"),
	})
	w.eachVersion(t, func(t *testing.T, c *client) {
		a := c.do("POST", "/v1/echo", `{"script":{"headers":{"x-a":"1","x-internal":"1","etag":"1","other":"1"},"trailers":{"x-t":"1","other-t":"1"}}}`,
			"Accept-Language: de", "X-Secret-Key: 1", "User-Agent: me", "Grpc-Metadata-Tenant: t", "X-Stays: 1", "Te: trailers")
		md := a.echo(t).GetMetadata()
		for k, want := range map[string]string{"accept-language": "de", "x-secret-key": "", "client-agent": "me", "tenant": "t", "x-stays": "1"} {
			if md[k] != want {
				t.Errorf("request %s: %q, want %q", k, md[k], want)
			}
		}
		for k, want := range map[string]string{"X-A": "1", "X-Internal": "", "X-Tag": "1", "Other": "", "Etag": ""} {
			if got := a.Header.Get(k); got != want {
				t.Errorf("response %s: %q, want %q", k, got, want)
			}
		}
		if a.Trailer.Get("X-T") != "1" || a.Trailer.Get("Other-T") != "" {
			t.Errorf("trailer %v", a.Trailer)
		}
	})
}

// Caddy's header handler replaces values of the header in place, so answers must not share them.
func TestHeaderValuesAreNotShared(t *testing.T) {
	w := newWorld(t, frontend.Options{})
	h := New(frontend.Options{})
	for range 2 {
		rec := httptest.NewRecorder()
		if err := h.Serve(rec, httptest.NewRequest(http.MethodGet, "/v1/echo/a", nil), w.table, &frontend.Info{}); err != nil {
			t.Fatal(err)
		}
		values := rec.Header()["Content-Type"]
		if len(values) != 1 || values[0] != "application/json" {
			t.Fatalf("Content-Type %q", values)
		}
		values[0] = "text/x-replaced"
	}
}

func TestRawTypeIsAFieldValue(t *testing.T) {
	for given, want := range map[string]string{
		"": "application/octet-stream", "image/png": "image/png", "text/html; charset=utf-8": "text/html; charset=utf-8",
		"image/png\x01": "application/octet-stream", "a/b\r\nX: y": "application/octet-stream", "a/\u00e9": "a/\u00e9", "a/b\x7f": "application/octet-stream",
	} {
		if got := rawType([]byte(given)); got != want {
			t.Errorf("rawType(%q) = %q, want %q", given, got, want)
		}
	}
}
