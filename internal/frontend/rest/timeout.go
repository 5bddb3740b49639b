package rest

import (
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// withoutTimeout returns the request without the headers by which the client says how long it will
// wait. The request itself is not changed, because others log it.
func withoutTimeout(r *http.Request) *http.Request {
	if !negotiate.HasTimeout(r.Header) {
		return r
	}
	less := r.WithContext(r.Context())
	less.Header = r.Header.Clone()
	for _, name := range []string{negotiate.GrpcTimeoutHeader, negotiate.ConnectTimeoutHeader, negotiate.RequestTimeoutHeader} {
		less.Header.Del(name)
	}
	return less
}
