package frontend

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"

	"google.golang.org/grpc/codes"
)

// Origins says which origins the pages of other sites may call from. Package cors implements it.
type Origins interface {
	// Allows reports whether pages of the origin may call. credentials says that the browser may
	// add what it keeps for the gateway: cookies, client certificates and passwords.
	Allows(origin string) (ok, credentials bool)
}

// CheckCrossSite refuses a request that a browser sent for a page of another site, unless the
// page's origin is listed. Without this check any page could call methods in a visitor's name:
// browsers send some POST requests to other sites without asking first (CSRF). The rules are those
// of net/http's CrossOriginProtection:
//
//   - GET, HEAD and OPTIONS pass, since they have no effects. A WebSocket handshake is a GET that
//     has some, see CheckWebSocketOrigin.
//   - Sec-Fetch-Site decides if the browser sends it. Otherwise the host in Origin must be the host
//     that was called.
//   - A request with neither header passes: its client is not a browser.
//
// The error is a *Error.
func (o *Options) CheckCrossSite(r *http.Request) error {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if o.AllowCrossSite {
		return nil
	}
	site, origin := first(r.Header["Sec-Fetch-Site"]), first(r.Header["Origin"])
	switch {
	case site == "same-origin" || site == "none":
		return nil
	case site == "" && (origin == "" || o.isOwnHost(r, origin)):
		return nil
	case o.isListed(r, origin):
		return nil
	}
	return crossSiteError(site, origin, `to allow it, list the origin in "cors", or set "cross_site allow"`)
}

// CheckWebSocketOrigin refuses a WebSocket handshake of a page of another site, unless the page's
// origin is listed. Browsers let any page open a WebSocket anywhere, and send the visitor's cookies
// with the handshake. Clients that are not browsers send no Origin and pass. The error is a *Error.
func (o *Options) CheckWebSocketOrigin(r *http.Request) error {
	site, origin := first(r.Header["Sec-Fetch-Site"]), first(r.Header["Origin"])
	switch {
	case site == "same-origin" || site == "" && origin == "":
		return nil
	case o.isOwnHost(r, origin) || o.opensWebSocket(origin) || o.isListed(r, origin):
		return nil
	}
	return crossSiteError(site, origin, `to allow it, list the origin in "cors", or its host in "websocket_origins"`)
}

func crossSiteError(site, origin, hint string) *Error {
	page := "another site"
	if origin != "" {
		page = fmt.Sprintf("%.200s", origin)
	}
	return Errorf(codes.PermissionDenied, "pages of %s may not call this gateway", page).
		WithCause(fmt.Errorf("cross-site request with Sec-Fetch-Site %.50q and Origin %.200q; %s", site, origin, hint))
}

// isOwnHost reports whether the origin has the host that the client called. Behind a trusted proxy
// that is the host in X-Forwarded-Host, too.
func (o *Options) isOwnHost(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if sameHost(u, r.Host) {
		return true
	}
	if o.TrustedProxy == nil || !o.TrustedProxy(r) {
		return false
	}
	for _, hosts := range r.Header["X-Forwarded-Host"] {
		for host := range strings.SplitSeq(hosts, ",") {
			if sameHost(u, strings.TrimSpace(host)) {
				return true
			}
		}
	}
	return false
}

// sameHost compares the host of an origin with that of a request, which may have the default port
// of the scheme.
func sameHost(origin *url.URL, host string) bool {
	switch origin.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return strings.EqualFold(origin.Host, host)
}

// opensWebSocket reports whether the host of the origin is in WebSocketOrigins.
func (o *Options) opensWebSocket(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	for _, pattern := range o.WebSocketOrigins {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(u.Host)); ok && err == nil {
			return true
		}
	}
	return false
}

// isListed reports whether the origin may call. An origin that is allowed without credentials may
// not make the browser add them to a request that is sent without a preflight: no answer of CORS
// comes in time to prevent that.
func (o *Options) isListed(r *http.Request, origin string) bool {
	if o.Origins == nil || origin == "" {
		return false
	}
	ok, credentials := o.Origins.Allows(origin)
	return ok && (credentials || !hasCredentials(r) || hadPreflight(r))
}

// hasCredentials reports whether the request has what a browser adds by itself.
func hasCredentials(r *http.Request) bool {
	if len(r.Header["Cookie"]) > 0 || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	scheme, _, _ := strings.Cut(first(r.Header["Authorization"]), " ")
	switch strings.ToLower(scheme) {
	case "basic", "digest", "negotiate", "ntlm":
		return true
	}
	return false // A script has to set any other, such as a bearer token.
}

// hadPreflight reports whether a browser sends such a request to another site only after a
// preflight request: the method is not a simple one, or the Content-Type is not (Fetch standard,
// "CORS-safelisted").
func hadPreflight(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return r.Method != http.MethodGet && r.Method != http.MethodHead
	}
	media, _, _ := strings.Cut(first(r.Header["Content-Type"]), ";")
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded":
		return false
	}
	return true
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
