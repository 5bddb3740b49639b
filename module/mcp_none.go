//go:build nomcp

package module

import (
	"errors"
	"net/http"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// tools is not part of this build.
type tools struct{}

func (h *Handler) makeTools(*frontend.Options) (*tools, error) {
	if h.MCP != nil {
		return nil, errors.New("this build has no MCP: it was made with the build tag nomcp")
	}
	return nil, nil //nolint:nilnil // Nil has no tools.
}

func (*tools) serve(http.ResponseWriter, *http.Request) bool { return false }

func (*tools) close() {}
