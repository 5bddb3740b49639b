package schema

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
)

func TestSchemaOfGeneratedCode(t *testing.T) {
	s, err := FromFiles(testpb.File_internal_testkit_testpb_echo_proto)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := s.Services(), []string{"gateway.test.v1.Echo", "gateway.test.v1.Library"}; !slices.Equal(got, want) {
		t.Errorf("services %q, want %q", got, want)
	}
	m := s.Method("/gateway.test.v1.Echo/Unary")
	if m == nil || m != s.Method("gateway.test.v1.Echo/Unary") {
		t.Fatalf("look-up with and without slash: %v", m)
	}
	if len(m.Rules) != 7 || m.Rules[0].GetPost() != "/v1/echo" || m.Rules[6].GetCustom().GetKind() != "REPORT" {
		t.Errorf("rules: %v", m.Rules)
	}
	for _, tc := range []struct {
		method                    string
		idempotent, noSideEffects bool
	}{
		{"gateway.test.v1.Library/GetBook", true, true},
		{"gateway.test.v1.Library/UpdateBook", true, false},
		{"gateway.test.v1.Library/CreateBook", false, false},
	} {
		m := s.Method(tc.method)
		if m.Idempotent != tc.idempotent || m.NoSideEffects != tc.noSideEffects {
			t.Errorf("%s: idempotent %t, no side effects %t", tc.method, m.Idempotent, m.NoSideEffects)
		}
	}
	if s.Method("gateway.test.v1.Echo/Nope") != nil || s.Method("") != nil {
		t.Error("found a method that does not exist")
	}
}

func TestRulesAreFlattened(t *testing.T) {
	s, err := New(setOf(sources(t, fixture), "acme/user.proto", "acme/types.proto", "acme/opts.proto"))
	if err != nil {
		t.Fatal(err)
	}
	rules := s.Method("acme.Users/Get").Rules
	if len(rules) != 2 || rules[0].GetGet() != "/v1/{name}" || rules[1].GetPost() != "/v1/get" {
		t.Fatalf("rules: %v", rules)
	}
	for _, r := range rules {
		if r.GetAdditionalBindings() != nil {
			t.Errorf("rule has additional bindings: %v", r)
		}
	}
}

// The option may come as an extension of the linked type, of a dynamic type, or as unknown fields.
func TestRulesWhateverTheOptionWasMadeOf(t *testing.T) {
	desc := sources(t, fixture)["acme/user.proto"]
	method := func(fd *descriptorpb.FileDescriptorProto) *descriptorpb.MethodDescriptorProto {
		return fd.GetService()[0].GetMethod()[0]
	}
	http, err := protoregistry.GlobalFiles.FindFileByPath("google/api/annotations.proto")
	if err != nil {
		t.Fatal(err)
	}
	dynamic := &protoregistry.Types{}
	if err := dynamic.RegisterExtension(dynamicpb.NewExtensionType(http.Extensions().ByName("http"))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		resolver interface {
			protoregistry.MessageTypeResolver
			protoregistry.ExtensionTypeResolver
		}
	}{
		{"linked", protoregistry.GlobalTypes},
		{"dynamic", dynamic},
		{"unknown", &protoregistry.Types{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fd := &descriptorpb.FileDescriptorProto{}
			if err := (proto.UnmarshalOptions{Resolver: tc.resolver}).Unmarshal(marshal(t, desc), fd); err != nil {
				t.Fatal(err)
			}
			if len(method(fd).GetOptions().ProtoReflect().GetUnknown()) == 0 && !proto.HasExtension(method(fd).GetOptions(), annotations.E_Http) {
				t.Fatal("the fixture has no rule")
			}
			set := setOf(sources(t, fixture), "acme/types.proto", "acme/opts.proto")
			set.File = append(set.File, fd)
			s, err := New(set)
			if err != nil {
				t.Fatal(err)
			}
			if rules := s.Method("acme.Users/Get").Rules; len(rules) != 2 || rules[0].GetGet() != "/v1/{name}" {
				t.Errorf("rules: %v", rules)
			}
		})
	}
}

