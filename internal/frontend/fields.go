package frontend

// FieldsHeader is the request header that names the parts of an answer. It is the one of Google's
// APIs (https://cloud.google.com/apis/docs/system-parameters), in canonical form.
const FieldsHeader = "X-Goog-Fieldmask"

// Fields says where a client names the parts of an answer that it wants.
type Fields struct {
	// Parameter is the name of the query parameter. A request field of that name comes first.
	Parameter string
	// Header says that FieldsHeader is read, too.
	Header bool
}
