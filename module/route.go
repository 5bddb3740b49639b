package module

import (
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/routes"
)

// Route is a REST route of the config. It does what a `google.api.http` rule does in a .proto file,
// and wins over those rules.
type Route struct {
	// The HTTP method, such as `GET`. `*` is any method. Required.
	Method string `json:"method"`

	// The path template in the syntax of `google.api.http`, such as `/v1/users/{id}` or
	// `/v1/{name=shelves/*/books/**}:read`. Required.
	Template string `json:"template"`

	// The method to call, as `package.Service/Method`. Required.
	RPC string `json:"rpc"`

	// The field that the request body fills. `*` is the whole message. Default: there is no body,
	// and the query has what is not in the path.
	Body string `json:"body,omitempty"`

	// The field of the response to answer with. Default: the whole message.
	ResponseBody string `json:"response_body,omitempty"`

	// The deadline of calls through this route, streams included. It wins over the timeouts of the
	// upstream and the handler, which are for unary calls only. Default: theirs. Negative: no
	// deadline.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Whether calls through this route may be executed twice. Such calls are made again at another
	// instance if one is unavailable. Calls through GET, PUT, HEAD and DELETE routes may always be
	// executed twice, and so may calls of methods whose idempotency_level says so. Default: false.
	Idempotent bool `json:"idempotent,omitempty"`

	// The HTTP status of answers that succeed, 200 to 299 without 205 and 206. With 204 they have
	// no body. It is the status of streams as well, but not of WebSockets. A status that the
	// service sets by `status_from` wins. Default: 200.
	Status int `json:"status,omitempty"`
}

// Validate says what is wrong with the route on its own, without a schema.
func (r *Route) Validate() error {
	compiled := r.compiled()
	return compiled.Validate()
}

// compiled returns the route as package routes has it.
func (r *Route) compiled() routes.Route {
	return routes.Route{
		Method: r.Method, Template: r.Template, RPC: r.RPC, Body: r.Body, ResponseBody: r.ResponseBody,
		Timeout: time.Duration(r.Timeout), Idempotent: r.Idempotent, Status: r.Status,
	}
}
