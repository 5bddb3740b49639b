package module

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/routes"
)

// Route is a REST route written in the config. It is what a `google.api.http` rule is in a .proto file, and goes before those.
type Route struct {
	// HTTP method, such as `GET`, or `*` for any.
	Method string `json:"method"`

	// Path template in the syntax of `google.api.http`, such as `/v1/users/{id}` or `/v1/{name=shelves/*/books/**}:read`.
	Template string `json:"template"`

	// The RPC to call: `package.Service/Method`.
	RPC string `json:"rpc"`

	// Where the request body goes: `*` is the whole message, a name is that field. Default: there is no body, and what is not in
	// the path comes from the query.
	Body string `json:"body,omitempty"`

	// Field of the response message to answer with. Default: the whole message.
	ResponseBody string `json:"response_body,omitempty"`

	// Deadline of calls through this route, before all others. Negative: none.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Calls through this route may be executed twice, so they are made again at another instance when one is unavailable. So are those
	// of GET, PUT, HEAD and DELETE routes, and of methods whose idempotency_level says so.
	Idempotent bool `json:"idempotent,omitempty"`
}

// Validate says what is wrong with the route on its own, without a schema.
func (r *Route) Validate() error {
	compiled := r.compiled()
	return compiled.Validate()
}

// compiled is the route without its JSON.
func (r *Route) compiled() routes.Route {
	return routes.Route{
		Method: r.Method, Template: r.Template, RPC: r.RPC, Body: r.Body, ResponseBody: r.ResponseBody,
		Timeout: time.Duration(r.Timeout), Idempotent: r.Idempotent,
	}
}
