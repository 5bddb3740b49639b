package protovalidate

import (
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/checks"
)

func init() {
	caddy.RegisterModule(new(Checker))
}

// Checker checks request messages by the protovalidate rules in their schema: the options
// `(buf.validate.field)`, `(buf.validate.message)` and `(buf.validate.oneof)`. A rule that does not
// compile is shown among the problems of the routes, and is not checked.
type Checker struct{}

// CaddyModule returns the Caddy module information.
func (*Checker) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.grpc_gateway.checks.protovalidate",
		New: func() caddy.Module { return new(Checker) },
	}
}

// ID implements checks.Checker. There are no options.
func (*Checker) ID() string { return "protovalidate" }

// Schema implements checks.Checker.
func (*Checker) Schema(s checks.Schema) checks.SchemaChecks { return newSchemaChecks(s, processGate()) }

// processGate returns the gate of all handlers, because they share the memory of the process.
var processGate = sync.OnceValue(newGate)

// UnmarshalCaddyfile sets up the checker from Caddyfile tokens. Syntax:
//
//	protovalidate
func (*Checker) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("check protovalidate: expected no argument, found %q", d.Val())
	}
	if d.NextBlock(d.Nesting()) {
		return d.Errf("unknown option %q: check protovalidate has none", d.Val())
	}
	return nil
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*Checker)(nil)
	_ checks.Checker        = (*Checker)(nil)
)
