package apis

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate" // the real options
	"github.com/bufbuild/protocompile"
	_ "github.com/google/gnostic-models/openapiv3"                             // the real options
	_ "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv2/options" // the real options
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/schema"
)

// TestRealOptions compiles the service of the tests of internal/openapi with the options as their
// authors publish them. Those tests have short forms of them. The documents must be the same.
func TestRealOptions(t *testing.T) {
	const dir = "../../internal/openapi/testdata/"
	compiler := protocompile.Compiler{Resolver: protocompile.CompositeResolver{
		protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
			fd, err := protoregistry.GlobalFiles.FindFileByPath(path)
			if err != nil {
				return protocompile.SearchResult{}, err
			}
			return protocompile.SearchResult{Desc: fd}, nil
		}),
		&protocompile.SourceResolver{ImportPaths: []string{dir + "options"}},
	}, SourceInfoMode: protocompile.SourceInfoStandard}
	files, err := compiler.Compile(t.Context(), "shop.proto")
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.FromFiles(protoreflect.FileDescriptor(files[0]))
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi.Build(openapi.Config{Title: "fallback"}, bindings(t, s))
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, document, "", "\t"); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	want, err := os.ReadFile(dir + "shop-3.1.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("with the real options the document is\n%s", indented.Bytes())
	}
	checkReferences(t, document)
	checkLibraries(t, document, openapi.Version31)
}
