package caddyfile

import (
	"strconv"
	"strings"

	"github.com/caddy-grpc/gateway/module"
)

// answers parses
//
//	answers {
//		empty_status <status>
//		status_from  <key>
//		envelope     <name>=<number> <name>=<text> <name> [streams]
//		map          <CODE> <status>
//		internal     show | hide
//		empty_details [on|off]
//		refusals     precise | by_code
//	}
func (p *directive) answers(d *dispenser) error {
	if _, err := args(d, 0, 0, "a block"); err != nil {
		return err
	}
	a := new(module.Answers)
	p.handler.Answers = a
	err := options{
		"empty_status": number(&a.EmptyStatus, "200 or 204"),
		"status_from":  text(&a.StatusFrom, "a metadata key, such as x-http-code"),
		"envelope":     envelope(&a.Envelope),
		"map":          codeStatus(&a.Map),
		"internal":     choice(&a.Internal, "show", "hide"),

		"empty_details": switched(&a.EmptyDetails),
		"refusals":      choice(&a.Refusals, "precise", "by_code"),
	}.parse(d, "answers", "map")
	if err != nil {
		return err
	}
	if err := a.Validate(); err != nil {
		return d.Errf("answers: %w", err)
	}
	return nil
}

// envelope is an option with the members of an envelope, in this order: code, message, data.
func envelope(to **module.AnswerEnvelope) option {
	return func(d *dispenser) error {
		const syntax = "code=0 message=ok data, with any names, and streams after them for messages of streams"
		got, err := args(d, 3, 4, syntax)
		if err != nil {
			return err
		}
		e := &module.AnswerEnvelope{Data: got[2], Streams: len(got) == 4}
		var ok string
		var hasCode, hasMessage bool
		e.Code, ok, hasCode = strings.Cut(got[0], "=")
		e.Message, e.OKMessage, hasMessage = strings.Cut(got[1], "=")
		e.OK, err = strconv.Atoi(ok)
		switch {
		case !hasCode || !hasMessage || err != nil, e.Code == "" || e.Message == "" || e.Data == "",
			strings.Contains(e.Data, "="), e.Streams && got[3] != "streams":
			return d.Errf("envelope %q: expected %s", strings.Join(got, " "), syntax)
		}
		*to = e
		return nil
	}
}

// codeStatus is an option with a gRPC code by name and its HTTP status. It may be repeated.
func codeStatus(to *map[string]int) option {
	return func(d *dispenser) error {
		const syntax = "<CODE> <status>, such as FAILED_PRECONDITION 412"
		got, err := args(d, 2, 2, syntax)
		if err != nil {
			return err
		}
		status, err := strconv.Atoi(got[1])
		if err != nil {
			return d.Errf("map %q: expected %s", strings.Join(got, " "), syntax)
		}
		if _, twice := (*to)[got[0]]; twice {
			return d.Errf("map %s comes twice in answers", got[0])
		}
		if *to == nil {
			*to = make(map[string]int)
		}
		(*to)[got[0]] = status
		return nil
	}
}
