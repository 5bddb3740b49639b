package caddyfile

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// dispenser is what all parsers read tokens from.
type dispenser = caddyfile.Dispenser

// option parses one option of a block. The dispenser is at its name.
type option func(d *dispenser) error

// options are the options of a block by name.
type options map[string]option

// parse reads the block that follows on the line, if there is one. where names the block in errors.
// An unknown option is refused. So is one that comes twice, unless it is in repeatable.
func (o options) parse(d *dispenser, where string, repeatable ...string) error {
	lines := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		parse, ok := o[name]
		if !ok {
			return d.Errf("unknown option %q in %s: expected one of %s", name, where, o.names())
		}
		if first, ok := lines[name]; ok && !slices.Contains(repeatable, name) {
			return d.Errf("option %q comes twice in %s: the first is in line %d", name, where, first)
		}
		lines[name] = d.Line()
		if err := parse(d); err != nil {
			return err
		}
	}
	return nil
}

func (o options) names() string {
	names := make([]string, 0, len(o))
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// args returns the arguments on the line. There must be low to high of them. syntax says what was
// expected.
func args(d *dispenser, low, high int, syntax string) ([]string, error) {
	name := d.Val()
	got := d.RemainingArgs()
	if len(got) < low || len(got) > high {
		return nil, d.Errf("%s: expected %s", name, syntax)
	}
	return got, nil
}

const anyNumber = math.MaxInt

// noBlock refuses a block after an option that takes none.
func noBlock(d *dispenser, name string) error {
	if d.NextBlock(d.Nesting()) {
		return d.Errf("%s takes no block", name)
	}
	return nil
}

// one returns the single argument on the line.
func one(d *dispenser, syntax string) (string, error) {
	got, err := args(d, 1, 1, syntax)
	if err != nil {
		return "", err
	}
	return got[0], nil
}

// flag is an option without arguments.
func flag(to *bool) option {
	return func(d *dispenser) error {
		if _, err := args(d, 0, 0, "no argument"); err != nil {
			return err
		}
		*to = true
		return nil
	}
}

// text is an option with one argument.
func text(to *string, syntax string) option {
	return func(d *dispenser) (err error) {
		*to, err = one(d, syntax)
		return err
	}
}

// choice is an option with one argument, which is one of the values.
func choice(to *string, values ...string) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, strings.Join(values, " or "))
		if err != nil {
			return err
		}
		if !slices.Contains(values, got) {
			return d.Errf("%s %q: expected %s", name, got, strings.Join(values, " or "))
		}
		*to = got
		return nil
	}
}

// onOff is an option that is "on" or "off".
func onOff(to **bool) option {
	return func(d *dispenser) error {
		var s string
		if err := choice(&s, "on", "off")(d); err != nil {
			return err
		}
		on := s == "on"
		*to = &on
		return nil
	}
}

// switched is an option that is on by its name alone. It may say "on" or "off", too: it is off by
// default, unless `compat` sets it.
func switched(to **bool) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := args(d, 0, 1, "on, off or no argument")
		if err != nil {
			return err
		}
		on := len(got) == 0 || got[0] == "on"
		if !on && got[0] != "off" {
			return d.Errf("%s %q: expected on, off or no argument", name, got[0])
		}
		*to = &on
		return nil
	}
}

// toggle is an option that is "on" or "off", and off by default.
func toggle(to *bool) option {
	return func(d *dispenser) error {
		var on *bool
		if err := onOff(&on)(d); err != nil {
			return err
		}
		*to = *on
		return nil
	}
}

// duration is an option with a duration above 0.
func duration(to *caddy.Duration) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, "a duration, such as 5s")
		if err != nil {
			return err
		}
		*to, err = parseDuration(got)
		if err != nil {
			return d.Errf("%s %w", name, err)
		}
		return nil
	}
}

// timeout is an option with a duration above 0 or "off", which is -1 in the config.
func timeout(to *caddy.Duration) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, "a duration, such as 5s, or off")
		if err != nil {
			return err
		}
		if got == "off" {
			*to = -1
			return nil
		}
		if *to, err = parseDuration(got); err != nil {
			return d.Errf("%s %w, or off", name, err)
		}
		return nil
	}
}

func parseDuration(s string) (caddy.Duration, error) {
	dur, err := caddy.ParseDuration(s)
	if err != nil || dur <= 0 {
		return 0, fmt.Errorf("%q: expected a duration above 0, such as 5s", s)
	}
	return caddy.Duration(dur), nil
}

// size is an option with a number of bytes above 0, such as 4MiB.
func size(to *int64) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, "a size, such as 4MiB")
		if err != nil {
			return err
		}
		n, err := humanize.ParseBytes(got)
		if err != nil || n == 0 || n > math.MaxInt32 {
			return d.Errf("%s %q: expected a size above 0 and below 2GiB, such as 4MiB", name, got)
		}
		*to = int64(n)
		return nil
	}
}

// depth is an option with a limit of nesting.
func depth(to *int) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, "a number from 1 to 10000")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(got)
		if err != nil || n < 1 || n > 10_000 {
			return d.Errf("%s %q: expected a number from 1 to 10000", name, got)
		}
		*to = n
		return nil
	}
}

// number is an option with a whole number. What it may be is checked with the rest of its block.
func number(to *int, syntax string) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, syntax)
		if err != nil {
			return err
		}
		if *to, err = strconv.Atoi(got); err != nil {
			return d.Errf("%s %q: expected %s", name, got, syntax)
		}
		return nil
	}
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q: expected a number above 0", s)
	}
	return n, nil
}
