package kubernetes

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	clienttransport "k8s.io/client-go/transport"
)

// newHTTPClient returns a client for the API server, and a function that closes its connections.
// client-go's own clients share transports for as long as the process lives, so their connections
// outlive the watch that made them.
func newHTTPClient(config *rest.Config) (client *http.Client, closeAll func(), err error) {
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, nil, err
	}
	conns := connections{dialer: net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}}
	proxy := http.ProxyFromEnvironment
	if config.Proxy != nil {
		proxy = config.Proxy
	}
	transport := utilnet.SetTransportDefaults(&http.Transport{
		Proxy: proxy, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: tlsConfig, DialContext: conns.dial,
		DisableCompression: config.DisableCompression,
	})
	wrapped, err := rest.HTTPWrappersForConfig(renewing(config), transport)
	if err != nil {
		return nil, nil, fmt.Errorf("authentication: %w", err)
	}
	return &http.Client{Transport: wrapped}, func() {
		transport.CloseIdleConnections()
		conns.close()
	}, nil
}

// renewing makes a client that was refused read the file of its token again. client-go alone would
// go on with a token that has ended for up to a minute.
func renewing(config *rest.Config) *rest.Config {
	file := config.BearerTokenFile
	if file == "" {
		return config
	}
	config = rest.CopyConfig(config)
	config.BearerToken, config.BearerTokenFile = "", ""
	config.Wrap(clienttransport.ResettableTokenSourceWrapTransport(clienttransport.NewCachedFileTokenSource(file)))
	return config
}

// connections are the open connections of a client.
type connections struct {
	dialer net.Dialer

	mu     sync.Mutex
	open   map[*connection]struct{}
	closed bool
}

// connection is one of them.
type connection struct {
	net.Conn

	of *connections
}

func (c *connections) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := c.dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn := &connection{Conn: raw, of: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	if c.open == nil {
		c.open = make(map[*connection]struct{})
	}
	c.open[conn] = struct{}{}
	return conn, nil
}

// close closes all connections, and each that is dialled later.
func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for conn := range c.open {
		_ = conn.Conn.Close()
	}
	clear(c.open)
}

// Close implements net.Conn.
func (c *connection) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
