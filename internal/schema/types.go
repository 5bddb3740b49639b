package schema

import (
	"errors"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Types finds the message types in google.protobuf.Any, and extensions. It knows the types of the
// source, the well-known types and the error details of google.rpc. It satisfies
// transcode.Resolver. Safe for concurrent use.
//
// If the schema came by server reflection, a type that it does not know is asked of the service.
// This blocks the caller for a second at most, and rarely: both results are remembered, and there
// are limits on how much is asked and kept, which docs/schema.md lists. Whatever goes wrong, the
// answer is protoregistry.NotFound. What is learned belongs to no method and does not change the
// schema.
type Types struct {
	files *protoregistry.Files
	known *dynamicpb.Types
	// learner asks the service. Nil if the schema is not from one.
	learner atomic.Pointer[learner]
}

// Files returns the descriptors of the schema, without what was learned since.
func (t *Types) Files() *protoregistry.Files { return t.files }

// AskLike makes a schema ask whom another schema asks. It is for two schemas of one service, of
// which the other was read later and has the same fingerprint.
func (s *Schema) AskLike(other *Schema) { s.types.learner.Store(other.types.learner.Load()) }

// FindMessageByName implements protoregistry.MessageTypeResolver.
func (t *Types) FindMessageByName(name protoreflect.FullName) (protoreflect.MessageType, error) {
	return find(t, lack{name: name}, func(in *dynamicpb.Types) (protoreflect.MessageType, error) {
		return in.FindMessageByName(name)
	})
}

// FindMessageByURL implements protoregistry.MessageTypeResolver. The name of the type is what comes
// after the last slash.
func (t *Types) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	return t.FindMessageByName(protoreflect.FullName(url[strings.LastIndexByte(url, '/')+1:]))
}

// FindExtensionByName implements protoregistry.ExtensionTypeResolver.
func (t *Types) FindExtensionByName(name protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return find(t, lack{name: name}, func(in *dynamicpb.Types) (protoreflect.ExtensionType, error) {
		// It takes a field of a message for an extension.
		xt, err := in.FindExtensionByName(name)
		if err == nil && !xt.TypeDescriptor().IsExtension() {
			return nil, errNotExtension
		}
		return xt, err
	})
}

// FindExtensionByNumber implements protoregistry.ExtensionTypeResolver.
func (t *Types) FindExtensionByNumber(message protoreflect.FullName, number protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return find(t, lack{name: message, number: number}, func(in *dynamicpb.Types) (protoreflect.ExtensionType, error) {
		return in.FindExtensionByNumber(message, number)
	})
}

var errNotExtension = errors.New("it is a field of a message")

// find looks into the schema, then into what was learned, and then asks the service.
func find[T any](t *Types, what lack, in func(*dynamicpb.Types) (T, error)) (T, error) {
	var none T
	found, err := in(t.known)
	if err == nil {
		return found, nil
	}
	l := t.learner.Load()
	if l == nil || !errors.Is(err, protoregistry.NotFound) {
		return none, protoregistry.NotFound // Or it is something else, such as an enum.
	}
	if found, err = in(l.types()); err == nil {
		return found, nil
	}
	if !errors.Is(err, protoregistry.NotFound) || !l.learn(what) {
		return none, protoregistry.NotFound
	}
	if found, err = in(l.types()); err != nil {
		return none, protoregistry.NotFound
	}
	return found, nil
}
