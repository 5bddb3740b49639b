package frontend

import (
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// ClientTimeout returns how long the client will wait by its headers, those of every protocol (see
// negotiate.Timeout). ok is false if it does not say. The error is a *Error: a value is negative or
// malformed.
func ClientTimeout(h http.Header) (d time.Duration, ok bool, err error) {
	d, ok, err = negotiate.Timeout(h)
	if err != nil {
		return 0, false, Errorf(codes.InvalidArgument, "%s", err)
	}
	return d, ok, nil
}

// timeout returns the time that a call has. It is own if that is positive, else Options.Timeout for
// a unary call. The client can shorten it but not lengthen it. Time already spent receiving the
// request counts against the client's deadline. ok is false if the call has no deadline. The error
// is that of ClientTimeout.
func (o *Options) timeout(s *CallSettings, own time.Duration, unary bool) (d time.Duration, ok bool, err error) {
	d, ok, err = ClientTimeout(s.Request.Header)
	if err != nil {
		return 0, false, err
	}
	if ok && !s.Began.IsZero() {
		d = max(0, d-time.Since(s.Began))
	}
	if own <= 0 && unary {
		own = o.Timeout
	}
	if own > 0 && (!ok || own < d) {
		d, ok = own, true
	}
	return d, ok, nil
}
