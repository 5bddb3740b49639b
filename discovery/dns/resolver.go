package dns

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// defaultTimeout is how long a name server of the config may take to answer. Two of them can then
// be asked within lookupTimeout.
const defaultTimeout = 2 * time.Second

// nameServer is a name server of the config.
type nameServer struct {
	// tcp says that it is asked by TCP only. Otherwise it is asked by UDP, and by TCP if an answer
	// is too long for that.
	tcp  bool
	addr string // host:port
}

// nameServers ask one of several name servers. When it does not answer, they ask the next one from
// then on.
type nameServers struct {
	servers []nameServer
	timeout time.Duration
	// current counts up. It is the number of the server that is asked, modulo their count.
	current atomic.Uint64
}

// newResolver makes a resolver that asks these servers only. Go's own resolver does the protocol.
// It tries every name at least twice.
func newResolver(servers []nameServer, timeout time.Duration) *net.Resolver {
	n := &nameServers{servers: servers, timeout: timeout}
	return &net.Resolver{PreferGo: true, Dial: n.dial}
}

// dial connects to the current server. It ignores the address, which is one of the operating
// system's.
func (n *nameServers) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	number := n.current.Load()
	server := n.servers[number%uint64(len(n.servers))]
	if server.tcp {
		network = "tcp"
	}
	dialer := net.Dialer{Timeout: n.timeout}
	conn, err := dialer.DialContext(ctx, network, server.addr)
	if err != nil {
		n.failed(number)
		return nil, err
	}
	e := exchange{Conn: conn, servers: n, number: number}
	if packets, ok := conn.(net.PacketConn); ok {
		return packetExchange{e, packets}, nil // Go's resolver asks for this type.
	}
	return e, nil
}

// failed moves on from a server, unless somebody has done so already.
func (n *nameServers) failed(number uint64) { n.current.CompareAndSwap(number, number+1) }

// exchange is a connection for one question.
type exchange struct {
	net.Conn

	servers *nameServers
	number  uint64
}

// Read moves on to the next server if this one does not answer.
func (e exchange) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err != nil {
		e.servers.failed(e.number)
	}
	return n, err
}

// SetDeadline shortens the resolver's deadline, which is that of the operating system.
func (e exchange) SetDeadline(t time.Time) error {
	if latest := time.Now().Add(e.servers.timeout); t.IsZero() || t.After(latest) {
		t = latest
	}
	return e.Conn.SetDeadline(t)
}

// packetExchange is an exchange over UDP.
type packetExchange struct {
	exchange

	packets net.PacketConn
}

func (e packetExchange) ReadFrom(p []byte) (int, net.Addr, error) { return e.packets.ReadFrom(p) }

func (e packetExchange) WriteTo(p []byte, addr net.Addr) (int, error) {
	return e.packets.WriteTo(p, addr)
}

// rooted makes a name absolute, so that it is asked for as it is. The search domains of the
// operating system say nothing about the name servers of the config. An IP address stays as it is.
func rooted(name string) string {
	if _, err := netip.ParseAddr(name); err == nil || name == "" || name[len(name)-1] == '.' {
		return name
	}
	return name + "."
}

// maxLookups is how many names are looked up at the same time.
const maxLookups = 8

// addresses is what is known of one name.
type addresses struct {
	ips []netip.Addr
	err error
}

// lookupAll looks up the addresses of several names.
func lookupAll(ctx context.Context, r resolver, names map[string]*addresses) {
	var wg sync.WaitGroup
	free := make(chan struct{}, maxLookups)
	for name, found := range names {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			found.ips, found.err = r.LookupNetIP(ctx, "ip", name)
			found.ips = oneFamily(found.ips)
		})
	}
	wg.Wait()
}

// oneFamily keeps the addresses that are of the same kind as the first one, which is the preferred
// one (RFC 6724). A host with an IPv4 and an IPv6 address is one instance and not two.
func oneFamily(ips []netip.Addr) []netip.Addr {
	var kept []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); len(kept) == 0 || ip.Is4() == kept[0].Is4() {
			kept = append(kept, ip)
		}
	}
	return kept
}
