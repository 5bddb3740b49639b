package module

import (
	"fmt"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/cors"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/health"
	"github.com/caddy-grpc/gateway/internal/frontend/local"
	"github.com/caddy-grpc/gateway/internal/frontend/reflection"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
	"github.com/caddy-grpc/gateway/internal/routes"
)

// protocols are the inbound protocols of a handler. Immutable once provisioned.
type protocols struct {
	rest    *rest.Handler
	connect *connect.Handler
	grpc    *grpc.Handler
	grpcweb *grpcweb.Handler
	cors    *cors.Policy // nil: pages of other origins may not call
}

// provision makes the protocols. It adds the methods that the gateway itself answers to the table's
// config.
func (p *protocols) provision(h *Handler, opts frontend.Options, table *routes.Config) error {
	if len(h.CORS) > 0 {
		policy, err := cors.New(h.CORS)
		if err != nil {
			return fmt.Errorf("cors: %w", err)
		}
		p.cors, opts.Origins = policy, policy
	}
	p.rest, p.connect, p.grpc, p.grpcweb = rest.New(opts), connect.New(opts), grpc.New(opts), grpcweb.New(opts)
	services := local.NewServer()
	if h.Reflection != nil && *h.Reflection {
		reflection.Register(services, h.routing.last)
	}
	if h.Health != nil && *h.Health {
		health.Register(services, h.healthConfig())
	}
	methods, err := services.Methods(h.json)
	if err != nil {
		return err
	}
	for _, m := range methods {
		m.Owner = newMethodMetrics(m.Upstream, m.Name)
	}
	table.Local = methods
	return nil
}

// ValidateOrigin says what is wrong with an element of Handler.CORS.
func ValidateOrigin(origin string) error {
	_, err := cors.New([]string{origin})
	return err
}

// serve answers a request in its protocol. It returns an error only for REST, and only if nothing
// has been written yet. The error may be one of a policy. The caller then answers with the error,
// through the ResponseWriter that is returned.
func (p *protocols) serve(
	w http.ResponseWriter, r *http.Request, t func() *frontend.Table, info *frontend.Info,
) (http.ResponseWriter, error) {
	if p.cors != nil {
		var done bool
		var err error
		methods := func() []string { return t().AllowedMethods(r.URL.EscapedPath()) }
		if w, done, err = p.cors.Handle(w, r, methods); done {
			if err != nil {
				info.Fail(frontend.Errorf(codes.PermissionDenied, "the origin may not call").WithCause(err))
			}
			return w, nil
		}
	}
	table := t()
	switch frontend.Detect(table, r) {
	case frontend.GRPC:
		p.grpc.Serve(w, r, table, info)
	case frontend.GRPCWeb:
		p.grpcweb.Serve(w, r, table, info)
	case frontend.Connect:
		p.connect.Serve(w, r, table, info)
	case frontend.REST:
		return w, p.rest.Serve(w, r, table, info)
	}
	return w, nil
}
