package module

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"google.golang.org/grpc"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/pool"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// defaultTimeout is the deadline of unary calls if the config has none.
const defaultTimeout = 5 * time.Second

// Values of Handler.CrossSite.
const (
	crossSiteRefuse = "refuse"
	crossSiteAllow  = "allow"
)

// Values of Handler.Query.
const (
	queryRejectUnknown = "reject_unknown"
	queryIgnoreUnknown = "ignore_unknown"
	queryLenient       = "lenient"
)

// Values of Handler.ClientTimeout.
const (
	timeoutObey   = "obey"
	timeoutIgnore = "ignore"
)

// Values of Handler.RequestBody.
const (
	bodyByRoute = "by_route"
	bodyMessage = "message"
)

// Values of Handler.Negotiation.
const (
	negotiationStrict  = "strict"
	negotiationLenient = "lenient"
)

// Values of Metadata.TrailersAs.
const (
	trailersAsTrailers = "trailers"
	trailersAsHeaders  = "headers"
)

// oneOf reports whether the value of an option is "", which is the default, or one of the values.
func oneOf(value string, values ...string) bool {
	return value == "" || slices.Contains(values, value)
}

// isOn reports whether an option that is off by default is on.
func isOn(option *bool) bool { return option != nil && *option }

// compileOptions makes the options that all protocols share. Timeouts are in the table, by method.
func (h *Handler) compileOptions() (frontend.Options, error) {
	opts := frontend.Options{
		MaxRequestSize:      h.MaxRequestSize,
		QueryIgnoreUnknown:  h.Query == queryIgnoreUnknown || h.Query == queryLenient,
		QueryPathWins:       h.Query == queryLenient,
		AnyMediaType:        h.Negotiation == negotiationLenient,
		IgnoreClientTimeout: h.ClientTimeout == timeoutIgnore,
		TrailingText:        h.JSON != nil && isOn(h.JSON.DiscardTrailing),
		TrustedProxy:        trustedProxy,
		CallOptions:         callOptions,
		Drain:               exitDrain,
		LiftReadTimeout:     liftReadTimeout,
		ClientConn:          clientConn,
		ETag:                h.ETag,
		Forms:               isOn(h.Forms),
		FormsToQuery:        isOn(h.FormQuery),
		Errors:              h.errorForm(),
		AllowCrossSite:      h.CrossSite == crossSiteAllow,
		Fields:              h.Fields.compile(),
	}
	h.Stream.apply(&opts)
	var err error
	if opts.Answers, err = h.Answers.compile(); err != nil {
		return opts, fmt.Errorf("answers: %w", err)
	}
	if opts.Answers != nil {
		opts.Answers.Complained = complaints(h.log)
	}
	if h.Metadata == nil {
		return opts, nil
	}
	if opts.RequestMetadata, err = compileRules(h.Metadata.Request, frontend.CompileRequestRules); err != nil {
		return opts, fmt.Errorf("metadata request: %w", err)
	}
	if opts.ResponseMetadata, err = compileRules(h.Metadata.Response, frontend.CompileResponseRules); err != nil {
		return opts, fmt.Errorf("metadata response: %w", err)
	}
	if len(h.Metadata.Trailer) > 0 {
		if opts.TrailerMetadata, err = compileRules(h.Metadata.Trailer, frontend.CompileResponseRules); err != nil {
			return opts, fmt.Errorf("metadata trailer: %w", err)
		}
	}
	if !oneOf(h.Metadata.TrailersAs, trailersAsTrailers, trailersAsHeaders) {
		return opts, fmt.Errorf("metadata trailers_as %q: expected trailers or headers", h.Metadata.TrailersAs)
	}
	opts.TrailersAsHeaders = h.Metadata.TrailersAs == trailersAsHeaders
	return opts, nil
}

// idempotentCall is never written.
var idempotentCall = []grpc.CallOption{pool.Idempotent()}

// callOptions lets the pool make a call again at another instance if it may be executed twice.
func callOptions(_ *frontend.Method, idempotent bool) []grpc.CallOption {
	if idempotent {
		return idempotentCall
	}
	return nil
}

func compileRules(rules []MetadataRule, compile func([]frontend.Rule) (*frontend.Rules, error)) (*frontend.Rules, error) {
	parsed := make([]frontend.Rule, len(rules))
	for i := range rules {
		var err error
		if parsed[i], err = rules[i].parse(); err != nil {
			return nil, err
		}
	}
	return compile(parsed)
}

func (r *MetadataRule) parse() (frontend.Rule, error) {
	return frontend.ParseRule(append([]string{r.Match}, strings.Fields(r.As)...)...)
}

// Validate says what is wrong with the rule.
func (r *MetadataRule) Validate() error {
	_, err := r.parse()
	return err
}

// ValidatePattern says what is wrong with a pattern of Handler.Expose or Hide.
func ValidatePattern(pattern string) error { return routes.CheckPattern(pattern) }

// isReference reports whether this is the name of an upstream of the app, and not a definition.
func (u *HandlerUpstream) isReference() bool { return reflect.ValueOf(u.Upstream).IsZero() }

// noHurry is longer than any stream lasts.
const noHurry = 10 * 365 * 24 * time.Hour

// liftReadTimeout lifts the server's read_idle_timeout, which is a minute by default. It is for
// request bodies whose messages may come at any time.
func liftReadTimeout(r *http.Request) (restore func()) {
	reader, _ := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if reader == nil {
		return func() {}
	}
	return reader.Override(noHurry, 0)
}

// connKey is the key of the client's connection in the context of a request.
type connKey struct{}

// keepConns makes the server that is being provisioned keep the client's connection in the context
// of a request.
func keepConns(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	server.RegisterConnContext(func(ctx context.Context, c net.Conn) context.Context {
		if ctx.Value(connKey{}) != nil {
			return ctx // Another handler of the server was first.
		}
		return context.WithValue(ctx, connKey{}, c)
	})
}

// clientConn returns the connection that a request came over.
func clientConn(r *http.Request) net.Conn {
	c, _ := r.Context().Value(connKey{}).(net.Conn)
	return c
}

// trustedProxy reports whether the request comes from one of the server's trusted_proxies.
func trustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}
