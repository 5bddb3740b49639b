// Command caddy is Caddy with the gateway and with the floors of the comparison (floor.go): one
// program, so that they differ in the handler only.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
	_ "github.com/caddy-grpc/gateway/bench/internal/locks"
)

func main() {
	caddycmd.Main()
}
