package caddyfile

import (
	"strconv"

	"github.com/caddy-grpc/gateway/module"
)

// parseBalance parses `balance p2c | round_robin | hash <placeholder>`.
func parseBalance(d *dispenser, u *module.Upstream) error {
	const syntax = "p2c, round_robin or hash <placeholder>"
	got, err := args(d, 1, 2, syntax)
	if err != nil {
		return err
	}
	switch {
	case got[0] != "p2c" && got[0] != "round_robin" && got[0] != "hash":
		return d.Errf("balance %q: expected %s", got[0], syntax)
	case got[0] == "hash" && len(got) == 1:
		return d.Err("balance hash: expected a placeholder, such as {http.request.header.X-User}")
	case got[0] != "hash" && len(got) == 2:
		return d.Errf("balance %s: expected no argument", got[0])
	}
	u.Balance = got[0]
	if len(got) == 2 {
		u.HashKey = got[1]
	}
	return nil
}

// backoff is an option with `<base> [<max>]`.
func backoff(to **module.Backoff) option {
	return func(d *dispenser) error {
		got, err := args(d, 1, 2, "<base> [<max>]")
		if err != nil {
			return err
		}
		b := new(module.Backoff)
		*to = b
		if b.Base, err = parseDuration(got[0]); err != nil {
			return d.Errf("backoff %w", err)
		}
		if len(got) == 2 {
			if b.Max, err = parseDuration(got[1]); err != nil {
				return d.Errf("backoff %w", err)
			}
			if b.Max < b.Base {
				return d.Errf("backoff: the maximum %s is below the base %s", got[1], got[0])
			}
		}
		return nil
	}
}

// parseRetry parses
//
//	retry <attempts> | off {
//		backoff <base> [<max>]
//		on      unavailable
//	}
func parseRetry(d *dispenser, u *module.Upstream) error {
	got, err := one(d, "<attempts> or off")
	if err != nil {
		return err
	}
	r := new(module.Retry)
	u.Retry = r
	if got == "off" {
		r.Attempts = 1
		return noBlock(d, "retry off")
	}
	if r.Attempts, err = parseCount(got); err != nil {
		return d.Errf("retry %w, or off", err)
	}
	return options{
		"backoff": backoff(&r.Backoff),
		"on": func(d *dispenser) error {
			var on string
			err := choice(&on, module.RetryOnUnavailable)(d)
			r.On = []string{on}
			return err
		},
	}.parse(d, "retry")
}

// parseEject parses
//
//	eject <failures> [<base time>] | off {
//		max_percent <1 to 100>
//	}
func parseEject(d *dispenser, u *module.Upstream) error {
	got, err := args(d, 1, 2, "<failures> [<base time>] or off")
	if err != nil {
		return err
	}
	e := new(module.Eject)
	u.Eject = e
	if got[0] == "off" && len(got) == 1 {
		e.Failures = -1
		return noBlock(d, "eject off")
	}
	if e.Failures, err = parseCount(got[0]); err != nil {
		return d.Errf("eject %w, or off", err)
	}
	if len(got) == 2 {
		if e.BaseTime, err = parseDuration(got[1]); err != nil {
			return d.Errf("eject %w", err)
		}
	}
	return options{"max_percent": percent(&e.MaxPercent)}.parse(d, "eject")
}

// percent is an option with a number from 1 to 100.
func percent(to *int) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := one(d, "a number from 1 to 100")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(got)
		if err != nil || n < 1 || n > 100 {
			return d.Errf("%s %q: expected a number from 1 to 100", name, got)
		}
		*to = n
		return nil
	}
}
