package netpolicy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// policy makes a policy from networks that are separated by spaces.
func policy(t *testing.T, allow, deny string) *Policy {
	t.Helper()
	return &Policy{Allow: parse(t, allow), Deny: parse(t, deny)}
}

func parse(t *testing.T, networks string) (list []netip.Prefix) {
	t.Helper()
	for _, text := range strings.Fields(networks) {
		p, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// Each address is checked as an entry of a list and as what a connection is about to be made to.
func TestCheck(t *testing.T) {
	listens := netip.MustParseAddrPort("192.0.2.1:443")
	for name, tt := range map[string]struct {
		allow, deny string
		addr        string
		want        string // part of the reason; "": the address is accepted
	}{
		"any address":                 {addr: "10.0.0.1:9000"},
		"loopback":                    {addr: "127.0.0.1:9000"},
		"IPv6 loopback":               {addr: "[::1]:9000"},
		"unique local":                {addr: "[fd00::1]:9000"},
		"link-local":                  {addr: "169.254.169.254:80", want: "link-local"},
		"IPv6 link-local":             {addr: "[fe80::1]:80", want: "link-local"},
		"IPv6 link-local with a zone": {addr: "[fe80::1%eth0]:80", want: "link-local"},
		"mapped link-local":           {addr: "[::ffff:169.254.169.254]:80", want: "link-local"},
		"mapped in hexadecimal":       {addr: "[::ffff:a9fe:a9fe]:80", want: "link-local"},
		"link-local through NAT64":    {addr: "[64:ff9b::a9fe:a9fe]:80", want: "link-local"},
		"link-local through 6to4":     {addr: "[2002:a9fe:a9fe::1]:80", want: "link-local"},
		"IPv4-compatible":             {addr: "[::a9fe:a9fe]:80", want: "link-local"},
		"metadata of AWS":             {addr: "[fd00:ec2::254]:80", want: "metadata"},
		"pod identity of AWS":         {addr: "[fd00:ec2::23]:80", want: "metadata"},
		"metadata of Google":          {addr: "[fd20:ce::254]:80", want: "metadata"},
		"metadata of Alibaba":         {addr: "100.100.100.200:80", want: "metadata"},
		"metadata of Azure":           {addr: "168.63.129.16:80", want: "metadata"},
		"unspecified":                 {addr: "0.0.0.0:80", want: "unspecified"},
		"unspecified network":         {addr: "0.1.2.3:80", want: "unspecified"},
		"IPv6 unspecified":            {addr: "[::]:80", want: "unspecified"},
		"mapped unspecified":          {addr: "[::ffff:0.0.0.0]:80", want: "unspecified"},
		"multicast":                   {addr: "224.0.0.1:80", want: "multicast"},
		"IPv6 multicast":              {addr: "[ff02::1]:80", want: "multicast"},
		"broadcast":                   {addr: "255.255.255.255:80", want: "broadcast"},
		"own listener":                {addr: "192.0.2.1:443", want: "listens"},
		"own listener, mapped":        {addr: "[::ffff:192.0.2.1]:443", want: "listens"},
		"other port of the host":      {addr: "192.0.2.1:9000"},
		"denied":                      {deny: "10.9.0.0/16", addr: "10.9.1.2:80", want: "denied network 10.9.0.0/16"},
		"denied, mapped":              {deny: "10.9.0.0/16", addr: "[::ffff:10.9.1.2]:80", want: "denied"},
		"link-local through a NAT64 of one's own, 48":  {addr: "[64:ff9b:1:a9fe:a9:fe00::]:80", want: "link-local"},
		"link-local through a NAT64 of one's own, 56":  {addr: "[64:ff9b:1:a9:fe:a9fe::]:80", want: "link-local"},
		"link-local through a NAT64 of one's own, 64":  {addr: "[64:ff9b:1:7:a9:fea9:fe00:0]:80", want: "link-local"},
		"link-local through a NAT64 of one's own, 96":  {addr: "[64:ff9b:1::a9fe:a9fe]:80", want: "link-local"},
		"another address through a NAT64 of one's own": {addr: "[64:ff9b:1::10.0.0.1]:80"},
		"denied, through a NAT64 of one's own":         {deny: "10.9.0.0/16", addr: "[64:ff9b:1::10.9.1.2]:80", want: "denied"},
		"denied, through NAT64":                        {deny: "10.9.0.0/16", addr: "[64:ff9b::10.9.1.2]:80", want: "denied"},
		"beside the denied":                            {deny: "10.9.0.0/16", addr: "10.8.1.2:80"},
		"denied in the allowed":                        {allow: "10.0.0.0/8", deny: "10.9.0.0/16", addr: "10.9.1.2:80", want: "denied"},
		"allowed":                                      {allow: "10.0.0.0/8 fd00::/8", addr: "10.1.2.3:80"},
		"allowed, IPv6":                                {allow: "10.0.0.0/8 fd00::/8", addr: "[fd01::1]:80"},
		"allowed, written as mapped":                   {allow: "::ffff:10.0.0.0/104", addr: "10.1.2.3:80"},
		"not allowed":                                  {allow: "10.0.0.0/8", addr: "11.0.0.1:80", want: "none of the allowed"},
		"not allowed, through NAT64":                   {allow: "10.0.0.0/8", addr: "[64:ff9b::10.0.0.1]:80", want: "none of the allowed"},
		"link-local by name":                           {allow: "169.254.0.0/16", addr: "169.254.1.1:80"},
		"one link-local by name":                       {allow: "169.254.1.1", addr: "169.254.1.1:80"},
		"another link-local":                           {allow: "169.254.1.1", addr: "169.254.169.254:80", want: "none of the allowed"},
		"link-local in all":                            {allow: "0.0.0.0/0", addr: "169.254.169.254:80", want: "link-local"},
		"metadata in unique local":                     {allow: "fd00::/8", addr: "[fd00:ec2::254]:80", want: "metadata"},
		"own listener by name":                         {allow: "192.0.2.1", addr: "192.0.2.1:443"},
		"own listener in a network":                    {allow: "192.0.2.0/24", addr: "192.0.2.1:443", want: "listens"},
		"denied wins over allowed twin":                {allow: "10.0.0.1", deny: "10.0.0.1", addr: "10.0.0.1:80", want: "denied"},
		"6to4 network allowed by name":                 {allow: "2002::/16", addr: "[2002:0a00:1::1]:80"},
		"6to4 to link-local is not named":              {allow: "2002::/16", addr: "[2002:a9fe:a9fe::1]:80", want: "link-local"},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(t, tt.allow, tt.deny)
			p.Own = func(a netip.AddrPort) bool { return a == listens }
			for where, err := range map[string]error{
				"in a list": p.CheckAddr(tt.addr),
				"at a dial": p.Guard(tt.addr)(context.Background(), "tcp", tt.addr, nil),
			} {
				var refused *Error
				switch {
				case tt.want == "" && err != nil:
					t.Errorf("%s: %v", where, err)
				case tt.want != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Reason, tt.want)):
					t.Errorf("%s: expected %q, found %v", where, tt.want, err)
				}
			}
		})
	}
}

