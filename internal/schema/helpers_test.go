package schema

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sources compiles the files "name: text". It returns the descriptors of these files by name,
// without those that they import from elsewhere.
func sources(t testing.TB, files map[string]string) map[string]*descriptorpb.FileDescriptorProto {
	t.Helper()
	c := protocompile.Compiler{
		SourceInfoMode: protocompile.SourceInfoStandard,
		Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(name string) (protocompile.SearchResult, error) {
			if text, ok := files[name]; ok {
				return protocompile.SearchResult{Source: bytes.NewReader([]byte(text))}, nil
			}
			return protocompile.SearchResult{Desc: standardFile(name)}, nil
		})),
	}
	descs := map[string]*descriptorpb.FileDescriptorProto{}
	for name := range files {
		compiled, err := c.Compile(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		descs[name] = protoutil.ProtoFromFileDescriptor(compiled[0])
	}
	return descs
}

func setOf(descs map[string]*descriptorpb.FileDescriptorProto, names ...string) *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	for _, name := range names {
		set.File = append(set.File, descs[name])
	}
	return set
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// fixture has two services. user.proto imports types.proto, and opts.proto for an option only.
var fixture = map[string]string{
	"acme/types.proto": `syntax = "proto3"; package acme;
// A user.
message User { string name = 1; Kind kind = 2; google.protobuf.Timestamp at = 3; }
enum Kind { KIND_UNSPECIFIED = 0; }
import "google/protobuf/timestamp.proto";`,
	"acme/opts.proto": `syntax = "proto3"; package acme;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { string mark = 50001; }`,
	"acme/user.proto": `syntax = "proto3"; package acme;
import "acme/types.proto"; import "acme/opts.proto"; import "google/api/annotations.proto";
message GetRequest { string name = 1 [(acme.mark) = "x"]; }
service Users {
  rpc Get(GetRequest) returns (User) { option (google.api.http) = {
    get: "/v1/{name}" additional_bindings { post: "/v1/get" body: "*" additional_bindings { get: "/never" } } }; }
  rpc Watch(GetRequest) returns (stream User);
}`,
	"acme/other.proto": `syntax = "proto3"; package acme;
message Nothing {}
service Other { rpc Do(Nothing) returns (Nothing) { option idempotency_level = IDEMPOTENT; } }`,
}

var fixtureMethods = []string{"acme.Other/Do", "acme.Users/Get", "acme.Users/Watch"}

func methodNames(s *Schema) []string {
	var names []string
	for _, m := range s.Methods() {
		names = append(names, m.Name)
	}
	return names
}

func wantMethods(t *testing.T, s *Schema, want ...string) {
	t.Helper()
	if got := methodNames(s); !slices.Equal(got, want) {
		t.Errorf("methods %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func emptyTypes() *dynamicpb.Types { return dynamicpb.NewTypes(&protoregistry.Files{}) }
