package routes

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-grpc/gateway/internal/httprule"
)

// Route is a REST route of the config. It does what a google.api.http rule does in a .proto file.
type Route struct {
	// Method is an HTTP method, or `*` for any.
	Method string
	// Template is a path template in the syntax of google.api.http.
	Template string
	// RPC is `package.Service/Method`.
	RPC string
	// Body is the field that the request body fills, or `*` for the whole message. "" means that
	// there is no body.
	Body string
	// ResponseBody is a field of the response. "" means the whole message.
	ResponseBody string
	// Timeout overrides the timeout of the method. 0 does not. A negative one is no timeout.
	Timeout time.Duration
	// Idempotent says that calls may be executed twice, even if the HTTP method does not say so.
	Idempotent bool
	// Status is the HTTP status of answers that succeed. 0 is the default, 200.
	Status int
}

// Validate says what is wrong with the route on its own, without a schema.
func (r *Route) Validate() error {
	if r.Method == "" || r.Method != "*" && strings.ContainsFunc(r.Method, func(c rune) bool { return c < 'A' || c > 'Z' }) {
		return fmt.Errorf("method %q: expected an HTTP method in upper case, or *", r.Method)
	}
	if _, err := httprule.Parse(r.Template); err != nil {
		return err
	}
	if err := CheckRPC(r.RPC); err != nil {
		return err
	}
	if r.ResponseBody == "*" {
		return errors.New("response_body: expected the name of a field; the whole message is the default")
	}
	return checkStatus(r.Status)
}

// checkStatus allows what the answer of every successful call can have. A 205 has no body, and a
// 206 has a part of one, which only the service could know of.
func checkStatus(status int) error {
	switch {
	case status == 0:
		return nil
	case status < 200 || status > 299 || status == http.StatusResetContent || status == http.StatusPartialContent:
		return fmt.Errorf("status %d: expected a number from 200 to 299, and neither 205 nor 206", status)
	}
	return nil
}

// String returns the name of the route in errors and logs.
func (r *Route) String() string { return r.Method + " " + r.Template }

// CheckRPC says what is wrong with the name of a method.
func CheckRPC(rpc string) error {
	if _, _, ok := splitName(rpc); !ok {
		return fmt.Errorf("rpc %q: expected package.Service/Method", rpc)
	}
	return nil
}
