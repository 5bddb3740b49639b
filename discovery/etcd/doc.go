// Package etcd finds the instances of a service in etcd, as the guest module
// http.grpc_gateway.discovery.etcd.
//
// The watch loop (watcher, follow) keeps a table of the registrations under a prefix in step with
// etcd. Layouts say how registrations look. client and session are the shared connection to a
// cluster, and outages logs trouble with it. All of these are plain Go. module.go is what Caddy
// sees.
//
// The package is not a general client for etcd. It writes nothing, and it knows nothing of
// connections to the instances. Whether an instance stays in use after it vanished from etcd is
// decided by the pool.
package etcd
