package module

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Values of Handler.Compat.
const (
	compatGRPCGateway = "grpc-gateway"
	compatGoZero      = "go-zero"
)

// applyCompat sets the options that Compat stands for, where the config does not set them. The
// tables are in docs/configuration.md, in the section Compatibility.
func (h *Handler) applyCompat() error {
	switch h.Compat {
	case "":
	case compatGRPCGateway:
		h.likeGRPCGateway()
	case compatGoZero:
		h.likeGoZero()
	default:
		return fmt.Errorf("compat %q: expected grpc-gateway or go-zero", h.Compat)
	}
	return nil
}

// likeGRPCGateway sets what clients see of a grpc-gateway v2.32 with default options. The facts are
// from its package runtime, and from the code that it generates.
func (h *Handler) likeGRPCGateway() {
	h.lenientRequests()
	setDefault(&h.Timeout, -1)
	setOption(&h.FormQuery, true)

	answers := made(&h.Answers)
	setOption(&answers.EmptyDetails, true)
	setDefault(&answers.Refusals, refusalsByCode)
	setDefault(&made(&h.Stream).Lines, linesResult)

	md := made(&h.Metadata)
	md.Request = withRules(grpcGatewayRequestRules(), md.Request)
	md.Response = withRules([]MetadataRule{{Match: "*", As: "grpc-metadata-*"}}, md.Response)
	md.Trailer = withRules([]MetadataRule{{Match: "*", As: "grpc-trailer-*"}}, md.Trailer)
}

// likeGoZero sets what clients see of the gateway of go-zero v1.10 with default options. The facts
// are from its packages gateway and rest.
func (h *Handler) likeGoZero() {
	h.lenientRequests()
	setDefault(&h.Timeout, caddy.Duration(2*time.Second))
	setDefault(&h.ClientTimeout, timeoutIgnore)
	setDefault(&h.RequestBody, bodyMessage)
	setOption(&h.Forms, true)
	answers := made(&h.Answers)
	if answers.Envelope == nil { // It is the form of errors, too.
		setDefault(&h.Errors, errorsText)
	}
	if _, ok := answers.Map["CANCELLED"]; !ok {
		statuses := map[string]int{"CANCELLED": 408}
		for code, status := range answers.Map {
			statuses[code] = status
		}
		answers.Map = statuses
	}

	md := made(&h.Metadata)
	md.Request = withRules([]MetadataRule{
		{Match: "grpc-metadata-*", As: "gateway-*"},
		{Match: "traceparent"}, {Match: "tracestate"}, {Match: "baggage"},
	}, md.Request)
	md.Response = withRules([]MetadataRule{{Match: "*", As: "grpc-metadata-*"}}, md.Response)
	md.Trailer = withRules([]MetadataRule{{Match: "*", As: "grpc-trailer-*"}}, md.Trailer)
	setDefault(&md.TrailersAs, trailersAsHeaders)
}

// lenientRequests sets what both gateways have in common. They have no calls by the name of a
// method: a method without a route cannot be reached through them, and must not become reachable by
// a move to this gateway.
func (h *Handler) lenientRequests() {
	setOption(&h.RPC, false)
	setDefault(&h.Query, queryLenient)
	setDefault(&h.Negotiation, negotiationLenient)
	json := made(&h.JSON)
	setOption(&json.EmitUnpopulated, true)
	setOption(&json.DiscardUnknown, true)
	setOption(&json.DiscardTrailing, true)
}

// permanentHeaders are the request headers that grpc-gateway passes on as grpcgateway-*, except
// Authorization. They are a list of IANA's at the time.
func permanentHeaders() []string {
	return []string{
		"accept", "accept-charset", "accept-language", "accept-ranges", "cache-control", "content-type", "cookie", "date", "expect", "from",
		"host", "if-match", "if-modified-since", "if-none-match", "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin",
		"pragma", "referer", "user-agent", "via", "warning",
	}
}

// grpcGatewayRequestRules pass on what grpc-gateway does. A client cannot claim what is the
// gateway's to say: grpcgateway-*, and X-Forwarded-*.
func grpcGatewayRequestRules() []MetadataRule {
	rules := []MetadataRule{
		{Match: "grpc-metadata-*", As: "*"},
		{Match: "-grpc-metadata-grpcgateway-*"},
		{Match: "-grpc-metadata-x-forwarded-for"}, {Match: "-grpc-metadata-x-forwarded-host"}, {Match: "-grpc-metadata-x-forwarded-proto"},
		{Match: "authorization", As: "authorization grpcgateway-authorization"},
	}
	for _, name := range permanentHeaders() {
		rules = append(rules, MetadataRule{Match: name, As: "grpcgateway-" + name})
	}
	return rules
}

// withRules returns the rules of a bundle, changed by those of the config. As with the default set,
// rules with a sign change it, and rules without one take its place.
func withRules(bundle, own []MetadataRule) []MetadataRule {
	signed := func(r MetadataRule) bool { return strings.HasPrefix(r.Match, "+") || strings.HasPrefix(r.Match, "-") }
	for _, r := range own {
		if !signed(r) {
			return own
		}
	}
	return slices.Concat(bundle, own)
}

// made returns the options that a field points to. It makes them first if there are none.
func made[T any](field **T) *T {
	if *field == nil {
		*field = new(T)
	}
	return *field
}

// setDefault sets an option that the config does not set.
func setDefault[T comparable](option *T, value T) {
	var unset T
	if *option == unset {
		*option = value
	}
}

// setOption is setDefault for an option that is on or off.
func setOption(option **bool, value bool) {
	if *option == nil {
		*option = &value
	}
}
