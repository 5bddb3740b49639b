package frontend

import "google.golang.org/grpc/codes"

// Info is what a frontend learns about a request while it serves it, for the access log, the metrics and the placeholders. The
// caller passes an empty one to Serve and reads it when Serve has returned (also after a panic with http.ErrAbortHandler).
type Info struct {
	Protocol string  // "rest", "connect", "grpcweb", "grpc"
	Framing  string  // how a stream went over HTTP: "sse", "ndjson", "json", "raw", "websocket"; "" for unary
	Method   *Method // nil when no method was found
	Route    string  // the template that matched; "" when called as /package.Service/Method
	Endpoint string  // address of the instance that was picked; "" before
	// Called says that an RPC was started. Code is its result, or that of the gateway's own refusal.
	Called bool
	Code   codes.Code
	// Err is what went wrong, for the log only: it has details that no client may see. Nil when all went well.
	Err error
	// Sent counts messages sent to the upstream, Received those that came back.
	Sent, Received uint64
}

// Fail notes the error's code and cause.
func (i *Info) Fail(err *Error) {
	i.Code = err.Code()
	i.Err = err.Unwrap()
	if i.Err == nil {
		i.Err = err
	}
}
