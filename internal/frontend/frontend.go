// Package frontend holds what the inbound protocols share: the table of methods and routes,
// metadata rules, deadlines, the mapping of gRPC status to HTTP, and the RPC itself in raw
// messages. Each protocol has its own subpackage. Only that knows how messages, errors and streams
// look on the wire.
//
// # How a protocol serves a call
//
//   - It finds the Method in the Table.
//   - Options.Start starts the Call. It makes metadata of the request's headers and applies the
//     deadlines: the client's by any of the headers, and the gateway's for unary calls. If there is
//     one message each way, Options.Invoke makes the whole call and costs less.
//     If only the answer streams, Options.Open does for it what Start and Call.Send would do.
//   - Call.Send and Call.Recv move the messages of a stream, which are never decoded here. A
//     message to send is a buffer from GetBuffer, which Call.Send hands to gRPC.
//   - All three show each request message to Method.Check before it is sent.
//   - Errors of a call are *Error and safe to show. A protocol makes its own errors with Errorf.
//   - Response metadata passes the rules in Options.WriteHeader and WriteTrailer, or in
//     VisitMetadata if the protocol has its own place for it.
//   - Info gets what the log, the metrics and the placeholders need.
//
// Streams watch Options.Drain. When it is closed, they end with the terminal frame of their
// protocol. While nothing has been written, an error is returned to the caller. Later the protocol
// sends it.
package frontend

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/caddy-grpc/gateway/internal/httprule"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Method is one RPC that can be called.
type Method struct {
	Name     string // "package.Service/Method"
	Path     string // "/package.Service/Method"
	Upstream string // The name of the upstream, for metrics and logs.
	Desc     protoreflect.MethodDescriptor
	// Conn takes raw messages: it sends mem.BufferSlice and receives *mem.BufferSlice.
	Conn     grpc.ClientConnInterface
	Request  *transcode.Codec
	Response *transcode.Codec
	Types    transcode.Resolver // For the details of errors.
	// Hidden keeps fields from clients in every protocol. Response and Types have no such field
	// either. Nil: no field is hidden.
	Hidden *transcode.Filter
	// Files are those of the schema, for server reflection. Nil for methods without a schema.
	Files *protoregistry.Files
	// Timeout is the default deadline of unary calls. 0: none.
	Timeout    time.Duration
	Idempotent bool // The call may be executed twice.
	StreamDesc grpc.StreamDesc
	// Timed, if set, is told how long one conversion in 64 takes, chosen at random. See Clock.
	Timed func(Direction, time.Duration)
	// Departed, if set, is told about each answer that has a value without a JSON form. Such a
	// value is written as something close to it.
	Departed func(note error)
	// Policy is run around each call. Nil: none.
	Policy Policy
	// Check decides whether a request message may be sent. It must neither change nor keep the
	// bytes. Nil: every message may.
	Check func(ctx context.Context, wire []byte) *Error
	// ToWire and ToJSON say how large converted messages are, compared to their inputs.
	ToWire, ToJSON Ratio
	// Owner is for the maker of the table. Frontends ignore it.
	Owner any
}

// Binding is one REST route of a method, compiled.
type Binding struct {
	Method     *Method
	HTTPMethod string
	Template   *httprule.Template
	Vars       []*transcode.Field // In the order of Template.Variables.
	BodyAll    bool               // body: "*"
	// BesideBody goes with BodyAll. The query sets fields, too, and wins over the body. Of several
	// values for one field the last one counts, and an empty value sets nothing.
	BesideBody   bool
	Body         *transcode.Field // body: "<field>"
	ResponseBody *transcode.Field // Nil: the whole message.
	Timeout      time.Duration    // If positive, it overrides Method.Timeout.
	Idempotent   bool
	Status       int    // The status of answers that succeed, 200 to 299. 0: the default.
	Source       string // "annotation" or "config", for the routes view.
}

// Table is everything that a request is matched against. It is never changed, only replaced.
type Table struct {
	Router *httprule.Router[*Binding]
	// Methods are those that POST /package.Service/Method can reach, by Path.
	Methods map[string]*Method
	// Pending is not empty while an upstream's schema is not known yet. It says which and why. A
	// path that may get a route by such a schema is 503 with this message, and not 404.
	Pending string
	// PendingName reports whether a schema that is not known yet may have the method of a path
	// "/package.Service/Method". Nil: it may have any. Asked only if Pending is not empty.
	PendingName func(path string) bool
	// PendingRoute is PendingName for REST, where any path may be a route. The path is still
	// percent-encoded.
	PendingRoute func(method, path string) bool
	// Fallback, if set, finds the Method for a call that no schema describes, or returns nil. The
	// path comes from a request and may be anything. The Method has a name that protobuf allows,
	// and neither Desc nor codecs. Both directions stream, so messages pass as they are. Only gRPC
	// and gRPC-Web ask.
	Fallback func(path string) *Method
}
