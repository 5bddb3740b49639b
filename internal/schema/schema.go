// Package schema turns descriptors into one immutable schema, from reflection, descriptor sets or .proto files.
package schema

import (
	"context"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Schema is an immutable set of services, with all the types they use.
type Schema struct{}

// Method returns a method by "package.Service/Method" (a leading slash is allowed), or nil.
func (s *Schema) Method(name string) *Method { panic("to be built") }

// Methods returns all methods, sorted by name.
func (s *Schema) Methods() []*Method { panic("to be built") }

// Services returns the full names of the services, sorted.
func (s *Schema) Services() []string { panic("to be built") }

// Files returns the descriptors.
func (s *Schema) Files() *protoregistry.Files { panic("to be built") }

// Types resolves Any and extensions; it satisfies transcode.Resolver.
func (s *Schema) Types() *dynamicpb.Types { panic("to be built") }

// Fingerprint identifies the contents: equal descriptors, equal fingerprint.
func (s *Schema) Fingerprint() string { panic("to be built") }

// Method is one RPC.
type Method struct {
	Name  string // "package.Service/Method"
	Desc  protoreflect.MethodDescriptor
	Rules []*annotations.HttpRule // the google.api.http rule, then its additional_bindings, flattened
	// Idempotent: idempotency_level is NO_SIDE_EFFECTS or IDEMPOTENT.
	Idempotent bool
	// NoSideEffects: idempotency_level is NO_SIDE_EFFECTS, which opens Connect's GET.
	NoSideEffects bool
}

// Loader reads a schema from one place.
type Loader interface {
	// Load reads everything anew.
	Load(ctx context.Context) (*Schema, error)
	// Watch calls changed when what Load reads may have changed, until ctx is done. It blocks.
	Watch(ctx context.Context, changed func())
}

// Reflection, Protoset and ProtoFiles return the loaders.
//
//	func Reflection(conn grpc.ClientConnInterface, opts ReflectionOptions) Loader
//	func Protoset(files ...string) Loader
//	func ProtoFiles(files, importPaths []string) Loader
var _ grpc.ClientConnInterface

// Live keeps a schema current: it loads in the background, again on every change and Trigger, keeps the last good
// schema when a new one is broken, and tells subscribers.
type Live struct{}

// Current returns the schema in force, nil before the first was loaded.
func (l *Live) Current() *Schema { panic("to be built") }
