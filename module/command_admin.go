package module

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminTimeout is how long the admin API may take for an answer.
const adminTimeout = 30 * time.Second

// admin is the admin API of a running server.
type admin struct {
	address string // for messages
	base    string // URL without the path
	origin  string // what Caddy may check; empty for a Unix socket
	client  *http.Client
}

// ask returns a function that opens the admin API, to read what it lists at a path.
func ask[T any](path string) func(cmd *cobra.Command) (reader[T], error) {
	return func(cmd *cobra.Command) (reader[T], error) {
		config, err := readConfig(cmd)
		if err != nil {
			return nil, err
		}
		a, err := adminOf(cmd, config)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context) (all []T, err error) {
			err = a.ask(ctx, path, &all)
			return all, err
		}, nil
	}
}

// readConfig returns the JSON of the config of the flags, or nil without the flag --config, or if
// it is not needed because the flag --address says more.
func readConfig(cmd *cobra.Command) ([]byte, error) {
	file, _ := cmd.Flags().GetString("config")
	adapter, _ := cmd.Flags().GetString("adapter")
	if file == "" && adapter == "" {
		return nil, nil
	}
	raw, _, _, err := caddycmd.LoadConfig(file, adapter)
	return raw, err
}

// adminOf returns the admin API at the address of the flag --address, of the config, or at Caddy's
// default. A config of nil has no address.
func adminOf(cmd *cobra.Command, config []byte) (*admin, error) {
	address, _ := cmd.Flags().GetString("address")
	if address == "" {
		var parsed struct {
			Admin *caddy.AdminConfig `json:"admin"`
		}
		if config != nil {
			if err := json.Unmarshal(config, &parsed); err != nil {
				return nil, fmt.Errorf("reading the admin address of the config: %w", err)
			}
		}
		address = caddy.DefaultAdminListen
		if a := parsed.Admin; a != nil && a.Disabled {
			return nil, errors.New("the config switches the admin endpoint off, so nothing can be asked there")
		} else if a != nil && a.Listen != "" {
			address = a.Listen
		}
	}
	return newAdmin(cmd, address)
}

// newAdmin returns the admin API at an address of Caddy's, such as localhost:2019 or
// unix//run/caddy.sock, or at a URL.
func newAdmin(cmd *cobra.Command, address string) (*admin, error) {
	a := &admin{address: address}
	var dial *caddy.NetworkAddress
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		at, err := url.Parse(address)
		if err != nil || at.Host == "" {
			return nil, fmt.Errorf("admin address %q: expected host:port or a URL", address)
		}
		a.address, a.base, a.origin = at.Redacted(), strings.TrimSuffix(address, "/"), at.Scheme+"://"+at.Host
	} else {
		at, err := caddy.ParseNetworkAddress(address)
		if err != nil || at.PortRangeSize() > 1 || at.IsFdNetwork() {
			return nil, fmt.Errorf("admin address %q: expected host:port, unix/<path> or a URL", address)
		}
		a.base = "http://" + at.JoinHostPort(0)
		a.origin = a.base
		if at.IsUnixNetwork() {
			a.base, a.origin = "http://127.0.0.1", ""
		}
		dial = &at
	}
	var err error
	a.client, err = newClient(cmd, dial, adminTimeout)
	return a, err
}

// ask gets JSON from the admin API.
func (a *admin) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, nil)
	if err != nil {
		return fmt.Errorf("asking the admin API at %s: %w", a.address, err)
	}
	if a.origin != "" {
		req.Header.Set("Origin", a.origin)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return &commandError{exitUnreachable, fmt.Errorf("asking the admin API at %s: %w", a.address, err)}
	}
	defer a.client.CloseIdleConnections()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return &commandError{exitUnreachable, fmt.Errorf("reading the answer of the admin API at %s: %w", a.address, err)}
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("there is no %s at %s: expected the admin API of Caddy with the gateway", path, a.address)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("asking the admin API at %s: HTTP %s: %.200s", a.address, resp.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the answer of the admin API at %s: %w", a.address, err)
	}
	return nil
}

// newClient returns a client with the flags --insecure and --cacert. If dial is set, every
// connection goes there, whatever the URL of a request says, and through no proxy.
func newClient(cmd *cobra.Command, dial *caddy.NetworkAddress, timeout time.Duration) (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	insecure, _ := cmd.Flags().GetBool("insecure")
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if file, _ := cmd.Flags().GetString("cacert"); file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authorities: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("%s: expected certificates in PEM", file)
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	if dial != nil {
		network, address := dial.Network, dial.JoinHostPort(0)
		if dial.IsUnixNetwork() {
			address, _, _ = strings.Cut(address, "|") // the permissions of the socket
		}
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, network, address)
		}
	}
	return &http.Client{Transport: transport, Timeout: timeout}, nil
}
