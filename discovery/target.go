package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// ParseTarget parses what is written where a service is named by where it is found:
//
//	etcd://h1:2379,h2:2379/user.rpc         scheme, a list of hosts, path
//	etcd+tls://h1:2379/user.rpc             the connection to the service uses TLS
//	dns:///user.internal:9001               no host: the path is all
//	dns+srv:///_grpc._tcp.user.internal
//	static:///10.0.0.1:9001,10.0.0.2:9001
//	10.0.0.1:9001                           the same as static:///10.0.0.1:9001
//	unix//run/user.sock                     a Unix socket: static:///unix//run/user.sock
//	unix:///run/user.sock                   the same as gRPC writes it; unix+tls:// is with TLS
//
// In full (RFC 3986 in spirit, with a list where a URL has one authority):
//
//	target    = scheme "://" authority [ "/" path ] [ "?" query ]  |  socket  |  host ":" port
//	socket    = ( "unix" | "unix+h2c" ) "/" ( absolute path | "@" name )
//	scheme    = word { "+" word }            ; lower case letters, digits, ".", "-"
//	authority = [ host { "," host } ]        ; without user and password
//
// A last "+tls" of the scheme goes into Target.TLS. One slash after the authority is the separator;
// a second one belongs to the path, so that the key /microservices/user is
// etcd://h1:2379//microservices/user. Percent-encoding is resolved in authority, path and query.
// Whether the scheme exists and its parts make sense is for the module that takes the target.
func ParseTarget(s string) (Target, error) {
	if IsUnix(s) {
		addr, err := ParseUnix(s)
		if err != nil {
			return Target{}, fmt.Errorf("target %s: %w", Excerpt(s), err)
		}
		return Target{Scheme: "static", Path: addr}, nil
	}
	scheme, rest, isURL := strings.Cut(s, "://")
	if !isURL {
		if err := CheckAddr(s); err != nil {
			return Target{}, fmt.Errorf("target %s is neither a URL (scheme://host:port/name) nor an address: %w", Excerpt(s), err)
		}
		return Target{Scheme: "static", Path: s}, nil
	}
	t := Target{}
	if err := t.parse(strings.ToLower(scheme), rest); err != nil {
		return Target{}, fmt.Errorf("target %s: %w", Excerpt(s), err)
	}
	return t, nil
}

func (t *Target) parse(scheme, rest string) error {
	t.Scheme, t.TLS = strings.CutSuffix(scheme, "+tls")
	for word := range strings.SplitSeq(t.Scheme, "+") {
		if !isSchemeWord(word) {
			return fmt.Errorf("expected a scheme such as etcd, dns or static+tls, found %s", Excerpt(scheme))
		}
	}
	if strings.Contains(rest, "#") {
		return errors.New("expected no fragment; write # as %23")
	}
	if t.Scheme == "unix" || t.Scheme == "unix+h2c" {
		return t.parseUnix(rest)
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(authority, "@") {
		return errors.New("expected no user and password; credentials belong into the block of the registry")
	}
	var err error
	if t.Authority, err = decode(authority); err != nil {
		return fmt.Errorf("host list: %w", err)
	}
	if t.Path, err = decode(path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if query == "" {
		return nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("query: %w", err)
	}
	t.Query = values
	return nil
}

// parseUnix parses what follows unix://, a path. It makes a target of the source static. A path may
// have spaces, unlike what other targets name.
func (t *Target) parseUnix(rest string) error {
	switch {
	case !strings.HasPrefix(rest, "/"):
		return errors.New("expected three slashes before the path of a Unix socket, as in unix:///run/user.sock; an abstract one is unix/@name")
	case strings.Contains(rest, "?"):
		return errors.New("expected no parameters in the target of a Unix socket; write ? as %3F")
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return fmt.Errorf("path: %w", err)
	}
	t.Scheme = "static"
	t.Path, err = ParseUnix(unixPrefix + path)
	return err
}

func isSchemeWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'):
		default:
			return false
		}
	}
	return s != ""
}

// decode resolves percent-encoding and refuses what no host or key should have: control characters
// and broken UTF-8, which a JSON config could not carry.
func decode(s string) (string, error) {
	out, err := url.PathUnescape(s)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(out) {
		return "", fmt.Errorf("expected UTF-8, found %s", Excerpt(out))
	}
	if i := strings.IndexFunc(out, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return "", fmt.Errorf("expected no spaces or control characters, found %q", out[i])
	}
	return out, nil
}

// Hosts are the addresses in the authority, each checked. A host without a port gets defaultPort;
// with an empty defaultPort it is refused. No authority gives an empty list.
func (t Target) Hosts(defaultPort string) ([]string, error) {
	if t.Authority == "" {
		return nil, nil
	}
	return SplitHosts(t.Authority, defaultPort)
}

// SplitHosts splits a comma-separated list of host:port and checks each, like Target.Hosts.
func SplitHosts(list, defaultPort string) ([]string, error) {
	var hosts []string
	for host := range strings.SplitSeq(list, ",") {
		addr, err := withPort(host, defaultPort)
		if err != nil {
			return nil, err
		}
		if slices.Contains(hosts, addr) {
			return nil, fmt.Errorf("expected each host once, found %s again", Excerpt(addr))
		}
		hosts = append(hosts, addr)
	}
	return hosts, nil
}

// CheckQuery refuses parameters other than the known ones, and repeated ones.
func (t Target) CheckQuery(known ...string) error {
	for name, values := range t.Query {
		if !slices.Contains(known, name) {
			if len(known) == 0 {
				return fmt.Errorf("expected no parameters in a %s target, found %s", t.Scheme, Excerpt(name))
			}
			return fmt.Errorf("expected parameters among %s in a %s target, found %s", strings.Join(known, ", "), t.Scheme, Excerpt(name))
		}
		if len(values) > 1 {
			return fmt.Errorf("expected parameter %s once", Excerpt(name))
		}
	}
	return nil
}
