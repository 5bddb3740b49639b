package cors

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// unknownPath are the methods of a path that no route has.
func unknownPath() []string { return nil }

func TestOrigins(t *testing.T) {
	for _, tc := range []struct {
		name            string
		origins         []string
		origin          string
		ok, credentials bool
	}{
		{"none", nil, "https://a.example", false, false},
		{"itself", []string{"https://a.example"}, "https://a.example", true, true},
		{"case does not matter", []string{"https://A.example"}, "HTTPS://a.EXAMPLE", true, true},
		{"another scheme", []string{"https://a.example"}, "http://a.example", false, false},
		{"another port", []string{"https://a.example"}, "https://a.example:8443", false, false},
		{"with a port", []string{"http://localhost:5173"}, "http://localhost:5173", true, true},
		{"subdomain of a glob, without credentials", []string{"https://*.example.com"}, "https://app.example.com", true, false},
		{"the domain itself is not its subdomain", []string{"https://*.example.com"}, "https://example.com", false, false},
		{"a name that only ends alike", []string{"https://*.example.com"}, "https://evilexample.com", false, false},
		{"a name that goes on", []string{"https://*.example.com"}, "https://a.example.com.evil.com", false, false},
		{"any port", []string{"http://localhost:*"}, "http://localhost:1234", true, false},
		{"any port of an IPv6 address", []string{"http://[::1]:*"}, "http://[::1]:1234", true, false},
		{"any port of another IPv6 address", []string{"http://[::1]:*"}, "http://[::2]:1234", false, false},
		{"all, without credentials", []string{"*"}, "https://a.example", true, false},
		{"all includes null", []string{"*"}, "null", true, false},
		{"null is none", []string{"https://a.example"}, "null", false, false},
		{"named beside all keeps credentials", []string{"*", "https://a.example"}, "https://a.example", true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := New(tc.origins)
			if err != nil {
				t.Fatal(err)
			}
			ok, credentials := p.Allows(tc.origin)
			if ok != tc.ok || credentials != tc.credentials {
				t.Errorf("got %v, credentials %v, want %v, %v", ok, credentials, tc.ok, tc.credentials)
			}
		})
	}
}

func TestBadOriginsAreRefused(t *testing.T) {
	for _, origin := range []string{"", "a.example", "https://", "https://a.example/", "https://a.example/x", "*://a.example", "https://a.example?x", "https://user@a.example", "https://[*"} {
		if _, err := New([]string{origin}); err == nil {
			t.Errorf("%q is taken", origin)
		}
	}
}

func TestPreflight(t *testing.T) {
	p, err := New([]string{"https://a.example", "https://*.b.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, origin string
		status       int
		header       map[string]string // "" for absent
	}{
		{"of an origin that is named", "https://a.example", 204, map[string]string{
			"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Headers": "connect-protocol-version,x-custom", "Access-Control-Max-Age": "7200",
		}},
		{"of an origin that matches", "https://x.b.example", 204, map[string]string{
			"Access-Control-Allow-Origin": "https://x.b.example", "Access-Control-Allow-Credentials": "",
		}},
		{"of an empty origin", "", 403, map[string]string{"Access-Control-Allow-Origin": ""}},
		{"of another origin", "https://c.example", 403, map[string]string{
			"Access-Control-Allow-Origin": "", "Access-Control-Allow-Headers": "", "Access-Control-Allow-Methods": "",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodOptions, "/a.B/C", nil)
			r.Header.Set("Origin", tc.origin)
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", "connect-protocol-version,x-custom")
			w := httptest.NewRecorder()
			_, done, err := p.Handle(w, r, unknownPath)
			if !done {
				t.Fatal("it was not answered")
			}
			if refused := errors.Is(err, ErrRefused); refused != (tc.status == http.StatusForbidden) {
				t.Errorf("error %v", err)
			}
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			for name, want := range tc.header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := strings.Join(w.Header().Values("Vary"), ", "); !strings.Contains(got, "Origin") {
				t.Errorf("Vary: %q", got)
			}
		})
	}
}

