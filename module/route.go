package module

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-grpc/gateway/internal/httprule"
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
	if r.Method == "" || r.Method != "*" && strings.ContainsFunc(r.Method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		return fmt.Errorf("method %q: expected an HTTP method in upper case, or *", r.Method)
	}
	if _, err := httprule.Parse(r.Template); err != nil {
		return err
	}
	if err := validateRPC(r.RPC); err != nil {
		return err
	}
	if r.ResponseBody == "*" {
		return errors.New("response_body: expected the name of a field; the whole message is the default")
	}
	return nil
}

// String is how the route is named in errors and logs.
func (r *Route) String() string { return r.Method + " " + r.Template }

func validateRPC(rpc string) error {
	service, method, ok := strings.Cut(rpc, "/")
	if !ok || service == "" || method == "" || strings.ContainsAny(method, "/.") {
		return fmt.Errorf("rpc %q: expected package.Service/Method", rpc)
	}
	return nil
}
