// Package cors lets pages of other origins call: it answers preflight requests and adds the headers that browsers ask for (the Fetch
// standard, "CORS protocol"). Without it browsers refuse such calls, which is the default. It is not access control: whoever is no browser
// is not kept from anything.
package cors

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// maxAge is how long, in seconds, a browser may remember the answer to a preflight request. Chromium takes no more than two hours.
const maxAge = "7200"

// Policy says which origins may call. Immutable, safe for concurrent use.
type Policy struct {
	any      bool
	exact    map[string]bool
	patterns []string
}

// New makes a policy of origins as browsers write them: scheme, host and a port that is not the scheme's own
// ("https://app.example.com", "http://localhost:5173"). A `*` in the host stands for anything but a slash ("https://*.example.com"), and `*`
// alone for every origin, including "null". Credentials (cookies, client certificates) are allowed to none but those that are
// written without a `*`.
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
	o = strings.ReplaceAll(o, "[", `\[`) // of an IPv6 address
	if _, err := path.Match(o, ""); err != nil {
		return fmt.Errorf("origin %q: %w", origin, err)
	}
	p.patterns = append(p.patterns, o)
	return nil
}

// allows reports whether pages of the origin may call, and whether with credentials.
func (p *Policy) allows(origin string) (ok, credentials bool) {
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

// Handle does what CORS asks for before a request is served. done says that it was a preflight request and has been answered. Otherwise
// the request is to be answered through the ResponseWriter that is returned.
func (p *Policy) Handle(w http.ResponseWriter, r *http.Request) (rw http.ResponseWriter, done bool) {
	origin := r.Header.Get("Origin")
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	h := w.Header()
	// A cache must not give the answer for one origin to another, nor to those that have none.
	h.Add("Vary", "Origin")
	if origin == "" {
		return w, false
	}
	ok, credentials := p.allows(origin)
	switch {
	case !ok && preflight:
		w.WriteHeader(http.StatusForbidden)
		return w, true
	case !ok:
		// Pages of our own origin send the header, too: the browser decides.
		return &writer{ResponseWriter: w}, false
	}
	allow(h, origin, credentials) // Already, because the site's error routes do not answer through our writer.
	if !preflight {
		return &writer{ResponseWriter: w, origin: origin, credentials: credentials}, false
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE")
	if names := r.Header.Values("Access-Control-Request-Headers"); len(names) > 0 {
		// Any header may be metadata, so there is no list to hold them against. What may pass is decided by the metadata rules.
		h.Set("Access-Control-Allow-Headers", strings.Join(names, ", "))
	}
	h.Set("Access-Control-Max-Age", maxAge)
	w.WriteHeader(http.StatusNoContent)
	return w, true
}

// allow lets the origin's pages see the answer, whatever the service has said of that in its metadata.
func allow(h http.Header, origin string, credentials bool) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Del("Access-Control-Allow-Credentials")
	if credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// writer lets the page see a response, and exposes the headers of a response to scripts: all of them, by name, because `*` does not hold
// for requests with credentials. To an origin that is not allowed, the service does not allow it either.
type writer struct {
	http.ResponseWriter

	origin             string // "" when it is not allowed
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

// safelisted reports whether scripts see a header anyway, or never do (Set-Cookie).
func safelisted(name string) bool {
	switch name {
	case "Cache-Control", "Content-Language", "Content-Length", "Content-Type", "Expires", "Last-Modified", "Pragma", "Vary", "Set-Cookie", "Connection":
		return true
	}
	return false
}
