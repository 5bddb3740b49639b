package frontend

import (
	"net/http"

	"google.golang.org/protobuf/types/descriptorpb"
)

// AnyMethod is the element of AllowedMethods that means every HTTP method.
const AnyMethod = "*"

// AllowedMethods returns the HTTP methods that the escaped path can be called with, without HEAD
// and OPTIONS. It is empty for an unknown path. It is AnyMethod as long as a schema is missing that
// may have the path.
func (t *Table) AllowedMethods(path string) []string {
	if t == nil {
		return []string{AnyMethod}
	}
	if m := t.Methods[path]; m != nil {
		if m.HasNoSideEffects() {
			return []string{http.MethodGet, http.MethodPost}
		}
		return []string{http.MethodPost}
	}
	var allowed []string
	if t.Router != nil {
		allowed = t.Router.Allowed(path)
	}
	if len(allowed) == 0 && t.Pending != "" {
		return []string{AnyMethod}
	}
	return allowed
}

// HasNoSideEffects reports whether the schema says that the method may be called by a Connect GET
// (idempotency_level = NO_SIDE_EFFECTS).
func (m *Method) HasNoSideEffects() bool {
	if m.Desc == nil {
		return false
	}
	opts, ok := m.Desc.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
