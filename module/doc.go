// Package module is the gateway as Caddy sees it: the app grpc_gateway, which owns the upstreams,
// the HTTP handler of the same name, the admin API and the command line.
//
// The config structs ([App], [Handler], [Upstream], [Route] and their parts) are plain data. The
// comments of their fields are the operator's manual. Provision compiles them into immutable
// run-time values in unexported fields, and ServeHTTP uses only those.
//
// Connections, watches and schemas outlive a config. Configs share them by reference count. They
// are in shared.go, together with all other state of the process except the metric collectors,
// which are in metrics.go and metrics_pool.go.
//
// Protocols, balancing, descriptors and registries do not belong here. They are plain Go packages
// in internal and discovery that do not know Caddy. Caddyfiles are parsed by package caddyfile.
package module
