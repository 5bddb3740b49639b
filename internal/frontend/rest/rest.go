// Package rest answers plain HTTP: google.api.http routes and POST /package.Service/Method with JSON, all four kinds of RPC. It
// is not the Connect, gRPC-Web or gRPC protocol: those have packages of their own beside it.
package rest

import (
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// Handler serves the REST protocol. Safe for concurrent use.
type Handler struct {
	opts frontend.Options
}

// New returns a handler with the options.
func New(opts frontend.Options) *Handler {
	return &Handler{opts: opts.WithDefaults()}
}

// Serve answers one request by the table and notes in info what happened.
//
// The error is nil or a *frontend.Error, and not nil only while nothing has been written: the caller then answers, with WriteError
// or otherwise. A request that fails later gets the terminal error of its framing here; where the framing
// has none, Serve panics with http.ErrAbortHandler.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, t *frontend.Table, info *frontend.Info) error {
	panic("to be built")
}

// WriteError answers a request with the error as google.rpc.Status in JSON. An error that is not a *frontend.Error is INTERNAL, and
// its text is not shown.
func WriteError(w http.ResponseWriter, r *http.Request, err error) { panic("to be built") }
