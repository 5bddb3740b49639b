package etcd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-grpc/gateway/discovery"
)

// Layout is how services write themselves into etcd: the shape of their keys and values.
type Layout string

// The layouts. docs/discovery.md has an example of each.
const (
	// LayoutAuto recognises each value by its own shape, so that services of several kinds may
	// register under one key.
	LayoutAuto Layout = "auto"
	// LayoutGoZero is <key>/<lease> with host:port as value.
	LayoutGoZero Layout = "gozero"
	// LayoutEtcd is <key>/<anything> with {"Op":0,"Addr":"host:port","Metadata":…}, as etcd's
	// naming/endpoints writes it.
	LayoutEtcd Layout = "etcd"
	// LayoutKratos is /microservices/<name>/<id> with a registry.ServiceInstance.
	LayoutKratos Layout = "kratos"
	// LayoutKitex is kitex/registry-etcd/<name>/<host:port> with
	// {"network","address","weight","tags"}.
	LayoutKitex Layout = "kitex"
	// LayoutMicro is /micro/registry/<name>/<node> with a registry.Service and its nodes.
	LayoutMicro Layout = "micro"
	// LayoutPlain is <key>/<anything> with host:port[?weight=n] as value.
	LayoutPlain Layout = "plain"
)

// A layoutRule is what is known of a layout.
type layoutRule struct {
	// base stands before the service's name where the layout has a place of its own in etcd.
	base string
	// flat says that exactly one segment follows the service's name, so that a longer key is
	// another service's.
	flat bool
	// parse reads one value.
	parse func(key, value string) ([]discovery.Endpoint, error)
}

var layouts = map[Layout]layoutRule{
	LayoutAuto:   {parse: parseAuto},
	LayoutGoZero: {flat: true, parse: parseGoZero},
	LayoutEtcd:   {parse: parseNaming},
	LayoutKratos: {base: "/microservices/", flat: true, parse: parseKratos},
	LayoutKitex:  {base: "kitex/registry-etcd/", flat: true, parse: parseKitex},
	LayoutMicro:  {base: "/micro/registry/", flat: true, parse: parseMicro},
	LayoutPlain:  {parse: parsePlain},
}

// ParseLayout checks the name of a layout; an empty one is LayoutAuto.
func ParseLayout(name string) (Layout, error) {
	if name == "" {
		return LayoutAuto, nil
	}
	if _, ok := layouts[Layout(name)]; !ok {
		return "", fmt.Errorf("unknown etcd layout %s: expected auto, gozero, etcd, kratos, kitex, micro or plain", discovery.Excerpt(name))
	}
	return Layout(name), nil
}

// Prefix returns what is listed and watched for a service. It ends in a slash, so that `user` never
// sees `user2`.
//
// If the layout has a base in etcd, a key without a slash is the name of a service under that base.
// A key with a slash is used as it is, for services that register under another base. LayoutAuto
// uses every key as it is.
func (l Layout) Prefix(key string) (string, error) {
	name := strings.TrimSuffix(key, "/")
	if strings.Trim(name, "/") == "" {
		return "", errors.New("expected an etcd key such as user.rpc, found none")
	}
	if rule := layouts[l]; rule.base != "" && !strings.Contains(name, "/") {
		name = rule.base + name
	}
	return name + "/", nil
}

// Parse reads one registration under prefix. Most layouts give one endpoint. micro may give
// several: the ID of the first is the key, and the others have "#" and the id of a node after it.
// The error says what was expected and what was found.
func (l Layout) Parse(prefix, key, value string) ([]discovery.Endpoint, error) {
	rule := layouts[l]
	rest := strings.TrimPrefix(key, prefix)
	if rest == "" {
		return nil, errors.New("expected a name after the last slash of the key, found none")
	}
	if rule.flat && strings.Contains(rest, "/") {
		return nil, fmt.Errorf("expected one segment after %s, as the %s layout has it; %s is another service's", discovery.Excerpt(prefix), l, discovery.Excerpt(rest))
	}
	return rule.parse(key, value)
}
