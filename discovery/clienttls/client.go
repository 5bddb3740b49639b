package clienttls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// Client is the TLS of a client. It follows the certificate and key files that it was made from:
// each handshake uses what they contain then. Connections that exist go on. If what is new cannot
// be used, the last good certificates stay in use, and the log says why, once.
//
// A Client runs nothing in the background and needs no closing. It is safe for concurrent use.
type Client struct {
	id   string
	base *tls.Config // without what is in followed files
	info credentials.ProtocolInfo

	mu      sync.Mutex
	pair    *followed[tls.Certificate] // nil: there is no certificate file
	trust   *followed[*x509.CertPool]  // nil: no file with trusted certificates is followed
	current *handshake
}

// handshake is what a handshake uses. It is immutable.
type handshake struct {
	config *tls.Config
	creds  credentials.TransportCredentials
}

// ID identifies the settings. It is made of options and file names. The contents of followed files
// do not change it, so a renewal makes no new connections. It is a hash, so the ID of a source may
// show it.
func (c *Client) ID() string { return c.id }

// Config returns the TLS config of the next handshake. It reads the files that have changed since
// the last call. The config is shared, and must be cloned before it is changed. The result is the
// same pointer until something has changed.
func (c *Client) Config() *tls.Config { return c.next().config }

// Credentials returns credentials for gRPC. They use the config of the time for each handshake.
func (c *Client) Credentials() credentials.TransportCredentials { return following{c} }

// next looks at the files, and returns what the next handshake uses.
func (c *Client) next() *handshake {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.pair != nil && c.pair.look()
	if c.trust != nil && c.trust.look() {
		changed = true
	}
	if changed {
		c.compileLocked()
	}
	return c.current
}

// compileLocked makes what handshakes use from now on. Caller must hold c.mu.
func (c *Client) compileLocked() {
	config := c.base.Clone()
	if c.pair != nil {
		config.Certificates = []tls.Certificate{c.pair.value}
	}
	if c.trust != nil {
		config.RootCAs = c.trust.value
	}
	c.current = &handshake{config, credentials.NewTLS(config)}
}

// following are the credentials of a Client.
type following struct{ client *Client }

// ClientHandshake implements credentials.TransportCredentials.
func (f following) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return f.client.next().creds.ClientHandshake(ctx, authority, raw)
}

// ServerHandshake implements credentials.TransportCredentials. It always fails.
func (following) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a client's")
}

// Info implements credentials.TransportCredentials. It does not depend on what is in files.
func (f following) Info() credentials.ProtocolInfo {
	return f.client.info
}

// Clone implements credentials.TransportCredentials. The clone follows the same files.
func (f following) Clone() credentials.TransportCredentials { return f }

// OverrideServerName implements credentials.TransportCredentials. It always fails: the name is part
// of the ID.
func (following) OverrideServerName(string) error {
	return errors.New("the server name of these credentials is fixed")
}
