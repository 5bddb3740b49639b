package caddyfile

import (
	"encoding/json"

	"github.com/caddy-grpc/gateway/module"
)

// openapi parses
//
//	openapi {
//		path        <path>
//		docs        <path> | off
//		descriptors <path> | off
//		version     3.1 | 3.2
//		rpc         on | off | auto
//		info {
//			<member> <text>
//		}
//		server      <url>...
//		one_of
//		comments    protoset <file>...
//	}
func (p *directive) openapi(d *dispenser) error {
	if _, err := args(d, 0, 0, "a block, or nothing"); err != nil {
		return err
	}
	o := new(module.OpenAPI)
	p.handler.OpenAPI = o
	err := options{
		"path":        text(&o.Path, "a path that ends in .json"),
		"docs":        text(&o.Docs, "a path, or off"),
		"descriptors": text(&o.Descriptors, "a path, or off"),
		"version":     choice(&o.Version, "3.1", "3.2"),
		"rpc":         choice(&o.RPC, "on", "off", "auto"),
		"info":        apiInfo(&o.Info),
		"server":      servers(&o.Servers),
		"one_of":      flag(&o.OneOf),
		"comments":    apiComments(&o.Comments),
	}.parse(d, "openapi", "server")
	if err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return d.Errf("openapi: %w", err)
	}
	return nil
}

// apiInfo is an option with a block of members that are text: title, version, description, and so
// on. In JSON it can be any object.
func apiInfo(to *json.RawMessage) option {
	return func(d *dispenser) error {
		if _, err := args(d, 0, 0, "a block"); err != nil {
			return err
		}
		info := make(map[string]string)
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			name := d.Val()
			got, err := args(d, 1, 1, "one text, in quotes if it has spaces")
			if err != nil {
				return err
			}
			if _, twice := info[name]; twice {
				return d.Errf("%s comes twice in info", name)
			}
			info[name] = got[0]
		}
		raw, err := json.Marshal(info)
		if err != nil {
			return d.Errf("info: %w", err)
		}
		*to = raw
		return nil
	}
}

// apiComments is an option with the kind of a source and its files.
func apiComments(to **module.APIComments) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, anyNumber, "protoset <file>...")
		if err != nil {
			return err
		}
		*to = &module.APIComments{Source: got[0], Files: got[1:]}
		if err := (*to).Validate(); err != nil {
			return d.Errf("%w", err)
		}
		return noBlock(d, "comments protoset")
	}
}

func servers(to *[]string) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, anyNumber, "at least one URL, such as https://api.example.com")
		if err != nil {
			return err
		}
		*to = append(*to, got...)
		return nil
	}
}
