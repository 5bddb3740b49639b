package module_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/bufbuild/protocompile"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/caddy-grpc/gateway/internal/testkit"
)

// TestExampleOfTheValidationPage runs what docs/validation.md shows: the .proto file, the
// Caddyfile, the request and the answer.
func TestExampleOfTheValidationPage(t *testing.T) {
	raw, err := os.ReadFile("../docs/validation.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string) string {
		m := regexp.MustCompile("(?s)\n```" + kind + "\n(.*?)\n```\n").FindSubmatch(raw)
		if m == nil {
			t.Fatalf("there is no block of %s", kind)
		}
		return string(m[1])
	}
	backend := testkit.StartBackend(t) // A service that must not be called.
	s := newSite(t)
	set := filepath.Join(s.dir, "user.binpb")
	write(t, set, string(compiledProto(t, block("proto"))))
	const target = "grpc_gateway etcd://127.0.0.1:2379/user.rpc {"
	_, site, _ := strings.Cut(block("caddyfile"), "\n")
	if !strings.Contains(site, target) {
		t.Fatalf("the Caddyfile has another target:\n%s", site)
	}
	s.load("", strings.Replace(site, target, "grpc_gateway {\n\tupstream user {\n\t\tdiscover static "+backend.Addr()+"\n\t\tdescriptors protoset "+set+"\n\t}", 1))

	curl := regexp.MustCompile(`^curl localhost:8080(\S+) --json '(.*)'$`).FindStringSubmatch(block("sh"))
	if curl == nil {
		t.Fatal("the request has another form")
	}
	got := s.want(s.do("POST", curl[1], curl[2]), http.StatusBadRequest)
	var want, have any
	if err := errors.Join(json.Unmarshal([]byte(block("json")), &want), json.Unmarshal([]byte(got.body), &have)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("the answer is %s", got.body)
	}
}

// compiledProto makes the descriptors of a .proto file that imports the rules and the annotations.
func compiledProto(t *testing.T, text string) []byte {
	t.Helper()
	linked := []protoreflect.FileDescriptor{
		descriptorpb.File_google_protobuf_descriptor_proto, annotations.File_google_api_http_proto,
		annotations.File_google_api_annotations_proto, validate.File_buf_validate_validate_proto,
	}
	compiler := protocompile.Compiler{Resolver: protocompile.WithStandardImports(protocompile.CompositeResolver{
		&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"user.proto": text})},
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			for _, fd := range linked {
				if fd.Path() == path {
					return protocompile.SearchResult{Desc: fd}, nil
				}
			}
			return protocompile.SearchResult{}, errors.New("no such file: " + path)
		}),
	})}
	files, err := compiler.Compile(t.Context(), "user.proto")
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	for _, fd := range append(linked, files[0]) {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
	}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
