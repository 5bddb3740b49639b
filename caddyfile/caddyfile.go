// Package caddyfile is the Caddyfile syntax of the gateway. It turns the directive and the global
// option grpc_gateway into the config structs of package module and of the discovery guests, and
// does nothing else. Whatever can be checked without files and network is checked here, where the
// line is known.
//
// The grammar is documented in docs/configuration.md. Each file here parses one block of it.
package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// optionName is the name of the directive, of the global option, and of the app that the option
// configures.
const optionName = "grpc_gateway"

func init() {
	httpcaddyfile.RegisterGlobalOption(optionName, parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective(optionName, parseDirective)
	httpcaddyfile.RegisterDirectiveOrder(optionName, httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterHandlerDirective(errorDirective, parseErrorDirective)
	httpcaddyfile.RegisterDirectiveOrder(errorDirective, httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterHandlerDirective(statusDirective, parseStatusDirective)
	httpcaddyfile.RegisterDirectiveOrder(statusDirective, httpcaddyfile.Before, "respond")
}
