// Package frontend holds what the inbound protocols share: the table of methods and routes, metadata rules, deadlines, and the
// mapping of gRPC status to HTTP. Each protocol has its own subpackage.
package frontend

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/httprule"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// Method is one RPC that can be called.
type Method struct {
	Name       string // "package.Service/Method"
	Path       string // "/package.Service/Method"
	Upstream   string // name of the upstream, for metrics and logs
	Desc       protoreflect.MethodDescriptor
	Conn       grpc.ClientConnInterface // raw: messages are mem.BufferSlice (sent), *mem.BufferSlice (received)
	Request    *transcode.Codec
	Response   *transcode.Codec
	Types      transcode.Resolver // for the details of errors
	Timeout    time.Duration      // default deadline of unary calls; 0 is none
	Idempotent bool
	StreamDesc grpc.StreamDesc
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
	// Pending is not empty while an upstream's schema is not known yet: then an unknown path is
	// 503, with this message, and not 404.
	Pending string
	// Fallback finds where calls of methods go that no schema describes; nil where there is no such place. The Method that it returns
	// has neither Desc nor codecs, and both directions stream, so that messages pass as they are. Only gRPC and gRPC-Web ask.
	Fallback func(path string) *Method
}
