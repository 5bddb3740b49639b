package caddyfile

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/module"
)

// parseDirective parses the handler directive:
//
//	grpc_gateway [<matcher>] [<target>...] {
//		upstream <name> { ... }
//		to       <target>...
//		<option of an upstream> ... // beside a single target, see beside.go
//		route    <METHOD> <template> <package.Service/Method> { ... }
//		expose   <glob>...
//		hide     <glob>...
//		with     <glob>... { <HTTP directives> }
//		compat      grpc-gateway | go-zero
//		rpc         on | off
//		annotations on | off
//		timeout          <duration> | off
//		client_timeout   obey | ignore
//		max_request_size <size>
//		json     {
//			use_proto_names
//			emit_defaults
//			emit_unpopulated [on|off]
//			enums_as_numbers
//			discard_unknown  [on|off]
//			discard_trailing [on|off]
//			enum_prefix      keep | omit
//			enum_case        exact | any | lower
//			max_depth        <number>
//			max_answer_depth <number>
//		}
//		query    reject_unknown | ignore_unknown | lenient
//		request_body by_route | message
//		negotiation  strict | lenient
//		answers  {
//			empty_status <status>
//			status_from  <key>
//			envelope     <name>=<number> <name>=<text> <name> [streams]
//			map          <CODE> <status>
//			internal     show | hide
//			empty_details [on|off]
//			refusals     precise | by_code
//		}
//		metadata {
//			request|response|trailer [+|-]<glob> [<as>...]
//			trailers_as              trailers | headers
//		}
//		cors       <origin>...
//		cross_site refuse | allow
//		reflection on | off
//		health     on | off | { path <path> }
//		errors   status | problem | pass
//		openapi  { ... }
//		mcp      <path> { ... }
//		stream   { ... }
//		etag     on | off
//		fields   on | off | <parameter> { header on | off }
//		hide_fields <package.Message.field>...
//		forms    on | off
//		form_query on | off
//		fully_decode_reserved_expansion on | off
//		validate on | warn | off { check <kind> ... }
//	}
func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	d := h.Dispenser
	d.Next() // the directive's name
	p := &directive{helper: h}
	if err := p.addTargets(d, d.RemainingArgs()); err != nil {
		return nil, err
	}
	opts := p.options()
	p.addBeside(opts)
	if err := opts.parse(d, "grpc_gateway", "upstream", "to", "route", "expose", "hide", "hide_fields", "with", "cors"); err != nil {
		return nil, err
	}
	if len(p.handler.Catalogs) > 0 && len(p.handler.Expose) == 0 {
		return nil, d.Errf("grpc_gateway with a catalog: %w", module.ErrNoExpose)
	}
	if len(p.handler.Upstreams)+len(p.handler.Catalogs) == 0 {
		return nil, d.Err("grpc_gateway has nothing to call: expected a target, such as etcd://127.0.0.1:2379/user.rpc, or an upstream block")
	}
	if err := p.applyBeside(); err != nil {
		return nil, err
	}
	return &p.handler, nil
}

// directive is the state of parsing one directive.
type directive struct {
	helper    httpcaddyfile.Helper
	handler   module.Handler
	addresses []string // the targets that are bare addresses
	hasBlock  bool     // there is an upstream block
	beside    beside
}

func (p *directive) options() options {
	h := &p.handler
	return options{
		"upstream":         p.upstream,
		"to":               p.to,
		"route":            p.route,
		"expose":           globs(&h.Expose),
		"hide":             globs(&h.Hide),
		"with":             p.with,
		"compat":           choice(&h.Compat, "grpc-gateway", "go-zero"),
		"rpc":              onOff(&h.RPC),
		"annotations":      onOff(&h.Annotations),
		"timeout":          timeout(&h.Timeout),
		"client_timeout":   choice(&h.ClientTimeout, "obey", "ignore"),
		"max_request_size": size(&h.MaxRequestSize),
		"json":             p.json,
		"query":            choice(&h.Query, "reject_unknown", "ignore_unknown", "lenient"),
		"request_body":     choice(&h.RequestBody, "by_route", "message"),
		"negotiation":      choice(&h.Negotiation, "strict", "lenient"),
		"answers":          p.answers,
		"metadata":         p.metadata,
		"cors":             origins(&h.CORS),
		"cross_site":       choice(&h.CrossSite, "refuse", "allow"),
		"reflection":       onOff(&h.Reflection),
		"health":           p.health,
		"errors":           choice(&h.Errors, "status", "problem", "text", "pass"),
		"openapi":          p.openapi,
		"mcp":              p.mcp,
		"stream":           p.stream,
		"etag":             toggle(&h.ETag),
		"fields":           p.fields,
		"hide_fields":      hiddenFields(&h.HideFields),
		"forms":            onOff(&h.Forms),
		"form_query":       onOff(&h.FormQuery),
		"validate":         p.validate,

		"fully_decode_reserved_expansion": toggle(&h.FullyDecodeReserved),
	}
}

