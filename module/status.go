package module

import (
	"errors"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Status shows operators the state of the gateway at a site: at `/` the page, and beside it the
// views of the admin API: `/overview`, which the page reads, `/upstreams`, `/routes` and
// `/catalog`. They are read-only. Other paths go to the next handler. It has no options.
//
// Caddy's admin endpoint refuses what a browser asks for by itself, so the page needs a site. It
// shows addresses, errors and routes, so the site should ask for a login, or listen at localhost.
type Status struct {
	routes []caddy.AdminRoute
}

// CaddyModule returns the Caddy module information.
func (*Status) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.grpc_gateway_status",
		New: func() caddy.Module { return new(Status) },
	}
}

// Provision makes the page.
func (s *Status) Provision(caddy.Context) error {
	s.routes = new(adminAPI).Routes()
	return nil
}

// ServeHTTP answers with the page or a view.
func (s *Status) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// The paths of the admin API are these with its prefix.
	inner := r.Clone(r.Context())
	inner.URL.Path = strings.TrimSuffix(pagePath, "/") + r.URL.Path
	for _, route := range s.routes {
		exact := route.Pattern == pagePath || !strings.HasSuffix(route.Pattern, "/")
		if route.Pattern == inner.URL.Path || !exact && strings.HasPrefix(inner.URL.Path, route.Pattern) {
			err := route.Handler.ServeHTTP(w, inner)
			var refused caddy.APIError
			if errors.As(err, &refused) {
				return caddyhttp.Error(refused.HTTPStatus, refused.Err)
			}
			return err
		}
	}
	return next.ServeHTTP(w, r)
}

// Interface guards.
var (
	_ caddy.Module                = (*Status)(nil)
	_ caddy.Provisioner           = (*Status)(nil)
	_ caddyhttp.MiddlewareHandler = (*Status)(nil)
)
