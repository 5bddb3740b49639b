// Package apis describes APIs of others: large public ones, whose descriptors ship with Go modules,
// and one with the real options of protovalidate, openapiv2 and gnostic. It is a module of its own,
// because those modules are large.
package apis

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/compute/apiv1/computepb"
	"cloud.google.com/go/container/apiv1/containerpb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/spanner/admin/database/apiv1/databasepb"
	"cloud.google.com/go/spanner/apiv1/spannerpb"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/pb33f/libopenapi"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

// out is where the documents are written, for linters of other languages.
const out = "../out/openapi"

var publicAPIs = map[string]struct {
	files []protoreflect.FileDescriptor
	// operations is the least number of operations that the document must have.
	operations int
}{
	"pubsub": {[]protoreflect.FileDescriptor{pubsubpb.File_google_pubsub_v1_pubsub_proto, pubsubpb.File_google_pubsub_v1_schema_proto}, 30},
	"spanner": {[]protoreflect.FileDescriptor{
		spannerpb.File_google_spanner_v1_spanner_proto, databasepb.File_google_spanner_admin_database_v1_spanner_database_admin_proto,
	}, 40},
	"container": {[]protoreflect.FileDescriptor{containerpb.File_google_container_v1_cluster_service_proto}, 60},
	"compute":   {[]protoreflect.FileDescriptor{computepb.File_google_cloud_compute_v1_compute_proto}, 900},
}

// TestPublicAPIs builds the documents of large public APIs, in both versions. Two libraries must be
// able to read them and to resolve every reference.
func TestPublicAPIs(t *testing.T) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, api := range publicAPIs {
		for _, version := range []string{openapi.Version31, openapi.Version32} {
			t.Run(name+" "+version, func(t *testing.T) {
				s, err := schema.FromFiles(api.files...)
				if err != nil {
					t.Fatal(err)
				}
				document, err := openapi.Build(openapi.Config{
					Version: version, Title: name, Servers: []string{"https://" + name + ".example.com"},
				}, bindings(t, s))
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%d bytes", len(document))
				if err := os.WriteFile(filepath.Join(out, name+"-"+version+".json"), document, 0o600); err != nil {
					t.Fatal(err)
				}
				if n := bytes.Count(document, []byte(`"operationId"`)); n < api.operations {
					t.Errorf("%d operations, expected at least %d", n, api.operations)
				}
				checkReferences(t, document)
				checkLibraries(t, document, version)
			})
		}
	}
}

func bindings(t *testing.T, s *schema.Schema) []*frontend.Binding {
	t.Helper()
	table, err := routes.Compile(&routes.Config{Annotations: true}, []routes.Member{
		{Label: "api", Schema: s, Codecs: transcode.NewCompiler(s.Types(), transcode.Options{}), FromFiles: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table.Bindings
}

// checkReferences follows every $ref. It shares nothing with the libraries.
func checkReferences(t *testing.T, document []byte) {
	t.Helper()
	var doc any
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, element := range v {
				walk(element)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				at := doc
				for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					object, _ := at.(map[string]any)
					at = object[step]
				}
				if at == nil {
					t.Errorf("%s leads to nothing", ref)
				}
			}
			for _, member := range v {
				walk(member)
			}
		}
	}
	walk(doc)
}

func checkLibraries(t *testing.T, document []byte, version string) {
	t.Helper()
	parsed, err := libopenapi.NewDocument(document)
	if err != nil {
		t.Fatalf("libopenapi: %v", err)
	}
	if _, err := parsed.BuildV3Model(); err != nil {
		t.Errorf("libopenapi: %v", err)
	}
	if version != openapi.Version31 {
		return // kin-openapi does not know 3.2.
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(document)
	if err != nil {
		t.Fatalf("kin-openapi: %v", err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Errorf("kin-openapi: %.2000v", err)
	}
}
