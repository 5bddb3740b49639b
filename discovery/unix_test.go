package discovery

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseUnix(t *testing.T) {
	for name, c := range map[string]struct {
		addr string
		want string
		err  string // part of the error; empty: none
	}{
		"path":                    {addr: "unix//run/user.sock", want: "unix//run/user.sock"},
		"as h2c":                  {addr: "unix+h2c//run/user.sock", want: "unix//run/user.sock"},
		"with spaces and colons":  {addr: "unix//run/my app/a:80", want: "unix//run/my app/a:80"},
		"not only ASCII":          {addr: "unix//run/用户.sock", want: "unix//run/用户.sock"},
		"abstract":                {addr: "unix/@user", want: "unix/@user"},
		"longest path":            {addr: "unix//" + strings.Repeat("a", 106), want: "unix//" + strings.Repeat("a", 106)},
		"path too long":           {addr: "unix//" + strings.Repeat("a", 107), err: "at most 107 bytes, which is the limit of this system, found 108 in"},
		"longest abstract":        {addr: "unix/@" + strings.Repeat("a", 107), want: "unix/@" + strings.Repeat("a", 107)},
		"abstract too long":       {addr: "unix/@" + strings.Repeat("a", 108), err: "at most 108 bytes"},
		"not a socket":            {addr: "10.0.0.1:80", err: "expected a Unix socket such as unix//run/user.sock"},
		"another network":         {addr: "unixgram//run/user.sock", err: "expected a Unix socket"},
		"relative":                {addr: "unix/run/user.sock", err: "expected an absolute path or @ and a name"},
		"nothing":                 {addr: "unix/", err: "expected an absolute path"},
		"root":                    {addr: "unix///", err: "expected the name of a socket"},
		"abstract without a name": {addr: "unix/@", err: "expected the name of a socket"},
		"line break":              {addr: "unix//run/a\nb", err: "expected printable characters"},
		"zero byte":               {addr: "unix//run/a\x00", err: "expected printable characters"},
		"not UTF-8":               {addr: "unix//run/\xff", err: "expected printable characters"},
		"permissions":             {addr: "unix//run/user.sock|0200", err: "expected no permissions"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseUnix(c.addr)
			wantError(t, err, c.err)
			if err == nil && got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if path, ok := UnixPath(got); err == nil && (!ok || path != strings.TrimPrefix(c.want, "unix/")) {
				t.Errorf("the path is %q", path)
			}
		})
	}
}

func TestAddressesOfHostsHaveNoPath(t *testing.T) {
	for _, addr := range []string{"unix:80", "unix.example:80", "10.0.0.1:80"} {
		if path, ok := UnixPath(addr); ok || IsUnix(addr) {
			t.Errorf("%s is the socket %q", addr, path)
		}
	}
}

// The longest path that is accepted can be listened at and dialled.
func TestLongestPathIsDialled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, strings.Repeat("a", 106-len(dir)))
	addr, err := ParseUnix("unix/" + path)
	if err != nil {
		t.Skipf("the directory for temporary files has a long name: %v", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	path, _ = UnixPath(addr)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
