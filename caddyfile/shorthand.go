package caddyfile

import (
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// Before a directive is parsed, Caddy replaces its shorthand placeholders in all words: the path
// template /v1/files/{path} arrives as /v1/files/{http.request.uri.path}. In templates {path} is a
// variable and not a placeholder, so this file undoes the replacement. Two shorthands can mean the
// same placeholder, as {file} and {path.file} do. Then the shorter one is assumed, and the other
// one can be written as {path.file=*}.

// shorthandNames are Caddy's shorthands that could be the name of a field.
var shorthandNames = []string{
	"host", "hostport", "port", "orig_method", "orig_uri", "orig_path", "orig_dir", "orig_file", "orig_query", "method", "uri", "path",
	"dir", "file", "query", "remote", "remote_host", "remote_port", "scheme", "uuid", "tls_cipher", "tls_version", "tls_client_fingerprint",
	"tls_client_issuer", "tls_client_serial", "tls_client_subject", "tls_client_certificate_pem", "tls_client_certificate_der_base64",
	"upstream_hostport", "client_ip",
}

// shorthandPrefixes are Caddy's shorthands that are followed by a name, as in {query.page}.
var shorthandPrefixes = []string{
	"header", "cookie", "labels", "path", "file", "query", "re", "vars", "rp", "resp", "err", "file_match",
}

var longPlaceholder = regexp.MustCompile(`\{http\.[^{}=]*\}`)

// undoShorthands returns the template as it was written.
func undoShorthands(template string) string {
	return longPlaceholder.ReplaceAllStringFunc(template, func(long string) string {
		for _, name := range shorthandNames {
			if short := "{" + name + "}"; expandShorthand(short) == long {
				return short
			}
		}
		for _, prefix := range shorthandPrefixes {
			before, after, _ := strings.Cut(expandShorthand("{"+prefix+".x}"), "x}")
			if rest, ok := strings.CutPrefix(long, before); ok && after == "" {
				if short := "{" + prefix + "." + rest; expandShorthand(short) == long {
					return short
				}
			}
		}
		return long
	})
}

// expandShorthand replaces shorthands as Caddy does.
func expandShorthand(word string) string {
	segment := caddyfile.Segment{{Text: word}}
	httpcaddyfile.NewShorthandReplacer().ApplyToSegment(&segment)
	return segment[0].Text
}
