package frontend

import (
	"net/http"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
)

// Protocol says how a request is read and answered.
type Protocol uint8

// The protocols. A request that speaks none of the others is REST.
const (
	REST Protocol = iota
	Connect
	GRPC
	GRPCWeb
	// MCP is the protocol of a tool call. Detect never returns it: its requests have a path of
	// their own.
	MCP
)

// String is the name in Info.Protocol, metrics and logs.
func (p Protocol) String() string {
	switch p {
	case Connect:
		return "connect"
	case GRPC:
		return "grpc"
	case GRPCWeb:
		return "grpcweb"
	case MCP:
		return "mcp"
	case REST:
		return "rest"
	default:
		return "unknown"
	}
}

// Detect says which protocol a request speaks. It looks only at method, path, query and headers.
//
//   - These count for every path, so a client that calls an unknown method gets an error that it
//     understands. application/grpc, with +proto, +json or another subformat, is gRPC.
//     application/grpc-web and application/grpc-web-text are gRPC-Web. application/connect+… is a
//     Connect stream. A POST with Connect-Protocol-Version is a Connect call.
//   - For a method's own path (/package.Service/Method), these are Connect calls too: a POST of
//     application/proto, any request with Connect-Protocol-Version or Connect-Timeout-Ms, and a GET
//     with the parameters encoding and message. A POST of a type that REST cannot read is one as
//     well, because Connect's 415 names the types of all protocols.
//   - All others are REST. So a plain POST of JSON to a method's path gets the answer that Connect
//     would give, but its errors are google.rpc.Status and not Connect's. Without the header nobody
//     can tell the two kinds of client apart. All Connect clients of today send it by default, and
//     those who write curl commands expect the errors of REST routes.
func Detect(t *Table, r *http.Request) Protocol {
	contentType := contentTypeOf(r.Header)
	if p := ofType(contentType); p != REST {
		return p
	}
	versioned := len(r.Header["Connect-Protocol-Version"]) > 0
	if versioned && r.Method == http.MethodPost {
		return Connect
	}
	if t == nil {
		return REST
	}
	m := t.Methods[r.URL.Path]
	switch {
	case m == nil:
		return REST
	case versioned || len(r.Header["Connect-Timeout-Ms"]) > 0:
		return Connect
	case r.Method == http.MethodPost && contentType != "" && !isPlain(contentType, m):
		return Connect
	case r.Method == http.MethodGet && hasParameter(r.URL.RawQuery, "encoding") && hasParameter(r.URL.RawQuery, "message"):
		return Connect
	}
	return REST
}

// DetectAlone is Detect for a request that may be for any server, so that there is no table. Then a
// POST of application/proto, any request with one of Connect's headers, and a GET with the
// parameters connect=v1, encoding and message are Connect calls.
func DetectAlone(r *http.Request) Protocol {
	if p := Detect(nil, r); p != REST {
		return p
	}
	name, _, _ := strings.Cut(contentTypeOf(r.Header), ";")
	query := r.URL.RawQuery
	switch {
	case len(r.Header["Connect-Protocol-Version"]) > 0 || len(r.Header["Connect-Timeout-Ms"]) > 0:
		return Connect
	case r.Method == http.MethodPost && strings.EqualFold(strings.TrimSpace(name), "application/proto"):
		return Connect
	case r.Method == http.MethodGet && hasParameter(query, "encoding") && hasParameter(query, "message") &&
		slices.Contains(strings.Split(query, "&"), "connect=v1"):
		return Connect
	}
	return REST
}

// AnswersAs reports whether an answer of the content type may be one in the protocol. Every answer
// may be one of REST.
func (p Protocol) AnswersAs(contentType string) bool {
	switch p {
	case REST:
		return true
	case Connect:
		name, _, _ := strings.Cut(strings.ToLower(contentType), ";")
		name = strings.TrimSpace(name)
		return name == "application/proto" || name == "application/json" || ofType(contentType) == Connect
	case MCP:
		name, _, _ := strings.Cut(strings.ToLower(contentType), ";")
		return strings.TrimSpace(name) == "application/json"
	default:
		return ofType(contentType) == p
	}
}

// contentTypeOf is h.Get("Content-Type") and costs less.
func contentTypeOf(h http.Header) string {
	if v := h["Content-Type"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// ofType is the protocol that a content type belongs to. It is REST if the type does not tell.
func ofType(contentType string) Protocol {
	if rest, ok := cutPrefixFold(contentType, "application/grpc"); ok {
		switch {
		case rest == "" || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ':
			return GRPC
		case hasPrefixFold(rest, "-web"):
			return GRPCWeb
		}
	}
	if hasPrefixFold(contentType, "application/connect+") {
		return Connect
	}
	return REST
}

// isPlain reports whether REST may be able to read a body of the type. It reads JSON under all its
// names, forms, and any type for methods that take google.api.HttpBody.
func isPlain(contentType string, m *Method) bool {
	name, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	name = strings.TrimSpace(name)
	switch {
	case name == "application/proto":
		return false
	case strings.HasSuffix(name, "json"), name == "multipart/form-data", name == "application/x-www-form-urlencoded":
		return true
	}
	return m.Desc != nil && m.Desc.Input().FullName() == "google.api.HttpBody"
}

func hasParameter(query, name string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(pair, "="); key == name {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, prefix string) bool {
	_, ok := cutPrefixFold(s, prefix)
	return ok
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// Lookup finds the method of a path "/package.Service/Method" for the RPC protocols. raw says that
// the caller passes messages through and needs no schema. Then Fallback is asked too. The error is
// a *Error: UNIMPLEMENTED, or UNAVAILABLE while a schema is not known yet.
func (t *Table) Lookup(path string, raw bool) (*Method, error) {
	if t == nil {
		return nil, Errorf(codes.Unavailable, "the gateway is starting").WithHeader("Retry-After", "1")
	}
	if m := t.Methods[path]; m != nil {
		return m, nil
	}
	if raw && t.Fallback != nil {
		if m := t.Fallback(path); m != nil {
			return m, nil
		}
	}
	if t.Pending != "" && (t.PendingName == nil || t.PendingName(path)) {
		return nil, Errorf(codes.Unavailable, "%s", t.Pending).WithHeader("Retry-After", "1")
	}
	return nil, Errorf(codes.Unimplemented, "there is no method %.200s", path).WithHTTP(http.StatusNotFound)
}
