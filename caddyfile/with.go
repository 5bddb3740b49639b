package caddyfile

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/module"
)

// with parses
//
//	with <pattern>... {
//		<HTTP directives>
//	}
//
// The directives are those that a route of the site may have, in Caddy's order. Named matchers of
// the site and of the block can be used.
func (p *directive) with(d *dispenser) error {
	const syntax = "with <pattern>... { <HTTP directives> }"
	line := *d // for errors about the block as a whole
	segment := d.NextSegment()
	at := 1
	for at < len(segment) && segment[at].Text != "{" {
		at++
	}
	patterns := make([]string, 0, at-1)
	for _, token := range segment[1:at] {
		patterns = append(patterns, token.Text)
	}
	if len(patterns) == 0 {
		return line.Errf("with: expected at least one pattern for package.Service or package.Service/Method: %s", syntax)
	}
	for _, pattern := range patterns {
		if err := module.ValidatePattern(pattern); err != nil {
			return line.Errf("with: %w", err)
		}
	}
	policy := module.Policy{Match: patterns}
	switch {
	case at < len(segment):
		// The parser of a block takes the name of a directive before it, and no arguments.
		block := append([]caddyfile.Token{segment[0]}, segment[at:]...)
		handler, err := httpcaddyfile.ParseSegmentAsSubroute(p.helper.WithDispenser(caddyfile.NewDispenser(block)))
		if err != nil {
			return line.Errf("with: %w", err)
		}
		subroute, ok := handler.(*caddyhttp.Subroute)
		if !ok {
			return line.Errf("with: Caddy has parsed the block as %T", handler)
		}
		policy.Routes = subroute.Routes
	case d.Val() != "}": // A block without directives is not part of the segment.
		return line.Errf("with: expected a block: %s", syntax)
	}
	p.handler.Policies = append(p.handler.Policies, policy)
	return nil
}
