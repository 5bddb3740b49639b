package gateway

// These packages register their modules with Caddy.
import (
	_ "github.com/caddy-grpc/gateway/caddyfile"
	_ "github.com/caddy-grpc/gateway/checks/protovalidate"
	_ "github.com/caddy-grpc/gateway/discovery/dns"
	_ "github.com/caddy-grpc/gateway/discovery/etcd"
	_ "github.com/caddy-grpc/gateway/discovery/static"
	_ "github.com/caddy-grpc/gateway/module"
)
