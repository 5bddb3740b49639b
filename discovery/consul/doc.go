// Package consul is a source of endpoints that a Consul catalog knows. It is the guest module
// http.grpc_gateway.discovery.consul, in a Go module of its own: whoever does not use Consul does
// not compile its client. The guest module http.grpc_gateway.catalogs.consul is a catalog of all
// services.
//
// Endpoints are the instances of a service whose health checks all pass. The source follows them by
// blocking queries, keeps the last list through every outage of Consul, and reads nothing but the
// health of its service. A catalog reads the list of services, too.
package consul
