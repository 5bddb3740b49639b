package etcd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

const defaultPort = "2379"

// checkEndpoints checks the addresses of a cluster's members and adds the default port. They are
// host[:port], http://host[:port] or https://host[:port]. etcd's client takes from the first
// address whether to use TLS for all, so they must agree with each other and with the TLS settings.
func checkEndpoints(endpoints []string, withTLS bool) ([]string, error) {
	if len(endpoints) == 0 {
		return nil, errors.New("expected endpoints of etcd such as 127.0.0.1:2379, found none")
	}
	out := make([]string, 0, len(endpoints))
	first := ""
	for i, e := range endpoints {
		scheme, host, isURL := strings.Cut(e, "://")
		if !isURL {
			scheme, host = "", e
		}
		switch {
		case scheme != "" && scheme != "http" && scheme != "https":
			return nil, fmt.Errorf("etcd endpoint %s: expected host:port, http:// or https://", discovery.Excerpt(e))
		case scheme == "http" && withTLS:
			return nil, fmt.Errorf("etcd endpoint %s: expected https:// or no scheme, because tls is set", discovery.Excerpt(e))
		case i > 0 && scheme != first:
			return nil, fmt.Errorf("etcd endpoint %s: expected the same scheme in all endpoints", discovery.Excerpt(e))
		}
		first = scheme
		hosts, err := discovery.SplitHosts(host, defaultPort)
		if err != nil {
			return nil, fmt.Errorf("etcd endpoint %s: %w", discovery.Excerpt(e), err)
		}
		for _, h := range hosts {
			if scheme != "" {
				h = scheme + "://" + h
			}
			out = append(out, h)
		}
	}
	return out, nil
}
