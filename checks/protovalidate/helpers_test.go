package protovalidate

import (
	"context"
	"errors"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/checks"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// rules are the checks of the file test.proto with the given messages. Each message M is the
// request of the method test.v1.S/M.
type rules struct {
	*schemaChecks

	service protoreflect.ServiceDescriptor
}

func compileRules(t testing.TB, messages string) rules { return compileWith(t, "", messages) }

// compileWith is compileRules with extensions, which are in a file of their own in proto2.
func compileWith(t testing.TB, extensions, messages string) rules {
	t.Helper()
	s := compileSchema(t, extensions, messages)
	d, err := s.Files().FindDescriptorByName("test.v1.S")
	if err != nil {
		t.Fatal(err)
	}
	return rules{newSchemaChecks(checks.Schema{Files: s.Files()}, newGate()), d.(protoreflect.ServiceDescriptor)}
}

func compileSchema(t testing.TB, extensions, messages string) *schema.Schema {
	t.Helper()
	var text strings.Builder
	const imports = `package test.v1; import "buf/validate/validate.proto"; `
	text.WriteString(`syntax = "proto3"; ` + imports + `import "rules.proto"; ` + "\n" + messages + "\nservice S {\n")
	for line := range strings.Lines(messages) {
		if name, ok := strings.CutPrefix(line, "message "); ok {
			name, _, _ = strings.Cut(name, " ")
			text.WriteString("rpc " + name + "(.test.v1." + name + ") returns (.test.v1." + name + ");\n")
		}
	}
	text.WriteString("}")
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{
			"test.proto": text.String(), "rules.proto": `syntax = "proto2"; ` + imports + extensions,
		})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			if path == "buf/validate/validate.proto" {
				return protocompile.SearchResult{Desc: validate.File_buf_validate_validate_proto}, nil
			}
			return protocompile.SearchResult{}, errors.New("no such file: " + path)
		}),
	})}
	files, err := compiler.Compile(t.Context(), "rules.proto", "test.proto")
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, fd := range []protoreflect.FileDescriptor{
		descriptorpb.File_google_protobuf_descriptor_proto, validate.File_buf_validate_validate_proto, files[0], files[1],
	} {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	s, err := schema.New(set)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// method returns what is known about a message type.
func (r rules) method(t testing.TB, message string) (checks.Check, []checks.Problem) {
	t.Helper()
	m := r.service.Methods().ByName(protoreflect.Name(message))
	if m == nil {
		t.Fatalf("there is no message %s", message)
	}
	return r.Method(m)
}

// judge returns what a message of the type is told. wire is in protoscope's simplest form: bytes.
func (r rules) judge(t testing.TB, message string, wire []byte) error {
	t.Helper()
	check, _ := r.method(t, message)
	if check == nil {
		t.Fatalf("%s has no check", message)
	}
	return check.Message(context.Background(), wire)
}

// told writes a refusal as lines "path rule".
func told(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var refusal *checks.Refusal
	if !errors.As(err, &refusal) {
		return "failed: " + oneLine(err)
	}
	lines := []string{}
	if refusal.Message != "" {
		lines = append(lines, refusal.Message)
	}
	for i := range refusal.Violations {
		v := &refusal.Violations[i]
		path := v.Path(func(fd protoreflect.FieldDescriptor) string { return fd.JSONName() })
		lines = append(lines, strings.TrimSpace(path+" "+v.Rule))
	}
	if refusal.Detail != nil {
		if n := len(refusal.Detail(len(lines)).(*validate.Violations).GetViolations()); n != len(lines) {
			t.Errorf("the detail has %d violations, the refusal %d", n, len(lines))
		}
	}
	return strings.Join(lines, "\n")
}

// mustMarshal is the wire form of a message that the test builds by field numbers.
func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
