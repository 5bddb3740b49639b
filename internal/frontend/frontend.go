// Package frontend holds what the inbound protocols share: the table of methods and routes, metadata rules, deadlines, the
// mapping of gRPC status to HTTP, and the RPC itself in raw messages. Each protocol has its own subpackage, which knows how
// its messages, errors and streams look on the wire; nothing here does.
//
// # How a protocol serves a call
//
// It finds the Method in the Table and starts the Call with Options.Start, which makes metadata of the request's headers and applies
// the deadlines (the client's by whichever header, the gateway's for unary calls). Where there is one message each way,
// Options.Invoke makes the whole call, for less. Messages of a stream go by Call.Send and Call.Recv as
// mem.BufferSlice, never decoded here; what the sender makes itself goes into a buffer from GetBuffer that Call.Send hands to gRPC. Errors of
// a call are *Error already, safe to show; a protocol makes its own with Errorf. Response metadata passes the rules by
// Options.WriteHeader and WriteTrailer, or VisitMetadata where the protocol has a place of its own for it. Everything
// that the log, the metrics and the placeholders want to know is noted in Info on the way.
//
// Streams watch Options.Drain, and end with their protocol's terminal frame when it is closed. As long as nothing was written, an
// error is returned to the caller; later it is the protocol's own to send.
package frontend

import (
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
	Upstream string // name of the upstream, for metrics and logs
	Desc     protoreflect.MethodDescriptor
	Conn     grpc.ClientConnInterface // raw: messages are mem.BufferSlice (sent), *mem.BufferSlice (received)
	Request  *transcode.Codec
	Response *transcode.Codec
	Types    transcode.Resolver // for the details of errors
	// Files are those of the schema, for server reflection. Nil for methods without a schema.
	Files      *protoregistry.Files
	Timeout    time.Duration // default deadline of unary calls; 0 is none
	Idempotent bool
	StreamDesc grpc.StreamDesc
	// Timed, where not nil, is told how long conversions take: of one in 64, at random. See Clock.
	Timed func(Direction, time.Duration)
	// Departed, if set, is told about each answer with a value that has no JSON form, which was written as something close to it.
	Departed func(note error)
	// ToWire and ToJSON say how large converted messages are beside what they were made of.
	ToWire, ToJSON Ratio
	// Owner is what the table's maker keeps with the method. Frontends take no notice of it.
	Owner any
}

// Binding is one REST route of a method, compiled.
type Binding struct {
	Method       *Method
	HTTPMethod   string
	Template     *httprule.Template
	Vars         []*transcode.Field // as Template.Variables
	BodyAll      bool               // body: "*"
	Body         *transcode.Field   // body: "<field>"
	ResponseBody *transcode.Field   // nil: the whole message
	Timeout      time.Duration      // overrides Method.Timeout when positive
	Idempotent   bool
	Source       string // "annotation" or "config", for the routes view
}

// Table is everything a request is matched against; immutable, replaced as a whole.
type Table struct {
	Router  *httprule.Router[*Binding]
	Methods map[string]*Method // by Path; those reachable by POST /package.Service/Method
	// Pending is not empty while an upstream's schema is not known yet. It says which and why. A
	// path that may get a route by such a schema is 503 with this message, and not 404.
	Pending string
	// PendingName reports whether a schema that is not known yet may have the method of a path
	// "/package.Service/Method". Nil: it may have any. Asked only if Pending is not empty.
	PendingName func(path string) bool
	// PendingRoute is PendingName for REST, where any path may be a route. The path is still
	// percent-encoded.
	PendingRoute func(method, path string) bool
	// Fallback finds where calls of methods go that no schema describes; nil where there is no such
	// place. The path comes from a request and may be anything. The Method that it returns has a
	// name that protobuf can have, neither Desc nor codecs, and both directions stream, so that
	// messages pass as they are. Only gRPC and gRPC-Web ask.
	Fallback func(path string) *Method
}
