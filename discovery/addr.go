package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxHostname is the longest host name that DNS can carry (RFC 1035, section 2.3.4), in bytes.
const maxHostname = 253

// CheckAddr returns an error if addr cannot be dialled as host:port. The host is an IP address
// (IPv6 in brackets) or a host name. The port is a number from 1 to 65535. Unspecified addresses
// such as 0.0.0.0 and [::] are refused: an instance that registers the address at which it listens
// cannot be called there. Unix sockets are refused too, because only a config may name one.
func CheckAddr(addr string) error {
	if IsUnix(addr) {
		return fmt.Errorf("expected host:port, found the Unix socket %s, which only a config may name", Excerpt(addr))
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("expected host:port, found %s", Excerpt(addr))
	}
	if err := checkPort(port); err != nil {
		return fmt.Errorf("%w in %s", err, Excerpt(addr))
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("%w in %s", err, Excerpt(addr))
	}
	return nil
}

func checkPort(port string) error {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '0' || port[0] == '+' {
		return errors.New("expected a port from 1 to 65535")
	}
	return nil
}

func checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.Unmap().IsUnspecified() {
			return errors.New("expected an address that can be dialled, not an unspecified one,")
		}
		if !isHostText(ip.Zone()) {
			return errors.New("expected a host name or IP address")
		}
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	if name == "" || len(name) > maxHostname || !isHostText(name) || isDottedDigits(name) {
		return errors.New("expected a host name or IP address")
	}
	return nil
}

// isHostText reports whether s has only characters of host names. RFC 952 does not allow the
// underscore, but container networks use it.
func isHostText(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	return !strings.Contains(s, "..") && !strings.HasPrefix(s, ".")
}

// isDottedDigits reports whether s is a mistyped IPv4 address such as 10.0.0.256 or 10.0.1. It is
// not a host name, because no top-level domain is a number.
func isDottedDigits(s string) bool {
	last := s[strings.LastIndexByte(s, '.')+1:]
	_, err := strconv.ParseUint(last, 10, 64)
	return err == nil
}

// withPort adds the default port to a host that has none, and checks the result.
func withPort(host, port string) (string, error) {
	switch {
	case host == "":
		return "", errors.New("expected host:port, found nothing")
	case strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]"), !strings.Contains(host, ":"):
		if port == "" {
			return "", fmt.Errorf("expected host:port, found %s without a port", Excerpt(host))
		}
		host += ":" + port
	case strings.Count(host, ":") > 1 && !strings.HasPrefix(host, "["):
		return "", fmt.Errorf("expected an IPv6 address in brackets, found %s", Excerpt(host))
	}
	return host, CheckAddr(host)
}
