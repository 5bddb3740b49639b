package module

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// MatchGRPCMethod matches requests by the RPC that they call. A pattern is a `package.Service` or
// `package.Service/Method`, in which `*` matches any text.
//
// Within a `with` block, and after the handler `grpc_gateway`, such as in `handle_errors`, it knows
// the method that the handler has found. Before the handler nobody knows which method a REST route
// leads to. There the matcher goes by the path `/<package.Service>/<Method>`, which requests of the
// RPC protocols have, whether that method exists or not. So it does NOT match REST routes there.
// Use the option `with` of `grpc_gateway` for what has to hold for every way to reach a method.
//
// It is a function in expressions as well: `grpc_method('*/Create*', '*/Delete*')`.
type MatchGRPCMethod []string

// CaddyModule returns the Caddy module information.
func (MatchGRPCMethod) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.grpc_method",
		New: func() caddy.Module { return new(MatchGRPCMethod) },
	}
}

// UnmarshalCaddyfile parses
//
//	grpc_method <pattern>...
func (m *MatchGRPCMethod) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		patterns := d.RemainingArgs()
		if len(patterns) == 0 {
			return d.Err("grpc_method: expected at least one pattern for package.Service or package.Service/Method")
		}
		*m = append(*m, patterns...)
		if d.NextBlock(0) {
			return d.Err("grpc_method takes no block")
		}
	}
	if err := m.Validate(); err != nil {
		return d.Errf("grpc_method: %w", err)
	}
	return nil
}

// Validate says what is wrong with the patterns.
func (m MatchGRPCMethod) Validate() error {
	for _, pattern := range m {
		if err := ValidatePattern(pattern); err != nil {
			return err
		}
	}
	return nil
}

// MatchWithError implements caddyhttp.RequestMatcherWithError. There is never an error.
func (m MatchGRPCMethod) MatchWithError(r *http.Request) (bool, error) { return m.Match(r), nil }

// Match implements caddyhttp.RequestMatcher.
func (m MatchGRPCMethod) Match(r *http.Request) bool {
	method := calledMethod(r)
	return method != "" && routes.Matches(m, method)
}

// calledMethod returns the method `package.Service/Method` that the handler has found for the
// request, or the one that its path names. It is "" if neither is so.
func calledMethod(r *http.Request) string {
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		if method, _ := repl.GetString("http.grpc_gateway.method"); method != "" {
			return method
		}
	}
	method, _ := strings.CutPrefix(r.URL.Path, "/")
	if routes.CheckRPC(method) != nil {
		return ""
	}
	// A path such as /v1/books has the form of a method without a package. In a request that may be
	// a REST one, it is more likely a route.
	service, _, _ := strings.Cut(method, "/")
	if !strings.Contains(service, ".") && frontend.DetectAlone(r) == frontend.REST {
		return ""
	}
	return method
}

// CELLibrary implements caddyhttp.CELLibraryProducer.
func (MatchGRPCMethod) CELLibrary(caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"grpc_method", "grpc_method_request_list", []*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			patterns, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, err
			}
			list, ok := patterns.([]string)
			if !ok {
				return nil, fmt.Errorf("grpc_method: expected strings, got %T", patterns)
			}
			m := MatchGRPCMethod(list)
			if err := m.Validate(); err != nil {
				return nil, fmt.Errorf("grpc_method: %w", err)
			}
			return m, nil
		},
	)
}

// Interface guards.
var (
	_ caddy.Validator                   = MatchGRPCMethod(nil)
	_ caddyfile.Unmarshaler             = (*MatchGRPCMethod)(nil)
	_ caddyhttp.RequestMatcherWithError = MatchGRPCMethod(nil)
	_ caddyhttp.CELLibraryProducer      = MatchGRPCMethod(nil)
)