// What the operator wrote into the config is the operator's decision. What DNS makes of it is not.
func TestCheckByHand(t *testing.T) {
	for name, tt := range map[string]struct {
		allow, deny string
		addr, ip    string // what is dialled, and the IP address that it stands for
		want        string
	}{
		"a link-local address":            {addr: "169.254.1.1:80", ip: "169.254.1.1:80"},
		"a name for a link-local address": {addr: "db.example:80", ip: "169.254.169.254:80", want: "link-local"},
		"a name for the gateway itself":   {addr: "localhost:443", ip: "127.0.0.1:443"},
		"the gateway itself":              {addr: "127.0.0.1:443", ip: "127.0.0.1:443"},
		"a denied address":                {deny: "10.0.0.0/8", addr: "10.0.0.1:80", ip: "10.0.0.1:80", want: "denied"},
		"a name for a denied address":     {deny: "10.0.0.0/8", addr: "db.example:80", ip: "10.0.0.1:80", want: "denied"},
		"an address that is not allowed":  {allow: "10.0.0.0/8", addr: "127.0.0.1:80", ip: "127.0.0.1:80", want: "allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(t, tt.allow, tt.deny)
			p.ByHand = true
			p.Own = func(netip.AddrPort) bool { return true }
			err := p.Guard(tt.addr)(context.Background(), "tcp4", tt.ip, nil)
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("expected %q, found %v", tt.want, err)
			}
		})
	}
}

// Only a config may name a Unix socket. No network has it, so neither list applies to it.
func TestUnixSockets(t *testing.T) {
	for _, addr := range []string{"unix//run/x.sock", "unix/@x", "unix+h2c//run/x.sock"} {
		for name, check := range map[string]func(p *Policy) error{
			"entry of a list": func(p *Policy) error { return p.CheckAddr(addr) },
			"dial":            func(p *Policy) error { return p.Guard(addr)(context.Background(), "unix", "/run/x.sock", nil) },
		} {
			byHand := policy(t, "10.0.0.0/8", "0.0.0.0/0")
			byHand.ByHand = true
			if err := check(byHand); err != nil {
				t.Errorf("%s of the config, %s: %v", addr, name, err)
			}
			err := check(&Policy{})
			if !IsRefusal(err) || !strings.Contains(err.Error(), "is a Unix socket, which only the config may name") {
				t.Errorf("%s of a registry, %s: %v", addr, name, err)
			}
		}
	}
}

// A dialer asks the guard about each IP address that a host name stands for, and dials none that it
// refuses. Nothing is dialled here: the guard refuses, after it has noted what it was asked.
func TestGuardSeesWhatIsDialled(t *testing.T) {
	p := policy(t, "", "127.0.0.0/8 ::1")
	var asked []string
	d := net.Dialer{ControlContext: func(ctx context.Context, network, address string, c syscall.RawConn) error {
		asked = append(asked, address)
		return p.Guard("localhost:1")(ctx, network, address, c)
	}}
	conn, err := d.DialContext(t.Context(), "tcp", "localhost:1")
	if err == nil {
		conn.Close()
	}
	if !IsRefusal(err) || len(asked) == 0 {
		t.Fatalf("expected a refusal, found %v after %q", err, asked)
	}
	for _, a := range asked {
		if _, err := netip.ParseAddrPort(a); err != nil {
			t.Errorf("the guard was asked about %q: %v", a, err)
		}
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":          "10.0.0.0/8",
		"10.1.2.3/8":          "10.0.0.0/8",
		"10.1.2.3":            "10.1.2.3/32",
		"fd00::/8":            "fd00::/8",
		"::1":                 "::1/128",
		"::ffff:10.0.0.0/104": "10.0.0.0/8",
		"::ffff:10.0.0.1":     "10.0.0.1/32",
		"::ffff:0:0/80":       "",
		"10.0.0.0/33":         "",
		"fe80::1%eth0":        "",
		"example.com":         "",
		"":                    "",
	} {
		p, err := Parse(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: expected an error, found %v", text, p)
		case want != "" && (err != nil || p.String() != want):
			t.Errorf("%q: expected %s, found %v (%v)", text, want, p, err)
		}
	}
}
