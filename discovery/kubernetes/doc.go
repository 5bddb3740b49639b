// Package kubernetes is a source of endpoints that a Kubernetes API server knows. It is the guest
// module http.grpc_gateway.discovery.kubernetes, in a Go module of its own: whoever does not use
// Kubernetes does not compile its client.
//
// Endpoints are the ready pods of a service, by its EndpointSlices. Calls go to the pods directly:
// the address of a service would lead all calls of a connection to one pod. The source lists and
// watches the slices of its service, keeps the last list through every outage of the API server,
// and reads nothing else.
package kubernetes
