package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/module"
)

// errorDirective is the name of the directive that answers errors.
const errorDirective = "grpc_error"

// parseErrorDirective parses the handler directive for error routes:
//
//	grpc_error [<matcher>]
func parseErrorDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := h.Dispenser
	d.Next() // the directive's name
	if _, err := args(d, 0, 0, "no argument besides a matcher"); err != nil {
		return nil, err
	}
	if err := noBlock(d, errorDirective); err != nil {
		return nil, err
	}
	return new(module.GRPCError), nil
}
