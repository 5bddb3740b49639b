// Package cors lets pages of other origins call: it answers preflight requests and adds the headers
// that browsers ask for (the Fetch standard, "CORS protocol"). Without it browsers do not let such
// pages read an answer, which is the default. It is not access control: it does not stop clients
// that are not browsers.
package cors

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxAge is how long, in seconds, a browser may remember the answer to a preflight request.
// Chromium remembers it for two hours at most.
const maxAge = "7200"

// defaultMethods are allowed on paths that no route has, so that pages can read the 404.
var defaultMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// Policy says which origins may call. Immutable, safe for concurrent use.
type Policy struct {
	any      bool
	exact    map[string]bool
	patterns []string
}

// New makes a policy of origins as browsers write them: scheme, host, and the port unless it is the
// scheme's own ("https://app.example.com", "http://localhost:5173"). A `*` in the host matches any
// text without a slash ("https://*.example.com"). A `*` alone matches every origin, including
// "null". Only origins that are written without a `*` may use credentials (cookies, client
// certificates).
func New(origins []string) (*Policy, error) {
	p := &Policy{exact: make(map[string]bool)}
	for _, o := range origins {
		if err := p.add(o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Policy) add(origin string) error {
	if origin == "*" {
		p.any = true
		return nil
	}
	o := strings.ToLower(origin)
	u, err := url.Parse(strings.ReplaceAll(o, "*", "1"))
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != strings.ReplaceAll(o, "*", "1") {
		return fmt.Errorf("origin %q: expected *, or scheme and host, such as https://app.example.com or https://*.example.com", origin)
	}
	if strings.Contains(u.Scheme, "*") || strings.HasPrefix(o, "*") {
		return fmt.Errorf("origin %q: the scheme has to be written out", origin)
	}
	if !strings.Contains(o, "*") {
		p.exact[o] = true
		return nil
	}
	o = strings.ReplaceAll(o, "[", `\[`) // The brackets of an IPv6 address are plain text.
	if _, err := path.Match(o, ""); err != nil {
		return fmt.Errorf("origin %q: %w", origin, err)
	}
	p.patterns = append(p.patterns, o)
	return nil
}

// Allows reports whether pages of the origin may call, and whether with credentials.
func (p *Policy) Allows(origin string) (ok, credentials bool) {
	o := strings.ToLower(origin)
	if p.exact[o] {
		return true, true
	}
	if p.any {
		return true, false
	}
	return slices.ContainsFunc(p.patterns, func(pattern string) bool {
		matched, _ := path.Match(pattern, o)
		return matched
	}), false
}

// ErrRefused is what Handle returns for a preflight request of an origin that may not call.
var ErrRefused = errors.New("preflight request of an origin that is not listed in cors")

// Handle does what CORS asks for before a request is served. methods returns the HTTP methods that
// the path of the request can be called with: none if it is not known, "*" for all.
//
// done says that it was a preflight request, which has been answered. Then err is nil, or wraps
// ErrRefused. Otherwise the request must be answered through rw.
func (p *Policy) Handle(
	w http.ResponseWriter, r *http.Request, methods func() []string,
) (rw http.ResponseWriter, done bool, err error) {
	origin := r.Header.Get("Origin")
	requested := r.Header.Get("Access-Control-Request-Method")
	// Empty headers count: a site that exempts preflights from its authentication goes by the
	// names.
	preflight := r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0
	h := w.Header()
	// A cache must not give the answer for one origin to another, nor to clients without an origin.
	h.Add("Vary", "Origin")
	if origin == "" && !preflight {
		return w, false, nil
	}
	ok, credentials := p.Allows(origin)
	switch {
	case !ok && preflight:
		w.WriteHeader(http.StatusForbidden)
		return w, true, fmt.Errorf("%w: %.200q", ErrRefused, origin)
	case !ok:
		// Pages of the gateway's own origin send the header as well: the browser decides.
		return &writer{ResponseWriter: w}, false, nil
	}
	// The headers are set here too, because the site's error routes do not answer through rw.
	allow(h, origin, credentials)
	if !preflight {
		return &writer{ResponseWriter: w, origin: origin, credentials: credentials}, false, nil
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", strings.Join(allowedMethods(methods(), requested), ", "))
	if names := r.Header.Values("Access-Control-Request-Headers"); len(names) > 0 {
		// Any header may be metadata, so every header is allowed here. The metadata rules decide
		// what is passed on.
		h.Set("Access-Control-Allow-Headers", strings.Join(names, ", "))
	}
	h.Set("Access-Control-Max-Age", maxAge)
	w.WriteHeader(http.StatusNoContent)
	return w, true, nil
}

// allowedMethods are the methods that a preflight request is answered with. The requested one is
// among them only if the path takes any method: a `*` in the answer would not count for requests
// with credentials.
func allowedMethods(methods []string, requested string) []string {
	if len(methods) == 0 {
		return defaultMethods
	}
	allowed := slices.Clone(methods)
	if i := slices.Index(allowed, "*"); i >= 0 {
		allowed = append(slices.Delete(allowed, i, i+1), defaultMethods...)
		if isToken(requested) {
			allowed = append(allowed, requested)
		}
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	return slices.Compact(allowed)
}

// isToken reports whether the text can be an HTTP method (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	const chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
	return s != "" && strings.Trim(s, chars) == ""
}

// allow lets the origin's pages see the answer. It replaces what the service has set in its
// metadata.
func allow(h http.Header, origin string, credentials bool) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Del("Access-Control-Allow-Credentials")
	if credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// writer lets the page see a response, and exposes all headers of the response to scripts. It lists
// them by name, because `*` does not count for requests with credentials. For an origin that is not
// allowed it removes what the service has set in its metadata to allow it.
type writer struct {
	http.ResponseWriter

	// origin is "" if it is not allowed.
	origin             string
	credentials, wrote bool
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if !w.wrote && status >= http.StatusOK {
		w.wrote = true
		if w.origin == "" {
			w.Header().Del("Access-Control-Allow-Origin")
			w.Header().Del("Access-Control-Allow-Credentials")
		} else {
			allow(w.Header(), w.origin, w.credentials)
			w.expose()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) expose() {
	h := w.Header()
	names := make([]string, 0, len(h))
	for name := range h {
		if !safelisted(name) && !strings.HasPrefix(name, "Access-Control-") && !strings.HasPrefix(name, http.TrailerPrefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	h.Set("Access-Control-Expose-Headers", strings.Join(names, ", "))
}

// safelisted reports whether scripts see a header without its being exposed, or never see it
// (Set-Cookie).
func safelisted(name string) bool {
	switch name {
	case "Cache-Control", "Content-Language", "Content-Length", "Content-Type", "Expires", "Last-Modified", "Pragma", "Vary", "Set-Cookie", "Connection":
		return true
	}
	return false
}
