// Package wire is what the pool knows about sockets: how connections are dialled and at which pace,
// what the first frames of an instance say, which connections of an instance are open, and how to
// cut them. It is a leaf: it knows neither endpoints nor calls.
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

// NewDialer makes connections on which the system itself finds out when an idle peer is gone. Its
// probes start after 30 s. Under traffic that is TCP_USER_TIMEOUT's job, which grpc sets to the
// keepalive timeout where the system has it.
//
// The dialer must not get a local address, not even the zero one that DialTCP takes: a socket that
// is bound before it connects takes a port from all destinations, and the search for one takes the
// kernel a millisecond when there are thousands.
func NewDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
	}
}

// Owner is whose connection it is. Its methods are called by the goroutine that reads.
type Owner interface {
	// Wires is the set that open connections belong to.
	Wires() *Set
	// Reads counts how often something came from the instance.
	Reads() *atomic.Uint64
	// StreamLimit takes the number of concurrent streams that the instance allows. 0: not known, or
	// none.
	StreamLimit() *atomic.Uint32
	// TooManyPings is called when the instance closes the connection because of keepalive pings.
	TooManyPings()
}

type ownerKey struct{}

// Attributes mark an address that is dialled for an owner.
func Attributes(o Owner) *attributes.Attributes { return attributes.New(ownerKey{}, o) }

// OwnerOf returns the owner of an address, nil if it has none.
func OwnerOf(a *attributes.Attributes) Owner {
	o, _ := a.Value(ownerKey{}).(Owner)
	return o
}

// Credentials secure connections, and have each of them tell its owner what happens to it.
type Credentials struct {
	credentials.TransportCredentials

	// Name is what certificates are checked against. "": the authority. grpc itself knows only one
	// of them.
	Name string
}

// ClientHandshake is called by grpc when a connection was dialled.
func (c Credentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.Name != "" {
		authority = c.Name
	}
	secured, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	if o := OwnerOf(credentials.ClientHandshakeInfoFromContext(ctx).Attributes); o != nil {
		return track(secured, raw, o), info, nil
	}
	return secured, info, nil
}

// Clone keeps the name.
func (c Credentials) Clone() credentials.TransportCredentials {
	return Credentials{c.TransportCredentials.Clone(), c.Name}
}

// wire is an open connection. It leaves its set when grpc closes it.
type wire struct {
	// Conn is what grpc reads and writes, with or without TLS.
	net.Conn

	// raw is the TCP connection below it.
	raw   net.Conn
	owner Owner
	reads *atomic.Uint64
	limit streamLimit
}

func track(secured, raw net.Conn, o Owner) net.Conn {
	o.StreamLimit().Store(0)
	w := &wire{Conn: secured, raw: raw, owner: o, reads: o.Reads(), limit: streamLimit{limit: o.StreamLimit()}}
	o.Wires().add(w)
	return withReadyReads(w)
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.received(p[:n])
	return n, err
}

// received takes note of bytes that came from the instance.
func (w *wire) received(p []byte) {
	if len(p) > 0 {
		w.reads.Add(1)
	}
	w.limit.read(p)
	if bytes.HasSuffix(p, goAwayTooManyPings) {
		w.owner.TooManyPings()
	}
}

func (w *wire) Close() error {
	w.owner.Wires().remove(w)
	return w.Conn.Close()
}

// Set has the open connections of an instance. The zero value is empty.
type Set struct {
	mu    sync.Mutex
	wires []*wire
}

func (s *Set) add(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires = append(s.wires, w)
}

func (s *Set) remove(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.wires {
		if s.wires[i] == w {
			s.wires = append(s.wires[:i], s.wires[i+1:]...)
			return
		}
	}
}

// Sever closes the TCP connections without grpc's knowledge, which ends every call on them. It does
// not wait for the peer, which TLS's own goodbye could.
func (s *Set) Sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wires {
		_ = w.raw.Close()
	}
}
