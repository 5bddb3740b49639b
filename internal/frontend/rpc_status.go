package frontend

import (
	"encoding/base64"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-grpc/gateway/internal/frontend/negotiate"
)

// GRPCStatus calls set with the fields by which gRPC tells how a call ended (gRPC over HTTP/2,
// "Status"). These are the code, the message if there is one, and the whole google.rpc.Status if it
// has details. A nil error is OK. Names are in lower case.
func GRPCStatus(err *Error, set func(name, value string)) {
	if err == nil {
		set("grpc-status", "0")
		return
	}
	set("grpc-status", strconv.FormatInt(int64(err.Status.GetCode()), 10))
	if m := err.Status.GetMessage(); m != "" {
		set("grpc-message", negotiate.EncodeMessage(m))
	}
	if len(err.Status.GetDetails()) == 0 {
		return
	}
	if details, err := proto.Marshal(err.Status); err == nil {
		set("grpc-status-details-bin", base64.RawStdEncoding.EncodeToString(details))
	}
}

// VisitMetadata calls visit with the trailer metadata that a client may see by the rules for
// trailers. It has the form of headers: names are canonical, and binary values are base64. Each
// name comes once.
func (o *Options) VisitMetadata(md metadata.MD, visit func(name string, values []string)) {
	if len(md) == 0 {
		return
	}
	h := make(http.Header, len(md)) // Rules may give several fields the same name.
	o.WriteTrailerHeader(h, md)
	for name, values := range h {
		visit(name, values)
	}
}

// HTTPError answers a request that is wrong on the level of HTTP, before any protocol: 405, 415 or
// 505. Its body has not been read.
func HTTPError(w http.ResponseWriter, r *http.Request, info *Info, err *Error) {
	info.Fail(err)
	LeaveBody(w, r)
	h := w.Header()
	for key, values := range err.Header {
		h[key] = values
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(err.HTTP())
	// If the client has left, nobody needs to know.
	_, _ = w.Write([]byte(err.Status.GetMessage() + "\n"))
}

// OnlyPOST is the error of a request with another method.
func OnlyPOST(method, allow string) *Error {
	return Errorf(codes.Unknown, "method %.20s is not allowed here; allowed: %s", method, allow).
		WithHTTP(http.StatusMethodNotAllowed).WithHeader("Allow", allow)
}

// UnsupportedType is the error of a content type that the protocol lacks.
func UnsupportedType(contentType, supported string) *Error {
	return Errorf(codes.Unknown, "content type %.100q is not supported; supported: %s", contentType, supported).
		WithHTTP(http.StatusUnsupportedMediaType).WithHeader("Accept-Post", supported)
}
