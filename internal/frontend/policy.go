package frontend

import "net/http"

// Policy is what the config puts around the calls of a method (the directive's `with` blocks).
type Policy interface {
	// Around runs the policy, and inside of it next, once at most, with the ResponseWriter and the
	// request that the policy made. It answers the client itself if the policy refuses the call.
	// When it returns, next does not run any more.
	//
	// The error is nil, or one that next has returned, or one that Caddy's error routes handle. If
	// it is not nil, nothing was written yet.
	Around(w http.ResponseWriter, r *http.Request, c *Policed, next func(http.ResponseWriter, *http.Request) error) error
}

// Policed is the call that a policy is for, before it is made.
type Policed struct {
	Protocol Protocol
	Method   *Method
	Binding  *Binding // Nil for calls by the name of the method.
	Vars     []string // The values of the path variables, in the order of Binding.Vars.
	Info     *Info
	// Refuse answers with an error in the client's protocol. Nothing was written yet. In REST a
	// policy may return the error instead.
	Refuse func(w http.ResponseWriter, r *http.Request, err *Error)
}
