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
	opts := options{}
	for _, name := range etcd.ClusterOptions() {
		opts[name] = c.UnmarshalOption
	}
	if err := opts.parse(d, "etcd"); err != nil {
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
