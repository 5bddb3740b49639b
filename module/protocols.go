package module

import (
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/frontend/connect"
	"github.com/caddy-grpc/gateway/internal/frontend/grpc"
	"github.com/caddy-grpc/gateway/internal/frontend/grpcweb"
	"github.com/caddy-grpc/gateway/internal/frontend/rest"
)

// protocols are the inbound protocols of a handler. Immutable.
type protocols struct {
	rest    *rest.Handler
	connect *connect.Handler
	grpc    *grpc.Handler
	grpcweb *grpcweb.Handler
}

func newProtocols(opts frontend.Options) protocols {
	return protocols{rest: rest.New(opts), connect: connect.New(opts), grpc: grpc.New(opts), grpcweb: grpcweb.New(opts)}
}

// serve answers a request in the protocol that it speaks. An error is one of REST, which nobody has answered yet.
func (p *protocols) serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) error {
	switch frontend.Detect(t, r) {
	case frontend.GRPC:
		return p.grpc.Serve(w, r, t, info)
	case frontend.GRPCWeb:
		return p.grpcweb.Serve(w, r, t, info)
	case frontend.Connect:
		return p.connect.Serve(w, r, t, info)
	case frontend.REST:
		return p.rest.Serve(w, r, t, info)
	}
	return p.rest.Serve(w, r, t, info)
}
