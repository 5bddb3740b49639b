package caddyfile

import (
	"cmp"

	"github.com/caddy-grpc/gateway/discovery/etcd"
	"github.com/caddy-grpc/gateway/module"
)

// parseEtcd parses
//
//	etcd [<name>] {
//		endpoints    <host:port>...
//		user         <name> <password>
//		tls          { ... }
//		dial_timeout <duration>
//		keepalive    <time> [<timeout>]
//	}
func parseEtcd(d *dispenser, app *module.App) error {
	got, err := args(d, 0, 1, "a name, or none for the cluster \"default\"")
	if err != nil {
		return err
	}
	name := "default"
	if len(got) == 1 {
		name = cmp.Or(got[0], name)
	}
	if _, ok := app.Etcd[name]; ok {
		return d.Errf("etcd cluster %q is defined twice in the global option grpc_gateway", name)
	}
	line := *d // for errors about the block as a whole
	c := new(etcd.Cluster)
	err = options{
		"endpoints":    func(d *dispenser) error { return parseEndpoints(d, c) },
		"user":         func(d *dispenser) error { return parseUser(d, c) },
		"tls":          func(d *dispenser) error { return parseTLS(d, &c.TLS) },
		"dial_timeout": duration(&c.DialTimeout),
		"keepalive":    func(d *dispenser) error { return parseEtcdKeepalive(d, c) },
	}.parse(d, "etcd")
	if err != nil {
		return err
	}
	if len(c.Endpoints) == 0 {
		return line.Errf("etcd cluster %q has no endpoints", name)
	}
	if app.Etcd == nil {
		app.Etcd = make(map[string]*etcd.Cluster)
	}
	app.Etcd[name] = c
	return nil
}

func parseEndpoints(d *dispenser, c *etcd.Cluster) (err error) {
	c.Endpoints, err = args(d, 1, anyNumber, "at least one host:port")
	return err
}

func parseUser(d *dispenser, c *etcd.Cluster) error {
	got, err := args(d, 2, 2, "<name> <password>")
	if err != nil {
		return err
	}
	c.Username, c.Password = got[0], got[1]
	return nil
}

func parseEtcdKeepalive(d *dispenser, c *etcd.Cluster) error {
	got, err := args(d, 1, 2, "<time> [<timeout>]")
	if err != nil {
		return err
	}
	if c.KeepaliveTime, err = parseDuration(got[0]); err != nil {
		return d.Errf("keepalive %w", err)
	}
	if len(got) == 2 {
		if c.KeepaliveTimeout, err = parseDuration(got[1]); err != nil {
			return d.Errf("keepalive %w", err)
		}
	}
	return nil
}
