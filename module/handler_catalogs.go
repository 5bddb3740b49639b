package module

import (
	"errors"
	"fmt"
	"slices"
)

// ErrNoExpose says that a handler with a catalog does not say what it exposes.
var ErrNoExpose = errors.New("expose is required with a catalog, because whoever may write to the registry can publish methods there; " +
	"`expose *` allows all of them")

// validateCatalogs checks what the config says of catalogs.
func (h *Handler) validateCatalogs() error {
	for i, name := range h.Catalogs {
		if slices.Contains(h.Catalogs[:i], name) {
			return fmt.Errorf("catalogs: %q comes twice", name)
		}
	}
	if len(h.Catalogs) > 0 && len(h.Expose) == 0 {
		return ErrNoExpose
	}
	return nil
}

// findCatalogs finds the catalogs that the handler refers to.
func (h *Handler) findCatalogs() ([]*catalog, error) {
	var catalogs []*catalog
	for _, name := range h.Catalogs {
		c := h.app.catalog(name)
		if c == nil {
			return nil, fmt.Errorf("there is no catalog named %q in the app grpc_gateway", name)
		}
		catalogs = append(catalogs, c)
	}
	return catalogs, nil
}
