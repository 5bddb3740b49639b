// Package wire has what the pool knows about sockets. It dials connections and paces the dials. It
// reads what the first frames of an instance say. It knows which connections of an instance are
// open and can cut them. The package is a leaf: it knows neither endpoints nor calls.
package wire

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/credentials"
)

// NewDialer returns a dialer whose connections find out by themselves when an idle peer is gone.
// The system probes after 30 s. Under traffic TCP_USER_TIMEOUT does this. Grpc sets it to the
// keepalive timeout, where the system has it.
//
// The dialer must not get a local address, not even the zero one that DialTCP takes. A socket that
// is bound before it connects takes a port away from all destinations. When there are thousands,
// the kernel needs a millisecond to find a port.
func NewDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
	}
}

// Owner owns connections. Its methods are called by the goroutine that reads.
type Owner interface {
	// ServerName is the name that certificates are checked against if the credentials have no name.
	// It is a host or a host:port.
	ServerName() string
	// Wires is the set that open connections belong to.
	Wires() *Set
	// Reads counts how often something came from the instance.
	Reads() *atomic.Uint64
	// StreamLimit is where the maximum number of concurrent streams is stored. 0: the instance sets
	// no limit, or the limit is not known.
	StreamLimit() *atomic.Uint32
	// TooManyPings is called when the instance closes the connection because of keepalive pings.
	TooManyPings()
}

type ownerKey struct{}

// Attributes mark an address that is dialled for an owner.
func Attributes(o Owner) *attributes.Attributes { return attributes.New(ownerKey{}, o) }

// OwnerOf returns the owner of an address. It returns nil if there is none.
func OwnerOf(a *attributes.Attributes) Owner {
	o, _ := a.Value(ownerKey{}).(Owner)
	return o
}

// Credentials secure connections. They also make each connection tell its owner what happens to it.
type Credentials struct {
	credentials.TransportCredentials

	// Name is the name that certificates are checked against. "": the ServerName of the owner. Grpc
	// itself would check them against the authority, which may be any name.
	Name string
}

// ClientHandshake is called by grpc after a dial.
func (c Credentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	o := OwnerOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes)
	secured, info, err := c.TransportCredentials.ClientHandshake(ctx, c.nameFor(o, authority), raw)
	if err != nil {
		return nil, nil, err
	}
	if o != nil {
		return track(secured, raw, o), info, nil
	}
	return secured, info, nil
}

// nameFor returns the name that a certificate is checked against.
func (c Credentials) nameFor(o Owner, authority string) string {
	switch {
	case c.Name != "":
		return c.Name
	case o != nil:
		return o.ServerName()
	default:
		return authority
	}
}

// Secure does the same for a connection that is not grpc's. Of what happens to the connection, the
// owner learns only that it is open: the Set has it until it is closed. If there is an error, raw
// is closed.
func (c Credentials) Secure(ctx context.Context, o Owner, raw net.Conn) (net.Conn, error) {
	secured, _, err := c.TransportCredentials.ClientHandshake(ctx, c.nameFor(o, ""), raw)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	t := &tracked{Conn: secured, raw: raw, set: o.Wires()}
	t.set.add(t)
	return t, nil
}

// Clone returns a copy with the same name.
func (c Credentials) Clone() credentials.TransportCredentials {
	return Credentials{c.TransportCredentials.Clone(), c.Name}
}

// tracked is an open connection. It leaves its set when it is closed.
type tracked struct {
	// Conn is what is read and written, with or without TLS.
	net.Conn

	// raw is the TCP connection or Unix socket below Conn.
	raw net.Conn
	set *Set
}

func (t *tracked) Close() error {
	t.set.remove(t)
	return t.Conn.Close()
}

// NetConn returns the TCP connection or Unix socket.
func (t *tracked) NetConn() net.Conn { return t.raw }

// wire is an open connection of grpc. It looks at what is read.
type wire struct {
	tracked

	owner Owner
	reads *atomic.Uint64
	limit streamLimit
}

func track(secured, raw net.Conn, o Owner) net.Conn {
	o.StreamLimit().Store(0)
	w := &wire{tracked: tracked{Conn: secured, raw: raw, set: o.Wires()}, owner: o, reads: o.Reads(), limit: streamLimit{limit: o.StreamLimit()}}
	w.set.add(&w.tracked)
	return withReadyReads(w)
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received(p[:n])
	return n, err
}

// received notes bytes that came from the instance.
func (w *wire) received(p []byte) {
	if len(p) > 0 {
		w.reads.Add(1)
	}
	w.limit.read(p)
	if bytes.HasSuffix(p, goAwayTooManyPings) {
		w.owner.TooManyPings()
	}
}

// Set has the open connections of an instance. The zero value is empty.
type Set struct {
	mu    sync.Mutex
	wires []*tracked
}

func (s *Set) add(w *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires = append(s.wires, w)
}

func (s *Set) remove(w *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.wires {
		if s.wires[i] == w {
			s.wires = append(s.wires[:i], s.wires[i+1:]...)
			return
		}
	}
}

// Sever closes the raw connections without telling their users. This ends every call on them.
// Unlike TLS's own close, it does not wait for the peer.
func (s *Set) Sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wires {
		_ = w.raw.Close()
	}
}
