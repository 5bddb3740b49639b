package discovery

import (
	"net"
	"strings"
	"testing"
)

func TestCheckAddr(t *testing.T) {
	for name, c := range map[string]struct {
		addr string
		want string // part of the error; empty: none
	}{
		"IPv4":                    {"10.0.0.1:9001", ""},
		"IPv6":                    {"[2001:db8::1]:9001", ""},
		"IPv6 with a zone":        {"[fe80::1%eth0]:9001", ""},
		"IPv4 in IPv6":            {"[::ffff:10.0.0.1]:9001", ""},
		"host name":               {"user.internal:9001", ""},
		"rooted host name":        {"user.internal.:9001", ""},
		"container name":          {"user_service_1:9001", ""},
		"lowest port":             {"a:1", ""},
		"highest port":            {"a:65535", ""},
		"loopback":                {"127.0.0.1:80", ""},
		"nothing":                 {"", "expected host:port"},
		"no port":                 {"10.0.0.1", "expected host:port"},
		"no host":                 {":9001", "expected a host name"},
		"empty port":              {"a:", "port from 1 to 65535"},
		"port 0":                  {"a:0", "port from 1 to 65535"},
		"port too high":           {"a:65536", "port from 1 to 65535"},
		"port with a sign":        {"a:+80", "port from 1 to 65535"},
		"port with leading zeros": {"a:080", "port from 1 to 65535"},
		"port by name":            {"a:http", "port from 1 to 65535"},
		"IPv6 without brackets":   {"2001:db8::1:9001", "expected host:port"},
		"every IPv4 address":      {"0.0.0.0:9001", "not an unspecified one"},
		"every IPv6 address":      {"[::]:9001", "not an unspecified one"},
		"every address, mapped":   {"[::ffff:0.0.0.0]:9001", "not an unspecified one"},
		"mistyped IPv4":           {"10.0.0.256:9001", "expected a host name or IP address"},
		"short IPv4":              {"10.0.1:9001", "expected a host name or IP address"},
		"space":                   {"a b:9001", "expected a host name"},
		"control character":       {"a\n:9001", "expected a host name"},
		"slash":                   {"a/x:1", "expected a host name"},
		"Unix socket":             {"unix//run/x:1", "which only a config may name"},
		"Unix socket, h2c":        {"unix+h2c//run/x.sock", "which only a config may name"},
		"abstract socket":         {"unix/@x", "which only a config may name"},
		"Unix socket, as a URL":   {"unix:///run/x.sock", "expected a port from 1 to 65535"},
		"URL":                     {"http://a:9001", "expected host:port"},
		"empty label":             {"a..b:1", "expected a host name"},
		"very long name":          {strings.Repeat("a", 254) + ":1", "expected a host name"},
	} {
		t.Run(name, func(t *testing.T) { wantError(t, CheckAddr(c.addr), c.want) })
	}
}

func FuzzCheckAddr(f *testing.F) {
	for _, s := range []string{"10.0.0.1:9001", "[::1]:2", "a:0", "", "[fe80::1%eth0]:1", "0.0.0.0:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckAddr(s) != nil {
			return
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil || host == "" || port == "" {
			t.Fatalf("%q was accepted but does not split: %v", s, err)
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			t.Fatalf("%q was accepted but cannot be dialled", s)
		}
	})
}

// wantError checks that err has the text in it; an empty text wants no error.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case text != "" && err == nil:
		t.Errorf("got no error, want one with %q", text)
	case text != "" && !strings.Contains(err.Error(), text):
		t.Errorf("got error %q, want one with %q", err, text)
	}
}