func TestMissingImports(t *testing.T) {
	descs := sources(t, fixture)
	t.Run("types are needed", func(t *testing.T) {
		_, err := New(setOf(descs, "acme/user.proto", "acme/opts.proto", "acme/other.proto"))
		var missing *MissingImportError
		if !errors.As(err, &missing) {
			t.Fatalf("got %v", err)
		}
		if missing.File != "acme/types.proto" || !slices.Equal(missing.ImportedBy, []string{"acme/user.proto"}) {
			t.Errorf("got %+v", missing)
		}
		wantError(t, err, `"acme/types.proto"`, `"acme/user.proto"`, "acme.User")
	})
	t.Run("only an option needs it", func(t *testing.T) {
		s, err := New(setOf(descs, "acme/user.proto", "acme/types.proto", "acme/other.proto"))
		if err != nil {
			t.Fatal(err)
		}
		wantMethods(t, s, fixtureMethods...)
		if len(s.Problems()) != 1 || s.Problems()[0].Subject != "acme/opts.proto" {
			t.Errorf("problems: %v", s.Problems())
		}
	})
	t.Run("common files are added", func(t *testing.T) {
		s, err := New(setOf(descs, "acme/types.proto"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Files().FindFileByPath("google/protobuf/timestamp.proto"); err != nil {
			t.Error(err)
		}
	})
}

func TestConflicts(t *testing.T) {
	descs := sources(t, fixture)
	changed := proto.CloneOf(descs["acme/other.proto"])
	changed.MessageType[0].Name = proto.String("Something")
	changed.Service[0].Method[0].InputType = proto.String(".acme.Something")
	changed.Service[0].Method[0].OutputType = proto.String(".acme.Something")

	t.Run("two versions of one file", func(t *testing.T) {
		set := setOf(descs, "acme/other.proto")
		set.File = append(set.File, changed)
		_, err := New(set)
		var conflict *ConflictError
		if !errors.As(err, &conflict) || conflict.File != "acme/other.proto" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the same file twice", func(t *testing.T) {
		again := proto.CloneOf(descs["acme/other.proto"])
		again.SourceCodeInfo = nil
		set := setOf(descs, "acme/other.proto")
		set.File = append(set.File, again)
		if _, err := New(set); err != nil {
			t.Error(err)
		}
	})
	t.Run("one type in two files", func(t *testing.T) {
		changed := proto.CloneOf(descs["acme/other.proto"])
		changed.Name = proto.String("acme/copy.proto")
		set := setOf(descs, "acme/other.proto")
		set.File = append(set.File, changed)
		_, err := New(set)
		wantError(t, err, "acme/copy.proto", "acme/other.proto", "conflict")
	})
	t.Run("two releases of a common file", func(t *testing.T) {
		set := setOf(descs, "acme/other.proto")
		current := protodesc.ToFileDescriptorProto(standardFile("google/protobuf/descriptor.proto"))
		old := proto.CloneOf(current)
		old.MessageType = slices.DeleteFunc(old.MessageType, func(m *descriptorpb.DescriptorProto) bool { return m.GetName() == "GeneratedCodeInfo" })
		set.File = append(set.File, old, current)
		if _, err := New(set); err != nil {
			t.Error(err)
		}
	})
}

func TestAGivenCommonFileThatSaysMoreIsKept(t *testing.T) {
	newer := protodesc.ToFileDescriptorProto(standardFile("google/rpc/status.proto"))
	newer.MessageType = append(newer.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("Future")})
	set := setOf(sources(t, fixture), "acme/other.proto")
	set.File = append(set.File, newer)
	s, err := New(set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Types().FindMessageByName("google.rpc.Future"); err != nil {
		t.Error(err)
	}
}

func TestInvalidFiles(t *testing.T) {
	name := proto.String
	for _, tc := range []struct {
		name  string
		files []*descriptorpb.FileDescriptorProto
		want  []string
	}{
		{"no name", []*descriptorpb.FileDescriptorProto{{}}, []string{"no name"}},
		{"imports itself", []*descriptorpb.FileDescriptorProto{{Name: name("a"), Dependency: []string{"a"}}}, []string{`"a"`, "circle"}},
		{"a circle", []*descriptorpb.FileDescriptorProto{
			{Name: name("a"), Dependency: []string{"b"}}, {Name: name("b"), Dependency: []string{"c"}}, {Name: name("c"), Dependency: []string{"a"}},
		}, []string{`"a"`, "circle"}},
		{"bad syntax", []*descriptorpb.FileDescriptorProto{{Name: name("a"), Syntax: name("proto9")}}, []string{`"a"`, "proto9"}},
		{"public imports in 40 diamonds", diamonds(40), []string{"public imports"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := New(&descriptorpb.FileDescriptorSet{File: tc.files})
			wantError(t, err, tc.want...)
		})
	}
}

// diamonds makes files in layers. The ways from a file to the bottom double with each layer.
func diamonds(n int) []*descriptorpb.FileDescriptorProto {
	files := []*descriptorpb.FileDescriptorProto{{Name: proto.String("d0")}}
	for i := 1; i <= n; i++ {
		below, left, right := fmt.Sprintf("d%d", i-1), fmt.Sprintf("l%d", i), fmt.Sprintf("r%d", i)
		files = append(files,
			&descriptorpb.FileDescriptorProto{Name: &left, Dependency: []string{below}, PublicDependency: []int32{0}},
			&descriptorpb.FileDescriptorProto{Name: &right, Dependency: []string{below}, PublicDependency: []int32{0}},
			&descriptorpb.FileDescriptorProto{Name: proto.String(fmt.Sprintf("d%d", i)), Dependency: []string{left, right}, PublicDependency: []int32{0, 1}})
	}
	return files
}

func TestErrorsNameTheFileToBlameOnce(t *testing.T) {
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{Name: proto.String("bad"), Syntax: proto.String("x")}}}
	for i := range 30 {
		set.File = append(set.File, &descriptorpb.FileDescriptorProto{Name: proto.String(fmt.Sprint("good", i)), Dependency: []string{"bad"}})
	}
	_, err := New(set)
	wantError(t, err, `file "bad"`, "syntax")
	if n := len(err.Error()); n > 200 {
		t.Errorf("%d characters: %v", n, err)
	}
}

