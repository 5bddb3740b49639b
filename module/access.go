package module

import (
	"context"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-grpc/gateway/discovery"
	"github.com/caddy-grpc/gateway/internal/frontend"
)

// record puts what happened into the placeholders and the access log, as Handler documents.
func record(r *http.Request, info *frontend.Info) {
	ctx := r.Context()
	code := frontend.CodeName(info.Code)
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(func(key string) (any, bool) { return placeholder(key, code, info) })
	}
	if !logged(ctx) {
		return
	}
	if fields, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		addFields(fields, code, info)
	}
}

// logged reports whether the server may write an access log. Few servers do for every request, and
// the fields cost more than everything else that is recorded.
func logged(ctx context.Context) bool {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	return !ok || server.Logs != nil
}

func addFields(fields *caddyhttp.ExtraLogFields, code string, info *frontend.Info) {
	fields.Set(zap.String("grpc_code", code))
	if info.Method != nil {
		fields.Set(zap.String("grpc_upstream", info.Method.Upstream))
		fields.Set(zap.String("grpc_method", info.Method.Name))
	}
	if info.Route != "" {
		fields.Set(zap.String("grpc_route", info.Route))
	}
	if info.Endpoint != "" {
		fields.Set(zap.String("grpc_endpoint", discovery.Printable(info.Endpoint)))
	}
	if info.Err != nil {
		fields.Set(zap.String("grpc_error", discovery.Printable(info.Err.Error())))
	}
}

// placeholder returns the value of a placeholder that Handler documents. It is empty if it does not
// apply.
func placeholder(key, code string, info *frontend.Info) (any, bool) {
	switch key {
	case "http.grpc_gateway.protocol":
		return info.Protocol, true
	case "http.grpc_gateway.upstream":
		if info.Method == nil {
			return "", true
		}
		return info.Method.Upstream, true
	case "http.grpc_gateway.method":
		if info.Method == nil {
			return "", true
		}
		return info.Method.Name, true
	case "http.grpc_gateway.service":
		if info.Method == nil {
			return "", true
		}
		service, _, _ := strings.Cut(info.Method.Name, "/")
		return service, true
	case "http.grpc_gateway.route":
		return info.Route, true
	case "http.grpc_gateway.endpoint":
		return info.Endpoint, true
	case "http.grpc_gateway.code":
		return code, true
	default:
		return nil, false
	}
}
