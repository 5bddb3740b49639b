package frontend

import "google.golang.org/grpc/codes"

// Info is what a frontend learns about a request while it serves it, for the access log, the
// metrics and the placeholders. The caller passes an empty Info to Serve and reads it when Serve
// has returned, or has panicked with http.ErrAbortHandler.
type Info struct {
	// Protocol is "rest", "connect", "grpcweb", "grpc" or "mcp". It is "" before a protocol was
	// chosen.
	Protocol string
	// Framing is how a stream was sent over HTTP: "sse", "ndjson", "result", "json", "raw" or
	// "websocket". It is "" for unary calls.
	Framing string
	// Method is nil if no method was found.
	Method *Method
	// Route is the template that matched. It is "" if the method was called by its name.
	Route string
	// Endpoint is the address of the instance that was picked. It is "" before.
	Endpoint string
	// Called says that an RPC was started.
	Called bool
	// Code is the result of the RPC, or of a refusal by the gateway.
	Code codes.Code
	// Err is what went wrong. It is for the log only, since it has details that no client may see.
	// It is nil for a success.
	Err error
	// Sent counts the messages sent to the upstream, Received those that it answered.
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
