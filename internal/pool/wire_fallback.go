package pool

import (
	"time"

	"github.com/caddy-grpc/gateway/internal/rpcwire"
)

// The transports of Settings.Transport.
const (
	// TransportGRPC makes connections with grpc-go. It is the default.
	TransportGRPC = "grpc"
	// TransportWire makes connections with the gateway's own HTTP/2 client, package rpcwire.
	TransportWire = "wire"
)

// fallbackTime is how long new connections to an instance are grpc-go's after it has violated
// HTTP/2 on a connection of rpcwire. Either the instance or rpcwire is wrong then. grpc-go is less
// strict, and more widely used.
const fallbackTime = time.Hour

// wantedTransport returns the transport of the next connection to an endpoint.
//
// Caller must hold b.mu.
func (b *balancer) wantedTransport(ep *endpoint) string {
	if b.settings.Transport != TransportWire || time.Now().Before(ep.fallbackUntil) {
		return TransportGRPC
	}
	return TransportWire
}

// transport returns the transport of the connection. It must have a link.
func (c *conn) transport() string {
	if _, ok := c.link.(*wireLink); ok {
		return TransportWire
	}
	return TransportGRPC
}

// withWantedLink returns the connection to dial instead of c, which is down. It is another one if
// the endpoint's transport has changed.
//
// Caller must hold b.mu.
func (b *balancer) withWantedLink(c *conn) *conn {
	if c.transport() == b.wantedTransport(c.endpoint) {
		return c
	}
	b.drop(c)
	return b.newConn(c.endpoint)
}

// violated notes that an instance has violated HTTP/2 on a connection of rpcwire. The connection is
// closed. The next ones are grpc-go's for a while. The log says so once in that time.
func (b *balancer) violated(c *conn, err *rpcwire.ConnError) {
	b.lock()
	defer b.publishAndUnlock()
	now := time.Now()
	if now.Before(c.endpoint.fallbackUntil) {
		return
	}
	c.endpoint.fallbackUntil = now.Add(fallbackTime)
	c.endpoint.noteError(err)
	b.events.violated(c.endpoint.addr, err, fallbackTime)
}