func TestPreflightKnowsTheMethodsOfThePath(t *testing.T) {
	p, err := New([]string{"https://a.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name      string
		methods   []string
		requested string
		want      string
	}{
		{"an unknown path", nil, "POST", "GET, HEAD, POST, PUT, PATCH, DELETE"},
		{"an unknown path, a custom method", nil, "REPORT", "GET, HEAD, POST, PUT, PATCH, DELETE"},
		{"one method", []string{"POST"}, "POST", "POST"},
		{"GET has HEAD", []string{"DELETE", "GET"}, "DELETE", "DELETE, GET, HEAD"},
		{"a custom method", []string{"GET", "REPORT"}, "REPORT", "GET, HEAD, REPORT"},
		{"another method than the path has", []string{"REPORT"}, "DELETE", "REPORT"},
		{"any method", []string{"*"}, "REPORT", "DELETE, GET, HEAD, PATCH, POST, PUT, REPORT"},
		{"any method, a usual one", []string{"*", "GET"}, "PUT", "DELETE, GET, HEAD, PATCH, POST, PUT"},
		{"any method, but not what is none", []string{"*"}, "A, B", "DELETE, GET, HEAD, PATCH, POST, PUT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodOptions, "/x", nil)
			r.Header.Set("Origin", "https://a.example")
			r.Header.Set("Access-Control-Request-Method", tc.requested)
			w := httptest.NewRecorder()
			if _, done, err := p.Handle(w, r, func() []string { return tc.methods }); !done || err != nil {
				t.Fatalf("%v, %v", done, err)
			}
			if got := w.Header().Get("Access-Control-Allow-Methods"); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestAnswersExposeTheirHeaders(t *testing.T) {
	p, err := New([]string{"https://a.example"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, origin, allow, expose string }{
		{"to an origin that is named", "https://a.example", "https://a.example", "Trailer-X, X-Custom"},
		{"to another one", "https://b.example", "", ""},
		{"to no origin", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rw, done, _ := p.Handle(w, r, unknownPath)
				if done {
					t.Error("it was taken for a preflight request")
				}
				rw.Header().Set("Content-Type", "application/json")
				rw.Header().Set("X-Custom", "1")
				rw.Header().Set("Trailer-X", "1")
				rw.WriteHeader(http.StatusOK)
				if err := http.NewResponseController(rw).Flush(); err != nil {
					t.Error(err)
				}
			}))
			defer s.Close()
			r, _ := http.NewRequest(http.MethodPost, s.URL, nil)
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != tc.allow {
				t.Errorf("Access-Control-Allow-Origin: %q, want %q", got, tc.allow)
			}
			if got := resp.Header.Get("Access-Control-Expose-Headers"); got != tc.expose {
				t.Errorf("Access-Control-Expose-Headers: %q, want %q", got, tc.expose)
			}
			if got := resp.Header.Get("Vary"); got != "Origin" {
				t.Errorf("Vary: %q", got)
			}
		})
	}
}

// A service may send the headers of CORS as metadata, if it has answered browsers before. Browsers
// do not accept two origins in one answer.
func TestThePolicyDecidesAndNotTheService(t *testing.T) {
	for _, tc := range []struct {
		name        string
		origins     []string
		credentials string
	}{
		{"with credentials", []string{"https://a.example"}, "true"},
		{"without credentials", []string{"https://*.example"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := New(tc.origins)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header.Set("Origin", "https://a.example")
			rec := httptest.NewRecorder()
			w, _, _ := p.Handle(rec, r, unknownPath)
			if got := rec.Header().Get("Access-Control-Allow-Origin"); got != "https://a.example" {
				t.Errorf("for error routes, origin: %q", got)
			}
			w.Header().Add("Access-Control-Allow-Origin", "*")
			w.Header().Add("Access-Control-Allow-Credentials", "true")
			w.WriteHeader(http.StatusOK)
			if got := strings.Join(rec.Header().Values("Access-Control-Allow-Origin"), "|"); got != "https://a.example" {
				t.Errorf("origin: %q", got)
			}
			if got := strings.Join(rec.Header().Values("Access-Control-Allow-Credentials"), "|"); got != tc.credentials {
				t.Errorf("credentials: %q, want %q", got, tc.credentials)
			}
		})
	}
}

func TestTheServiceAllowsNoOtherOrigins(t *testing.T) {
	p, err := New([]string{"https://a.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header.Set("Origin", "https://b.example")
	rec := httptest.NewRecorder()
	w, _, _ := p.Handle(rec, r, unknownPath)
	w.Header().Add("Access-Control-Allow-Origin", "*")
	w.Header().Add("Access-Control-Allow-Credentials", "true")
	w.WriteHeader(http.StatusOK)
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"} {
		if got := rec.Header().Get(name); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}
