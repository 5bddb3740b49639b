package caddyfile

import (
	"math"

	"github.com/dustin/go-humanize"

	"github.com/caddy-grpc/gateway/module"
)

// mcp parses
//
//	mcp <path> {
//		tools  <method pattern>...
//		tool   <package.Service/Method> [as <name>] {
//			description <text>
//		}
//		search auto | on | off
//		stream <messages> <size> <duration>
//		instructions <text>
//		authorization_server <url>...
//	}
func (p *directive) mcp(d *dispenser) error {
	path, err := one(d, "a path, such as /mcp")
	if err != nil {
		return err
	}
	m := &module.MCP{Path: path}
	p.handler.MCP = m
	err = options{
		"tools":                globs(&m.Tools),
		"tool":                 mcpTool(&m.NamedTools),
		"search":               choice(&m.Search, "auto", "on", "off"),
		"stream":               mcpStream(&m.Stream),
		"instructions":         text(&m.Instructions, "one text, in quotes if it has spaces"),
		"authorization_server": servers(&m.AuthorizationServers),
	}.parse(d, "mcp", "tools", "tool", "authorization_server")
	if err != nil {
		return err
	}
	if err := m.Validate(); err != nil {
		return d.Errf("mcp: %w", err)
	}
	return nil
}

// mcpTool is an option with a method, and perhaps a name and a description.
func mcpTool(to *[]module.MCPTool) option {
	return func(d *dispenser) error {
		const syntax = "<package.Service/Method> [as <name>]"
		got, err := args(d, 1, 3, syntax)
		if err != nil {
			return err
		}
		tool := module.MCPTool{Method: got[0]}
		switch {
		case len(got) == 3 && got[1] == "as":
			tool.As = got[2]
		case len(got) != 1:
			return d.Errf("tool: expected %s", syntax)
		}
		err = options{
			"description": text(&tool.Description, "one text, in quotes if it has spaces"),
		}.parse(d, "tool")
		*to = append(*to, tool)
		return err
	}
}

// mcpStream is an option with three limits.
func mcpStream(to **module.MCPStream) option {
	return func(d *dispenser) error {
		got, err := args(d, 3, 3, "<messages> <size> <duration>, such as 100 64KiB 10s")
		if err != nil {
			return err
		}
		s := new(module.MCPStream)
		if s.Messages, err = parseCount(got[0]); err != nil {
			return d.Errf("stream %w", err)
		}
		n, err := humanize.ParseBytes(got[1])
		if err != nil || n == 0 || n > math.MaxInt32 {
			return d.Errf("stream %q: expected a size above 0 and below 2GiB, such as 64KiB", got[1])
		}
		s.Size = int64(n)
		if s.Duration, err = parseDuration(got[2]); err != nil {
			return d.Errf("stream %w", err)
		}
		*to = s
		return nil
	}
}
