package frontend

import (
	spb "google.golang.org/genproto/googleapis/rpc/status"
)

// withoutHidden removes hidden fields from the details of an error, which it may change. The
// content of a detail whose type is not known is dropped, because it may hold such a field.
func (m *Method) withoutHidden(st *spb.Status) *spb.Status {
	if m.Hidden == nil {
		return st
	}
	for _, d := range st.GetDetails() {
		content, ok := m.Hidden.AppendContent(nil, d.GetTypeUrl(), d.GetValue())
		if !ok {
			content = nil
		}
		d.Value = content
	}
	return st
}
