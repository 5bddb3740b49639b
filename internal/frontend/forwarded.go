package frontend

import (
	"net"
	"net/http"
	"strings"
)

// isForwarded reports whether appendForwarded decides about a header.
func isForwarded(name string) bool {
	switch name {
	case "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto":
		return true
	}
	return false
}

// appendForwarded appends X-Forwarded-For, -Host and -Proto as Caddy's reverse_proxy sets them. The
// values of the request are believed only if they come from a trusted proxy. The peer is appended
// to the list of such a proxy. A rule `-x-forwarded-for` leaves the field out.
func (o *Options) appendForwarded(pairs []string, r *http.Request) []string {
	trusted := o.TrustedProxy != nil && o.TrustedProxy(r)
	peer, known := peerIP(r.RemoteAddr)
	if !known && !trusted {
		// Nothing certain is known about the client, and its own claims cannot be trusted.
		return pairs
	}
	prior := func(header string, last bool) string {
		values := r.Header[header]
		if !trusted || len(values) == 0 {
			return ""
		}
		if last {
			return values[len(values)-1]
		}
		return strings.Join(values, ", ")
	}
	set := func(name, value string) {
		if value != "" && validValue(value) && o.RequestMetadata.keeps(name) {
			pairs = append(pairs, name, value)
		}
	}
	forwardedFor := prior("X-Forwarded-For", false)
	switch {
	case forwardedFor == "":
		forwardedFor = peer
	case peer != "":
		forwardedFor += ", " + peer
	}
	set("x-forwarded-for", forwardedFor)

	proto := "https"
	if r.TLS == nil {
		proto = "http"
	}
	if p := prior("X-Forwarded-Proto", true); p != "" {
		proto = p
	}
	set("x-forwarded-proto", proto)

	host := r.Host
	if h := prior("X-Forwarded-Host", true); h != "" {
		host = h
	}
	set("x-forwarded-host", host)
	return pairs
}

// peerIP returns the address without port and zone. A peer on a Unix socket ("@") has none.
func peerIP(remote string) (ip string, known bool) {
	if remote == "@" {
		return "", false
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return "", false
	}
	host, _, _ = strings.Cut(host, "%")
	return host, true
}
