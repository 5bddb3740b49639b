package schema

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestProtoFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string // added to the fixture
		load  []string
		roots []string
		want  []string // methods
		err   []string
	}{
		{name: "with an import path", load: []string{"acme/user.proto"}, roots: []string{"."}, want: []string{"acme.Users/Get", "acme.Users/Watch"}},
		{name: "several files", load: []string{"acme/user.proto", "acme/other.proto"}, roots: []string{"."}, want: fixtureMethods},
		{name: "the same file twice", load: []string{"acme/user.proto", "acme/user.proto"}, roots: []string{"."}, want: fixtureMethods[1:]},
		{name: "without import paths", load: []string{"acme/other.proto"}, want: fixtureMethods[:1]},
		{
			name: "import paths in order",
			files: map[string]string{"vendor/dep.proto": `syntax = "proto3"; message Dep {}`, "late/dep.proto": `syntax = "proto3"; message Late {}`,
				"main.proto": `syntax = "proto3"; import "dep.proto"; service S { rpc Do(Dep) returns (Dep); }`},
			load: []string{"main.proto"}, roots: []string{".", "vendor", "late"}, want: []string{"S/Do"},
		},
		{
			name:  "services of imported files are not exposed",
			files: map[string]string{"x.proto": `syntax = "proto3"; import "acme/user.proto"; service X { rpc Do(acme.GetRequest) returns (acme.GetRequest); }`},
			load:  []string{"x.proto"}, roots: []string{"."}, want: []string{"X/Do"},
		},
		{
			name: "common files need not be there",
			files: map[string]string{"h.proto": `syntax = "proto3"; import "google/api/httpbody.proto"; import "google/rpc/status.proto"; import "google/api/field_behavior.proto";
message M { google.rpc.Status s = 1 [(google.api.field_behavior) = REQUIRED]; } service H { rpc Do(M) returns (google.api.HttpBody); }`},
			load: []string{"h.proto"}, want: []string{"H/Do"},
		},
		{
			name:  "an edition",
			files: map[string]string{"e.proto": `edition = "2023"; message M { string s = 1 [features.field_presence = IMPLICIT]; } service E { rpc Do(M) returns (M); }`},
			load:  []string{"e.proto"}, want: []string{"E/Do"},
		},
		{
			name:  "syntax errors in two places",
			files: map[string]string{"bad.proto": "syntax = \"proto3\";\nmessage M {\n  strin g = 1\n}\nmessage N { int32 = 2; }\n"},
			load:  []string{"bad.proto"}, err: []string{"bad.proto:4:1", "bad.proto:5:"},
		},
		{
			name:  "an unknown type",
			files: map[string]string{"bad.proto": "syntax = \"proto3\";\nmessage M {\n  Nope g = 1;\n}\n"},
			load:  []string{"bad.proto"}, err: []string{"bad.proto:3:3", "Nope"},
		},
		{
			name:  "a missing import",
			files: map[string]string{"bad.proto": "syntax = \"proto3\";\nimport \"gone/x.proto\";\n"},
			load:  []string{"bad.proto"}, err: []string{"bad.proto:2:8", "gone/x.proto"},
		},
		{name: "a missing file", load: []string{"gone.proto"}, err: []string{"gone.proto", "no such file"}},
		{name: "outside the import paths", load: []string{"acme/user.proto"}, roots: []string{"vendor"}, files: map[string]string{"vendor/x": ""}, err: []string{"acme/user.proto", "none of the import paths", "vendor"}},
		{name: "no services", load: []string{"acme/types.proto"}, roots: []string{"."}, err: []string{"no service"}},
		{
			name:  "hidden by another import path",
			files: map[string]string{"first/b/x.proto": `syntax = "proto3";`, "second/b/x.proto": `syntax = "proto3";`},
			load:  []string{"second/b/x.proto"}, roots: []string{"first", "second"}, err: []string{"hidden by"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, fixture)
			for name, content := range tc.files {
				writeFile(t, filepath.Join(dir, name), content)
			}
			under := func(names []string) []string {
				var paths []string
				for _, name := range names {
					paths = append(paths, filepath.Join(dir, name))
				}
				return paths
			}
			s, err := ProtoFiles(under(tc.load), under(tc.roots)).Load(testContext(t))
			if tc.err != nil {
				wantError(t, err, tc.err...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantMethods(t, s, tc.want...)
		})
	}
}

func TestProtoFilesByTheNameThatOthersImportThemBy(t *testing.T) {
	dir := writeFiles(t, fixture)
	s, err := ProtoFiles([]string{"acme/user.proto"}, []string{dir}).Load(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wantMethods(t, s, fixtureMethods[1:]...)
	loc := s.Files()
	fd, err := loc.FindFileByPath("acme/types.proto")
	if err != nil {
		t.Fatal(err)
	}
	user := fd.Messages().ByName("User")
	if got := fd.SourceLocations().ByDescriptor(user).LeadingComments; strings.TrimSpace(got) != "A user." {
		t.Errorf("comment %q", got)
	}
}

// All loaders make the same schema of the same files.
func TestSourcesProtosetAndReflectionHaveOneFingerprint(t *testing.T) {
	plain := map[string]string{
		"p.proto": `syntax = "proto3"; package p; import "google/api/annotations.proto"; import "google/protobuf/empty.proto";
message M { string some_name = 1; map<string, M> more = 2; optional int32 maybe = 3; oneof o { string a = 4; bytes b = 5; } }
service S { rpc Do(M) returns (google.protobuf.Empty) { option (google.api.http) = { get: "/v1/{some_name}" }; } }`,
	}
	dir := writeFiles(t, plain)
	descs := sources(t, plain)
	writeFile(t, filepath.Join(dir, "p.pb"), string(marshal(t, setOf(descs, "p.proto"))))
	var prints []string
	for _, l := range []Loader{
		ProtoFiles([]string{filepath.Join(dir, "p.proto")}, nil),
		Protoset(filepath.Join(dir, "p.pb")),
		Reflection(&fakeReflection{listed: []string{"p.S"}, files: descs}, ReflectionOptions{}),
	} {
		s, err := l.Load(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, s.Fingerprint())
	}
	if prints[0] != prints[1] || prints[1] != prints[2] {
		t.Errorf("fingerprints %q", prints)
	}
}
