// Command caddy is Caddy with its standard modules and the gateway compiled in. It is what `xcaddy
// build --with github.com/caddy-grpc/gateway` makes, for those who have the source at hand.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-grpc/gateway"
)

func main() {
	caddycmd.Main()
}
