// Package etcd finds the instances of a service in etcd, as the guest module http.grpc_gateway.discovery.etcd.
//
// The watch loop (watcher, follow) keeps a table of the registrations under a prefix in step with etcd; layouts say how
// registrations look; client and session are the shared connection to a cluster. They are plain Go. module.go is what Caddy sees.
//
// It is not a client for etcd in general, writes nothing, and knows nothing of connections to the instances it finds: that an
// instance should stay in use although it vanished from etcd is for the pool to decide.
package etcd
