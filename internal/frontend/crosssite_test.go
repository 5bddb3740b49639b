package frontend

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

// listed are origins by whether they may use credentials.
type listed map[string]bool

func (l listed) Allows(origin string) (ok, credentials bool) {
	credentials, ok = l[origin]
	return ok, credentials
}

// siteRequest is a request to http://api.example with headers, "Name: value" each.
func siteRequest(method string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, "http://api.example/v1/x", nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

// siteOptions list one origin with credentials and one without. The peer 192.0.2.9 is a trusted
// proxy.
func siteOptions() Options {
	return Options{
		Origins:          listed{"https://app.example": true, "https://any.example": false},
		WebSocketOrigins: []string{"*.sockets.example"},
		TrustedProxy:     func(r *http.Request) bool { return strings.HasPrefix(r.RemoteAddr, "192.0.2.9:") },
	}.WithDefaults()
}

func TestCrossSite(t *testing.T) {
	for _, tc := range []struct {
		name    string
		method  string
		headers []string
		ok      bool
	}{
		{"not a browser", "POST", nil, true},
		{"not a browser, with a cookie", "DELETE", []string{"Cookie: a=b"}, true},
		{"the gateway's own page", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: https://api.example"}, true},
		{"the gateway's own page behind a proxy that changes Host", "POST", []string{"Sec-Fetch-Site: same-origin", "Origin: https://public.example"}, true},
		{"the address bar", "POST", []string{"Sec-Fetch-Site: none"}, true},
		{"a page of another site", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"a page of the same site and another origin", "POST", []string{"Sec-Fetch-Site: same-site", "Origin: https://www.api.example"}, false},
		{"a page that claims our host, against Sec-Fetch-Site", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: http://api.example"}, false},
		{"a page without an origin", "POST", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"a sandboxed page", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: null"}, false},
		{"a word that we do not know", "POST", []string{"Sec-Fetch-Site: elsewhere", "Origin: https://evil.example"}, false},
		{"PUT", "PUT", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"PATCH", "PATCH", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"DELETE", "DELETE", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"a custom method", "ARCHIVE", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"a safe method", "GET", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, true},
		{"HEAD", "HEAD", []string{"Sec-Fetch-Site: cross-site"}, true},
		{"OPTIONS", "OPTIONS", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, true},

		{"an old browser, own page", "POST", []string{"Origin: http://api.example"}, true},
		{"an old browser, host in capitals", "POST", []string{"Origin: http://api.example", "Host: API.example"}, true},
		{"an old browser, default port written", "POST", []string{"Origin: http://api.example", "Host: api.example:80"}, true},
		{"an old browser, default port of the other scheme", "POST", []string{"Origin: http://api.example", "Host: api.example:443"}, false},
		{"an old browser, another port", "POST", []string{"Origin: http://api.example:81"}, false},
		{"an old browser, another site", "POST", []string{"Origin: https://evil.example"}, false},
		{"an old browser, sandboxed", "POST", []string{"Origin: null"}, false},
		{"an old browser, an origin that is none", "POST", []string{"Origin: %"}, false},
		{"X-Forwarded-Host of a client", "POST", []string{"Origin: https://public.example", "X-Forwarded-Host: public.example"}, false},

		{"a listed origin", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://app.example", "Cookie: a=b"}, true},
		{"a listed origin, old browser", "POST", []string{"Origin: https://app.example"}, true},
		{"listed without credentials", "POST", []string{"Sec-Fetch-Site: cross-site", "Origin: https://any.example"}, true},
		{"listed without credentials, with a bearer token", "POST", []string{"Origin: https://any.example", "Authorization: Bearer x"}, true},
		{"listed without credentials, with a cookie", "POST", []string{"Origin: https://any.example", "Cookie: a=b"}, false},
		{"listed without credentials, with a password", "POST", []string{"Origin: https://any.example", "Authorization: Basic eDp5"}, false},
		{"listed without credentials, with a cookie, as a form", "POST", []string{"Origin: https://any.example", "Cookie: a=b", "Content-Type: Text/Plain; charset=utf-8"}, false},
		{"listed without credentials, after a preflight", "POST", []string{"Origin: https://any.example", "Authorization: Basic eDp5", "Content-Type: application/json"}, true},
		{"listed without credentials, DELETE", "DELETE", []string{"Origin: https://any.example", "Authorization: Basic eDp5"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := siteOptions()
			r := siteRequest(tc.method, tc.headers...)
			err := o.CheckCrossSite(r)
			if ok := err == nil; ok != tc.ok {
				t.Fatalf("got %v", err)
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Code() != codes.PermissionDenied || e.HTTP() != http.StatusForbidden || e.Unwrap() == nil) {
				t.Errorf("got %#v", err)
			}
			o.AllowCrossSite = true
			if err := o.CheckCrossSite(r); err != nil {
				t.Errorf("with AllowCrossSite: %v", err)
			}
		})
	}
}

func TestCrossSiteWithClientCertificate(t *testing.T) {
	o := siteOptions()
	for origin, ok := range map[string]bool{"https://app.example": true, "https://any.example": false} {
		r := siteRequest("POST", "Origin: "+origin)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
		if err := o.CheckCrossSite(r); (err == nil) != ok {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

func TestCrossSiteBehindTrustedProxy(t *testing.T) {
	o := siteOptions()
	for host, ok := range map[string]bool{"public.example": true, "inner, public.example": true, "other.example": false} {
		r := siteRequest("POST", "Origin: http://public.example", "X-Forwarded-Host: "+host)
		r.RemoteAddr = "192.0.2.9:1"
		if err := o.CheckCrossSite(r); (err == nil) != ok {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestWebSocketOrigin(t *testing.T) {
	for _, tc := range []struct {
		name    string
		headers []string
		ok      bool
	}{
		{"not a browser", nil, true},
		{"the gateway's own page", []string{"Origin: http://api.example"}, true},
		{"the gateway's own page over a scheme that the browser calls another", []string{"Origin: https://api.example", "Sec-Fetch-Site: cross-site"}, true},
		{"the gateway's own page behind a proxy that changes Host", []string{"Origin: https://public.example", "Sec-Fetch-Site: same-origin"}, true},
		{"another site", []string{"Origin: https://evil.example"}, false},
		{"another site that says so", []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, false},
		{"no origin, another site", []string{"Sec-Fetch-Site: cross-site"}, false},
		{"a sandboxed page", []string{"Origin: null"}, false},
		{"an origin in cors", []string{"Origin: https://app.example", "Cookie: a=b"}, true},
		{"an origin in cors without credentials", []string{"Origin: https://any.example"}, true},
		{"an origin in cors without credentials, with a cookie", []string{"Origin: https://any.example", "Cookie: a=b"}, false},
		{"a host in websocket_origins, with a cookie", []string{"Origin: https://a.Sockets.example", "Cookie: a=b"}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := siteOptions()
			r := siteRequest("GET", tc.headers...)
			if err := o.CheckWebSocketOrigin(r); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
			o.AllowCrossSite = true
			if err := o.CheckWebSocketOrigin(r); (err == nil) != tc.ok {
				t.Errorf("with AllowCrossSite: %v", err)
			}
		})
	}
}

func TestCrossSiteCostsNothing(t *testing.T) {
	o := siteOptions()
	for name, r := range map[string]*http.Request{
		"not a browser": siteRequest("POST", "Content-Type: application/json"),
		"own page":      siteRequest("POST", "Sec-Fetch-Site: same-origin", "Origin: http://api.example"),
	} {
		if n := testing.AllocsPerRun(100, func() { _ = o.CheckCrossSite(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
