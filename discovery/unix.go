package discovery

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
)

// The address of a Unix socket begins with a network, as Caddy writes addresses. reverse_proxy has
// the second form for HTTP/2 without TLS, which gRPC always is here.
const (
	unixPrefix    = "unix/"
	unixH2CPrefix = "unix+h2c/"
)

// IsUnix reports whether addr is written as the address of a Unix socket, even if ParseUnix refuses
// it.
func IsUnix(addr string) bool {
	return strings.HasPrefix(addr, unixPrefix) || strings.HasPrefix(addr, unixH2CPrefix)
}

// UnixPath returns the path of a Unix socket whose address ParseUnix has returned. ok is false if
// addr is not such an address. The path of an abstract socket begins with "@", as package net
// writes it.
func UnixPath(addr string) (path string, ok bool) {
	return strings.CutPrefix(addr, unixPrefix)
}

// ParseUnix checks the address of a Unix socket and returns its only spelling in an Endpoint:
//
//	unix//run/user.sock       a socket in the file system, by its absolute path
//	unix/@user                an abstract socket, on Linux
//	unix+h2c//run/user.sock   the same as unix//run/user.sock
//
// Only a config may name a socket. A source whose endpoints come from a registry must not use this:
// whoever writes to the registry would choose a file for the gateway to open. CheckAddr refuses
// these addresses, and so does the gateway if they come from a source that is not Fixed.
func ParseUnix(addr string) (string, error) {
	path, ok := strings.CutPrefix(addr, unixPrefix)
	if !ok {
		path, ok = strings.CutPrefix(addr, unixH2CPrefix)
	}
	if !ok {
		return "", fmt.Errorf("expected a Unix socket such as unix//run/user.sock, found %s", Excerpt(addr))
	}
	if err := checkUnixPath(path); err != nil {
		return "", fmt.Errorf("%w in %s", err, Excerpt(addr))
	}
	return unixPrefix + path, nil
}

func checkUnixPath(path string) error {
	// The kernel's sun_path ends with a zero byte, unless the socket is abstract.
	most := len(syscall.RawSockaddrUnix{}.Path) - 1
	abstract := strings.HasPrefix(path, "@")
	if abstract {
		most++
	}
	switch {
	case !abstract && !strings.HasPrefix(path, "/"):
		return errors.New("expected an absolute path or @ and a name, as in unix//run/user.sock or unix/@user,")
	case strings.Trim(path, "/") == "" || path == "@":
		return errors.New("expected the name of a socket")
	case abstract && runtime.GOOS != "linux":
		return errors.New("expected the path of a file: only Linux has abstract sockets,")
	case len(path) > most:
		return fmt.Errorf("expected a path of at most %d bytes, which is the limit of this system, found %d", most, len(path))
	case !isPrintable(path):
		return errors.New("expected printable characters and UTF-8")
	case strings.Contains(path, "|"):
		return errors.New("expected no permissions after the path, which are for listeners,")
	}
	return nil
}
