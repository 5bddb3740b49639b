package frontend

import (
	"net/http"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// ClientTimeout is how long the client is ready to wait, by whichever header of whichever protocol (see negotiate.Timeout). ok is
// false when there is none. The error is a *Error: a negative or malformed value.
func ClientTimeout(h http.Header) (d time.Duration, ok bool, err error) {
	d, ok, err = negotiate.Timeout(h)
	if err != nil {
		return 0, false, Errorf(codes.InvalidArgument, "%s", err)
	}
	return d, ok, nil
}

// timeout is the deadline of a call: the default (own positive, else Options.Timeout where the call is unary), shortened by what the
// client asks for, never lengthened. What of that went by while the request came in is over. ok is false when there is none. The error is
// that of ClientTimeout.
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