func (p *directive) to(d *dispenser) error {
	targets, err := args(d, 1, anyNumber, "at least one target")
	if err != nil {
		return err
	}
	return p.addTargets(d, targets)
}

func (p *directive) upstream(d *dispenser) error {
	name, u, err := parseUpstream(d)
	if err != nil {
		return err
	}
	p.hasBlock = true
	return p.add(d, module.HandlerUpstream{Name: name, Upstream: *u})
}

func (p *directive) add(d *dispenser, u module.HandlerUpstream) error {
	if slices.ContainsFunc(p.handler.Upstreams, func(other module.HandlerUpstream) bool { return other.Name == u.Name }) {
		return d.Errf("upstream %q comes twice in grpc_gateway", u.Name)
	}
	p.handler.Upstreams = append(p.handler.Upstreams, u)
	return nil
}

func (p *directive) json(d *dispenser) error {
	if _, err := args(d, 0, 0, "a block"); err != nil {
		return err
	}
	j := new(module.JSONOptions)
	p.handler.JSON = j
	return options{
		"use_proto_names":  flag(&j.UseProtoNames),
		"emit_defaults":    flag(&j.EmitDefaults),
		"emit_unpopulated": switched(&j.EmitUnpopulated),
		"enums_as_numbers": flag(&j.EnumsAsNumbers),
		"discard_unknown":  switched(&j.DiscardUnknown),
		"discard_trailing": switched(&j.DiscardTrailing),
		"enum_prefix":      choice(&j.EnumPrefix, "keep", "omit"),
		"enum_case":        choice(&j.EnumCase, "exact", "any", "lower"),
		"max_depth":        depth(&j.MaxDepth),
		"max_answer_depth": depth(&j.MaxAnswerDepth),
	}.parse(d, "json")
}

func (p *directive) metadata(d *dispenser) error {
	if _, err := args(d, 0, 0, "a block"); err != nil {
		return err
	}
	m := new(module.Metadata)
	p.handler.Metadata = m
	return options{
		"request":     metadataRule(&m.Request),
		"response":    metadataRule(&m.Response),
		"trailer":     metadataRule(&m.Trailer),
		"trailers_as": choice(&m.TrailersAs, "trailers", "headers"),
	}.parse(d, "metadata", "request", "response", "trailer")
}

func metadataRule(to *[]module.MetadataRule) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := args(d, 1, anyNumber, "[+|-]<name or pattern> [<as>...]")
		if err != nil {
			return err
		}
		rule := module.MetadataRule{Match: got[0], As: strings.Join(got[1:], " ")}
		if err := rule.Validate(); err != nil {
			return d.Errf("%s: %w", name, err)
		}
		*to = append(*to, rule)
		return nil
	}
}

func globs(to *[]string) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := args(d, 1, anyNumber, "at least one pattern for package.Service or package.Service/Method")
		if err != nil {
			return err
		}
		for _, pattern := range got {
			if err := module.ValidatePattern(pattern); err != nil {
				return d.Errf("%s: %w", name, err)
			}
		}
		*to = append(*to, got...)
		return nil
	}
}

// origins is an option with origins as browsers write them.
func origins(to *[]string) option {
	return func(d *dispenser) error {
		name := d.Val()
		got, err := args(d, 1, anyNumber, "at least one origin, such as https://app.example.com")
		if err != nil {
			return err
		}
		for _, origin := range got {
			if err := module.ValidateOrigin(origin); err != nil {
				return d.Errf("%s: %w", name, err)
			}
		}
		*to = append(*to, got...)
		return nil
	}
}

// route parses
//
//	route <METHOD> <template> <package.Service/Method> {
//		body          * | <field>
//		response_body <field>
//		timeout       <duration> | off
//		idempotent
//		status        <status>
//	}
func (p *directive) route(d *dispenser) error {
	got, err := args(d, 3, 3, "<METHOD> <template> <package.Service/Method>")
	if err != nil {
		return err
	}
	r := module.Route{Method: got[0], Template: undoShorthands(got[1]), RPC: strings.TrimPrefix(got[2], "/")}
	if err := r.Validate(); err != nil {
		return d.Errf("route: %w", err)
	}
	err = options{
		"body":          text(&r.Body, "* or the name of a field"),
		"response_body": text(&r.ResponseBody, "the name of a field"),
		"timeout":       timeout(&r.Timeout),
		"idempotent":    flag(&r.Idempotent),
		"status":        number(&r.Status, "a number from 200 to 299"),
	}.parse(d, "route")
	if err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return d.Errf("route: %w", err)
	}
	p.handler.Routes = append(p.handler.Routes, r)
	return nil
}
