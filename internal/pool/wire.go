package pool

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// newDialer makes connections of which the system itself finds out when an idle peer is gone: its probes start after 30 s. Under
// traffic that is TCP_USER_TIMEOUT's job, which grpc sets to the keepalive timeout where the system has it.
//
// It must not be given a local address, also not the zero one that DialTCP takes: a socket that is bound before it connects takes a port
// from all destinations, and the search for one takes the kernel a millisecond when there are thousands.
func newDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3},
	}
}

// guarded returns the dialer with the check for an instance, if there is one.
func guarded(dialer *net.Dialer, guard Guard, addr string) *net.Dialer {
	if guard == nil {
		return dialer
	}
	d := *dialer
	d.ControlContext = guard.Control(addr)
	return &d
}

// connKey is the attribute of an address that says for which connection it is dialled.
type connKey struct{}

// trackedCredentials hand on connections that their endpoint knows, so that it can close them.
type trackedCredentials struct {
	credentials.TransportCredentials

	// name is what certificates are checked against; "": the authority. grpc itself knows only the one or the other.
	name string
}

// ClientHandshake is called by grpc when a connection was dialled.
func (t trackedCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.name != "" {
		authority = t.name
	}
	secured, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	if c, ok := credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(connKey{}).(*conn); ok {
		return track(secured, raw, c), info, nil
	}
	return secured, info, nil
}

// Clone keeps the tracking.
func (t trackedCredentials) Clone() credentials.TransportCredentials {
	return trackedCredentials{t.TransportCredentials.Clone(), t.name}
}

// wire is an open connection. It leaves its set when grpc closes it.
type wire struct {
	net.Conn // what grpc reads and writes, TLS or not

	raw   net.Conn // the TCP connection under it
	set   *wireSet
	reads *atomic.Uint64 // of the endpoint
	limit streamLimit
}

func track(secured, raw net.Conn, c *conn) net.Conn {
	c.limit.Store(0)
	w := &wire{Conn: secured, raw: raw, set: &c.endpoint.wires, reads: &c.endpoint.reads, limit: streamLimit{limit: &c.limit}}
	w.set.add(w)
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
}

func (w *wire) Close() error {
	w.set.remove(w)
	return w.Conn.Close()
}

// wireSet is a set of open connections.
type wireSet struct {
	mu    sync.Mutex
	wires []*wire
}

func (s *wireSet) add(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wires = append(s.wires, w)
}

func (s *wireSet) remove(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.wires {
		if s.wires[i] == w {
			s.wires = append(s.wires[:i], s.wires[i+1:]...)
			return
		}
	}
}

// sever closes the TCP connections under the feet of grpc, which ends every call on them. It does not wait for the peer: TLS's
// own goodbye could.
func (s *wireSet) sever() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wires {
		_ = w.raw.Close()
	}
}
