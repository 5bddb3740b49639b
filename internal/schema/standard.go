package schema

import (
	"strings"
	"sync"

	"google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/api/httpbody" // for files that import it
	"google.golang.org/genproto/googleapis/api/visibility"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/gofeaturespb"
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/apipb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/sourcecontextpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/typepb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// standardFiles are in every schema. So google.protobuf.Any and error details can hold their types,
// even if no service imports them.
var standardFiles = []string{
	"google/api/httpbody.proto",
	"google/protobuf/any.proto",
	"google/protobuf/duration.proto",
	"google/protobuf/empty.proto",
	"google/protobuf/field_mask.proto",
	"google/protobuf/struct.proto",
	"google/protobuf/timestamp.proto",
	"google/protobuf/wrappers.proto",
	"google/rpc/error_details.proto",
	"google/rpc/status.proto",
}

// standardFile returns the linked version of a common file, or nil. It looks into three directories
// only. Other files that are linked into the binary, such as those of other plugins, may have the
// same path as a file of a service and mean something else.
func standardFile(path string) protoreflect.FileDescriptor {
	if !strings.HasPrefix(path, "google/protobuf/") && !strings.HasPrefix(path, "google/api/") &&
		!strings.HasPrefix(path, "google/rpc/") {
		return nil
	}
	fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return nil
	}
	return fd
}

// optionTypes are the options that files are parsed with. The global registry would not do, because
// the numbers of options are often private: an option of another plugin with the same number would
// make a file unreadable.
var optionTypes = sync.OnceValue(func() *protoregistry.Types {
	types := &protoregistry.Types{}
	for _, xt := range []protoreflect.ExtensionType{
		annotations.E_Http, annotations.E_FieldBehavior, annotations.E_FieldInfo, annotations.E_MethodSignature,
		annotations.E_DefaultHost, annotations.E_OauthScopes, annotations.E_ApiVersion, annotations.E_Routing,
		annotations.E_Resource, annotations.E_ResourceDefinition, annotations.E_ResourceReference,
		visibility.E_ApiVisibility, visibility.E_MethodVisibility, visibility.E_MessageVisibility,
		visibility.E_FieldVisibility, visibility.E_EnumVisibility, visibility.E_ValueVisibility,
		gofeaturespb.E_Go,
	} {
		// The numbers are registered with Google and differ, so this cannot fail.
		_ = types.RegisterExtension(xt)
	}
	return types
})

// covers reports whether a linked file declares all that the given version of it declares, so that
// it can take its place. Services are only counted, because those of a common file are never
// exposed.
func covers(linked protoreflect.FileDescriptor, given *descriptorpb.FileDescriptorProto) bool {
	return string(linked.Package()) == given.GetPackage() && len(given.GetService()) == linked.Services().Len() &&
		coversMessages(linked.Messages(), given.GetMessageType()) &&
		coversEnums(linked.Enums(), given.GetEnumType()) &&
		coversExtensions(linked.Extensions(), given.GetExtension())
}

func coversMessages(linked protoreflect.MessageDescriptors, given []*descriptorpb.DescriptorProto) bool {
	for _, g := range given {
		l := linked.ByName(protoreflect.Name(g.GetName()))
		if l == nil || !coversMessages(l.Messages(), g.GetNestedType()) || !coversEnums(l.Enums(), g.GetEnumType()) ||
			!coversExtensions(l.Extensions(), g.GetExtension()) {
			return false
		}
		for _, f := range g.GetField() {
			lf := l.Fields().ByNumber(protoreflect.FieldNumber(f.GetNumber()))
			if lf == nil || !sameField(lf, f) {
				return false
			}
		}
	}
	return true
}

func coversEnums(linked protoreflect.EnumDescriptors, given []*descriptorpb.EnumDescriptorProto) bool {
	for _, g := range given {
		l := linked.ByName(protoreflect.Name(g.GetName()))
		if l == nil {
			return false
		}
		for _, v := range g.GetValue() {
			lv := l.Values().ByName(protoreflect.Name(v.GetName()))
			if lv == nil || int32(lv.Number()) != v.GetNumber() {
				return false
			}
		}
	}
	return true
}

func coversExtensions(linked protoreflect.ExtensionDescriptors, given []*descriptorpb.FieldDescriptorProto) bool {
	for _, g := range given {
		l := linked.ByName(protoreflect.Name(g.GetName()))
		if l == nil || int32(l.Number()) != g.GetNumber() || !sameField(l, g) {
			return false
		}
	}
	return true
}

func sameField(l protoreflect.FieldDescriptor, g *descriptorpb.FieldDescriptorProto) bool {
	repeated := g.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	if string(l.Name()) != g.GetName() || int32(l.Kind()) != int32(g.GetType()) || (l.Cardinality() == protoreflect.Repeated) != repeated {
		return false
	}
	name := strings.TrimPrefix(g.GetTypeName(), ".")
	switch {
	case l.Message() != nil:
		return string(l.Message().FullName()) == name
	case l.Enum() != nil:
		return string(l.Enum().FullName()) == name
	default:
		return true
	}
}