func TestFingerprint(t *testing.T) {
	descs := sources(t, fixture)
	all := []string{"acme/user.proto", "acme/types.proto", "acme/opts.proto", "acme/other.proto"}
	base, err := New(setOf(descs, all...))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		equal bool
		edit  func(set *descriptorpb.FileDescriptorSet)
	}{
		{"other order", true, func(set *descriptorpb.FileDescriptorSet) { slices.Reverse(set.File) }},
		{"a common file added", true, func(set *descriptorpb.FileDescriptorSet) {
			set.File = append(set.File, protodesc.ToFileDescriptorProto(standardFile("google/protobuf/descriptor.proto")))
		}},
		{"moved in the source", true, func(set *descriptorpb.FileDescriptorSet) {
			for _, l := range set.File[1].GetSourceCodeInfo().GetLocation() {
				l.Span = []int32{7, 1, 9}
			}
		}},
		{"a comment changed", false, func(set *descriptorpb.FileDescriptorSet) {
			for _, l := range set.File[1].GetSourceCodeInfo().GetLocation() {
				if l.LeadingComments != nil {
					l.LeadingComments = proto.String("Another.")
				}
			}
		}},
		{"a field added", false, func(set *descriptorpb.FileDescriptorSet) {
			set.File[3].MessageType[0].Field = []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("f"), Number: proto.Int32(1), Type: descriptorpb.FieldDescriptorProto_TYPE_BOOL.Enum(),
				Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
			}}
		}},
		{"a file gone", false, func(set *descriptorpb.FileDescriptorSet) { set.File = set.File[:3] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			set := proto.CloneOf(setOf(descs, all...))
			tc.edit(set)
			s, err := New(set)
			if err != nil {
				t.Fatal(err)
			}
			if equal := s.Fingerprint() == base.Fingerprint(); equal != tc.equal {
				t.Errorf("fingerprints equal: %t, want %t", equal, tc.equal)
			}
		})
	}
}

func TestTypesKnowErrorDetailsThatNobodyImports(t *testing.T) {
	s, err := New(setOf(sources(t, fixture), "acme/other.proto"))
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"type.googleapis.com/google.rpc.BadRequest", "type.googleapis.com/google.protobuf.Duration", "x/acme.Nothing"} {
		if _, err := s.Types().FindMessageByURL(url); err != nil {
			t.Error(err)
		}
	}
}

func TestGrpcServicesAreNotExposed(t *testing.T) {
	descs := sources(t, map[string]string{
		"h.proto": `syntax = "proto3"; package grpc.health.v1; message M {} service Health { rpc Check(M) returns (M); }`,
		"a.proto": `syntax = "proto3"; package grpcx; message M {} service A { rpc Do(M) returns (M); }`,
	})
	s, err := New(setOf(descs, "h.proto", "a.proto"))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, "grpcx.A/Do")
	if _, err := s.Files().FindDescriptorByName("grpc.health.v1.Health"); err != nil {
		t.Error(err)
	}
}
