// Package gateway is a plugin for Caddy that puts gRPC services on the web: it finds their
// instances in etcd, keeps a pool of connections to them, learns their schema by itself and answers
// REST requests with JSON.
//
// Importing it registers these Caddy modules:
//
//	grpc_gateway                          the app: upstreams, shared by handlers
//	http.handlers.grpc_gateway            the handler, and the Caddyfile directive
//	http.handlers.grpc_gateway_status     shows operators the state of the gateway in a browser
//	http.grpc_gateway.discovery.etcd      finds instances in etcd
//	http.grpc_gateway.discovery.static    takes instances from the config
//	http.grpc_gateway.discovery.dns       finds instances in the DNS
//	admin.api.grpc_gateway                shows operators the state of the gateway
//
// and the command "caddy grpc-gateway". Build a Caddy with the plugin by
//
//	xcaddy build --with github.com/caddy-grpc/gateway
//
// and begin with the shortest useful Caddyfile:
//
//	:8080
//	grpc_gateway etcd://127.0.0.1:2379/user.rpc
//
// The documentation is in the directory docs. configuration.md is the reference of the options.
// operations.md is about running the gateway.
//
// This package has no API. If you write a source of instances, implement the contract in package
// discovery, as the packages in its directory do.
package gateway
