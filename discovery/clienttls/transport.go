package clienttls

import (
	"crypto/tls"
	"net/http"
	"sync"
)

// Transport is an http.Transport with the TLS of a Client. It is for registries that speak HTTP. A
// request that starts after a renewal is sent on a new connection. Requests that run go on.
type Transport struct {
	client *Client
	base   *http.Transport

	mu      sync.Mutex
	config  *tls.Config // of current
	current *http.Transport
}

// Transport returns a transport with the settings of base, whose TLSClientConfig is not used.
func (c *Client) Transport(base *http.Transport) *Transport {
	return &Transport{client: c, base: base}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.latest().RoundTrip(r)
}

// CloseIdleConnections closes connections without requests, as http.Transport does.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		t.current.CloseIdleConnections()
	}
}

// latest returns a transport with the TLS config of the time.
func (t *Transport) latest() *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	config := t.client.Config()
	if t.current != nil && t.config == config {
		return t.current
	}
	old := t.current
	t.current, t.config = t.base.Clone(), config
	t.current.TLSClientConfig = config.Clone()
	if old != nil {
		// This also closes connections that are in use now, as soon as they are not.
		old.CloseIdleConnections()
	}
	return t.current
}
