package etcd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

// A catalog watches everything under a prefix. In each layout the service is the part of the key
// before the instance, so `user.rpc/7587862094` is an instance of `user.rpc`.

// CatalogPrefix returns what is listed and watched for a catalog. A prefix of nothing but slashes
// is all of etcd or, if the layout has a base in etcd, everything under that base. Any other prefix
// is used as it is, with one slash at its end.
func (l Layout) CatalogPrefix(prefix string) (string, error) {
	name := strings.TrimRight(prefix, "/")
	switch {
	case prefix == "":
		return "", errors.New("expected an etcd prefix such as / or /microservices, found none")
	case name == "":
		return layouts[l].base, nil
	}
	return name + "/", nil
}

// ParseService reads one registration under the prefix of a catalog. It is Parse for a service that
// is not known before: the service is what the key has between the prefix and its last slash.
func (l Layout) ParseService(prefix, key, value string) ([]discovery.Endpoint, error) {
	rest := strings.TrimPrefix(key, prefix)
	slash := strings.LastIndexByte(rest, '/')
	if slash <= 0 || slash == len(rest)-1 {
		return nil, fmt.Errorf("expected <service>/<instance> in the key, found %s", discovery.Excerpt(rest))
	}
	service := rest[:slash]
	if err := discovery.CheckService(service); err != nil {
		return nil, err
	}
	endpoints, err := layouts[l].parse(key, value)
	if err != nil {
		return nil, err
	}
	for i := range endpoints {
		endpoints[i].Service = service
	}
	return endpoints, nil
}
