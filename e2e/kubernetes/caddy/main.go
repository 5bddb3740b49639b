// Command caddy is Caddy with the gateway and its plugin for Kubernetes. The tests beside it run
// it.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
	_ "github.com/caddy-grpc/gateway/discovery/kubernetes"
)

func main() { caddycmd.Main() }
