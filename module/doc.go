// Package module is the gateway as Caddy sees it: the app grpc_gateway, which owns the upstreams, the HTTP handler of the
// same name, the admin API and the command line.
//
// Config structs (App, Handler, Upstream, Route and their parts) are plain data; their field comments are the operator's
// manual. Provision compiles them into immutable run-time values in unexported fields, and ServeHTTP touches only those.
//
// What outlives a config, such as connections, watches and schemas, is shared between configs by reference count and stands in
// shared.go, with everything else that is mutable for the whole process.
//
// It is not the place for protocols, balancing, descriptors or registries: those are plain Go packages below
// internal and discovery, which know nothing of Caddy. Nor does it parse Caddyfiles; see package caddyfile.
package module
