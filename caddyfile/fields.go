package caddyfile

import (
	"github.com/caddy-grpc/gateway/module"
)

// fields parses
//
//	fields on | off | <parameter> {
//		parameter <name>
//		header    on | off
//	}
func (p *directive) fields(d *dispenser) error {
	const syntax = "on, off or the name of a query parameter"
	got, err := args(d, 0, 1, syntax)
	if err != nil {
		return err
	}
	f := new(module.Fields)
	off := false
	switch {
	case len(got) == 0 || got[0] == "on":
	case got[0] == "off":
		off = true
	default:
		if err := module.ValidateFieldsParameter(got[0]); err != nil {
			return d.Errf("fields: %w", err)
		}
		f.Parameter = got[0]
	}
	if off {
		return noBlock(d, "fields off")
	}
	p.handler.Fields = f
	return options{
		"parameter": fieldsParameter(&f.Parameter),
		"header":    onOff(&f.Header),
	}.parse(d, "fields")
}

func fieldsParameter(to *string) option {
	return func(d *dispenser) error {
		got, err := one(d, "the name of a query parameter")
		if err != nil {
			return err
		}
		if err := module.ValidateFieldsParameter(got); err != nil {
			return d.Errf("fields: %w", err)
		}
		*to = got
		return nil
	}
}

// hiddenFields is an option with the full names of fields.
func hiddenFields(to *[]string) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := args(d, 1, anyNumber, "at least one field, such as package.Message.field")
		if err != nil {
			return err
		}
		for _, field := range got {
			if err := module.ValidateHiddenField(field); err != nil {
				return d.Errf("%s: %w", name, err)
			}
		}
		*to = append(*to, got...)
		return nil
	}
}
