// Package netpolicy decides which addresses of instances may be dialled.
//
// Whoever may write to a registry, or to a DNS zone, chooses where the gateway connects. A policy
// limits that choice to the networks in which instances live. It is checked twice: for addresses in
// a list of instances, and for the IP address that a connection is about to be made to. The second
// check is the one that counts for host names, whose meaning can change after the first.
package netpolicy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"github.com/caddy-grpc/gateway/discovery"
)

// Policy says which addresses may be dialled. It is immutable and safe for concurrent use.
type Policy struct {
	// Allow and Deny are networks. An address in Deny is refused. If Allow has entries, an address
	// outside of them is refused. Both hold for every address, whoever wrote it.
	Allow, Deny []netip.Prefix
	// ByHand says that the operator wrote the addresses into the config. No default applies to an
	// IP address that was written by hand. A host name is still resolved by others, so the defaults
	// apply to what it resolves to. Own does not: the port was written by hand.
	ByHand bool
	// Own reports whether the gateway itself listens at an address. Nil: it listens nowhere.
	Own func(netip.AddrPort) bool
}

// Error says why an address is refused.
type Error struct {
	// Addr is the IP address, with its port if that matters.
	Addr string
	// Reason completes the sentence that begins with the address.
	Reason string
}

func (e *Error) Error() string { return e.Addr + " " + e.Reason }

// Parse reads a network in CIDR notation, or a single address. The word private_ranges is for the
// caller to expand.
func Parse(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: expected an IP address or a network such as 10.0.0.0/8", text)
	}
	if addr := prefix.Addr(); addr.Is4In6() {
		if prefix.Bits() < mappedBits {
			return netip.Prefix{}, fmt.Errorf("%q: expected an IPv4 network such as 10.0.0.0/8", text)
		}
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mappedBits)
	}
	return prefix.Masked(), nil
}

// mappedBits is the length of the prefix of IPv4-mapped IPv6 addresses, ::ffff:0:0/96.
const mappedBits = 96

// CheckAddr checks an address of the form host:port. It accepts a host name, which only Guard can
// check. It also accepts a Unix socket, if the operator wrote it: no network has it.
func (p *Policy) CheckAddr(addr string) error {
	if discovery.IsUnix(addr) {
		return p.checkUnix(addr)
	}
	ip, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil //nolint:nilerr // A host name. It says nothing yet.
	}
	return p.check(ip, p.ByHand)
}

// Guard returns the function that checks the IP address of a connection before it is dialled. addr
// is the address of the instance that the connection is for. It has the type of
// net.Dialer.ControlContext.
func (p *Policy) Guard(addr string) func(context.Context, string, string, syscall.RawConn) error {
	_, err := netip.ParseAddrPort(addr)
	trusted := p.ByHand && err == nil
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		return p.checkDial(network, address, trusted)
	}
}

func (p *Policy) checkDial(network, address string, trusted bool) error {
	if strings.HasPrefix(network, "unix") {
		return p.checkUnix(address)
	}
	ip, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("checking the address to dial: %w", err)
	}
	return p.check(ip, trusted)
}

func (p *Policy) checkUnix(address string) error {
	if p.ByHand {
		return nil
	}
	return &Error{Addr: address, Reason: "is a Unix socket, which only the config may name"}
}

// check checks an IP address. trusted says that no default applies to it.
func (p *Policy) check(ip netip.AddrPort, trusted bool) error {
	addr := ip.Addr().Unmap().WithZone("")
	forms := append(embedded(addr), addr)
	for _, form := range forms {
		if network, ok := find(p.Deny, form); ok {
			return &Error{Addr: addr.String(), Reason: "is in the denied network " + network.String()}
		}
	}
	if _, ok := find(p.Allow, addr); !ok && len(p.Allow) > 0 {
		return &Error{Addr: addr.String(), Reason: "is in none of the allowed networks"}
	}
	if trusted {
		return nil
	}
	for _, form := range forms {
		for _, r := range reserved {
			if r.network.Contains(form) && !p.names(form, r.network) {
				return &Error{Addr: addr.String(), Reason: "is " + r.what + ", which is refused unless networks allows it by name"}
			}
		}
	}
	for _, form := range forms {
		at := netip.AddrPortFrom(form, ip.Port())
		if !p.ByHand && p.Own != nil && p.Own(at) && !p.names(form, netip.PrefixFrom(form, form.BitLen())) {
			return &Error{
				Addr:   netip.AddrPortFrom(addr, ip.Port()).String(),
				Reason: "is where this gateway itself listens, which is refused unless networks allows the single address",
			}
		}
	}
	return nil
}

// names reports whether the operator has allowed what is refused by default. A wide network such as
// 0.0.0.0/0 does not do so: the allowed network must be no wider than the refused one.
func (p *Policy) names(addr netip.Addr, refused netip.Prefix) bool {
	for _, a := range p.Allow {
		if a.Contains(addr) && a.Bits() >= refused.Bits() {
			return true
		}
	}
	return false
}

func find(networks []netip.Prefix, addr netip.Addr) (netip.Prefix, bool) {
	for _, n := range networks {
		if n.Contains(addr) {
			return n, true
		}
	}
	return netip.Prefix{}, false
}

// reserved are the networks that are refused by default. None of them has instances of a service.
var reserved = []struct {
	network netip.Prefix
	what    string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
	{netip.MustParsePrefix("::/128"), "an unspecified address"},
	{netip.MustParsePrefix("169.254.0.0/16"), "a link-local address"},
	{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
	{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},
	{netip.MustParsePrefix("ff00::/8"), "a multicast address"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address"},
	// Services of the cloud beside an instance, which give credentials to whoever asks. Most of
	// them are link-local. These are not: AWS (metadata, DNS, EKS), Google, Alibaba and Azure.
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service of the cloud"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata service of the cloud"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service of the cloud"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service of the cloud"},
}

var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
	// A translator with a prefix of its own out of this network (RFC 8215).
	localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")
	compat     = netip.MustParsePrefix("::/96") // RFC 4291, section 2.5.5.1
)

// embedded returns the IPv4 addresses that an IPv6 address may lead to through a translator or a
// tunnel.
func embedded(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsLoopback() || addr.IsUnspecified() {
		return nil
	}
	b := addr.As16()
	switch {
	case nat64.Contains(addr), compat.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[12:16]))}
	case sixTo4.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(b[2:6]))}
	case localNAT64.Contains(addr):
		return translated(b)
	}
	return nil
}

// translated returns the addresses at the places where a translator may have put one, depending on
// the length of its prefix, which is not known here (RFC 6052, section 2.2). Zeros at such a place
// are no address: it is then a part of the prefix.
func translated(b [16]byte) []netip.Addr {
	var all []netip.Addr
	for _, v4 := range [][4]byte{
		{b[6], b[7], b[9], b[10]},    // a prefix of 48 bits
		{b[7], b[9], b[10], b[11]},   // 56
		{b[9], b[10], b[11], b[12]},  // 64
		{b[12], b[13], b[14], b[15]}, // 96
	} {
		if v4[0] != 0 {
			all = append(all, netip.AddrFrom4(v4))
		}
	}
	return all
}

// Key is equal for policies with the same rules.
func (p *Policy) Key() string { return fmt.Sprint(p.Allow, p.Deny, p.ByHand) }

// IsRefusal reports whether an error of a dial is a refusal of a policy.
func IsRefusal(err error) bool {
	var refused *Error
	return errors.As(err, &refused)
}
