// Package caddyblock parses what the Caddyfile says of a source or of a catalog: its kind, one
// argument, and a block of options. All kinds use it, so the errors are the same everywhere.
//
//	discover consul user {
//		tag  grpc
//		hold 30s
//	}
package caddyblock

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-grpc/gateway/discovery"
)

// Block is the syntax of one kind.
type Block struct {
	// Directive is what the line begins with: `discover` or `catalog`. The dispenser does not have
	// it.
	Directive string
	// Kind is the name of the module.
	Kind string
	// Expected says what the argument is, with an example. It completes "expected ".
	Expected string
	// Optional says that the argument may be left out.
	Optional bool
	// Options are the options of the block, by name.
	Options map[string]Option
}

// Option is an option of a block.
type Option struct {
	// Parse parses the option. The dispenser is at its name.
	Parse func(d *caddyfile.Dispenser) error
	// Repeatable says that the option may come again.
	Repeatable bool
}

// Unmarshal parses `<kind> <argument> [{ <options> }]`. It returns the argument, and a dispenser
// for errors about the block as a whole.
func (b *Block) Unmarshal(d *caddyfile.Dispenser) (argument string, line *caddyfile.Dispenser, err error) {
	d.Next()
	if kind := d.Val(); kind != b.Kind {
		return "", nil, d.Errf("%s %s: expected %s", b.Directive, kind, b.Kind)
	}
	switch args := d.RemainingArgs(); {
	case len(args) == 1:
		argument = args[0]
	case len(args) > 1 || !b.Optional:
		return "", nil, d.Errf("expected %s", b.Expected)
	}
	first := *d
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		option, ok := b.Options[name]
		switch {
		case !ok:
			return "", nil, d.Errf("unknown option %q of %s %s: expected %s", name, b.Directive, b.Kind, b.names())
		case seen[name] && !option.Repeatable:
			return "", nil, d.Errf("option %s of %s %s is given twice", name, b.Directive, b.Kind)
		}
		seen[name] = true
		if err := option.Parse(d); err != nil {
			return "", nil, err
		}
	}
	return argument, &first, nil
}

// names lists the options for an error.
func (b *Block) names() string {
	names := slices.Sorted(maps.Keys(b.Options))
	text := strings.Join(names, ", ")
	if n := len(names); n > 1 {
		text = strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	if b.Directive == "catalog" {
		text += ", or an option of every catalog"
	}
	return text
}

// Text is an option with one argument.
func Text(to *string) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) error {
		if !d.AllArgs(to) || *to == "" {
			return d.ArgErr()
		}
		return nil
	}}
}

// Texts is an option with one or more arguments. It may come again, and adds to the list.
func Texts(to *[]string) Option {
	return Option{Repeatable: true, Parse: func(d *caddyfile.Dispenser) error {
		args := d.RemainingArgs()
		if len(args) == 0 || slices.Contains(args, "") {
			return d.ArgErr()
		}
		*to = append(*to, args...)
		return nil
	}}
}

// Hold is the option `hold`.
func Hold(to *caddy.Duration) Option {
	return Option{Parse: func(d *caddyfile.Dispenser) error {
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		hold, err := ParseHold(value)
		if err != nil {
			return d.WrapErr(err)
		}
		*to = hold
		return nil
	}}
}

// ParseHold parses a duration. None, "off" or 0, is negative in the config, where 0 is the default.
func ParseHold(value string) (caddy.Duration, error) {
	if value == "off" {
		return -1, nil
	}
	d, err := caddy.ParseDuration(value)
	switch {
	case err != nil || d < 0:
		return 0, fmt.Errorf("hold %s: expected a duration, such as 60s, or off", discovery.Excerpt(value))
	case d == 0:
		return -1, nil
	}
	return caddy.Duration(d), nil
}
