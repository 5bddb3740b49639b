// Command caddy is Caddy with the gateway and two plugins by other people, a rate limit and a
// cache. The tests beside it run it. It is a module of its own, because nothing else needs what
// those plugins bring.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddyserver/cache-handler"
	_ "github.com/mholt/caddy-ratelimit"

	_ "github.com/caddy-grpc/gateway"
)

func main() { caddycmd.Main() }
