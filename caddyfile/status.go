package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/module"
)

// statusDirective is the name of the directive that shows the state of the gateway.
const statusDirective = "grpc_gateway_status"

// parseStatusDirective parses the handler directive for operators:
//
//	grpc_gateway_status [<matcher>]
func parseStatusDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := h.Dispenser
	d.Next() // the directive's name
	if _, err := args(d, 0, 0, "no argument besides a matcher"); err != nil {
		return nil, err
	}
	if err := noBlock(d, statusDirective); err != nil {
		return nil, err
	}
	return new(module.Status), nil
}
