package mcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddy-grpc/gateway/internal/frontend"
)

// wellKnown is the path of the metadata of a protected resource, before the path of the resource
// itself (RFC 9728, section 3).
const wellKnown = "/.well-known/oauth-protected-resource"

func (h *Handler) metadataPath() string { return wellKnown + h.cfg.Path }

// challenge is the answer to a request without a token that counts (RFC 9728, section 5.1). denied
// is why the token of a request does not count. Nil: it has none.
func (h *Handler) challenge(r *http.Request, denied *frontend.Error) *refusal {
	value := fmt.Sprintf("Bearer resource_metadata=%q", h.cfg.Base(r)+h.metadataPath())
	message := "a token is needed"
	if denied != nil {
		value += `, error="invalid_token"`
		message = denied.Status.GetMessage()
	}
	return &refusal{status: http.StatusUnauthorized, message: message, header: http.Header{"Www-Authenticate": {value}}}
}

// serveMetadata tells where tokens come from (RFC 9728, section 3.2). It is no secret, and pages of
// all sites may read it.
func (h *Handler) serveMetadata(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Del("Access-Control-Allow-Credentials")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", "GET")
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	raw, _ := json.Marshal(map[string]any{
		"resource":                 h.cfg.Base(r) + h.cfg.Path,
		"authorization_servers":    slices.Clone(h.cfg.Authorization),
		"bearer_methods_supported": []string{"header"},
	})
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store") // It has the host that the client has asked for.
	header.Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(raw) // If the client has left, nobody needs to know.
	}
}
