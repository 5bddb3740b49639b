package openapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddy-grpc/gateway/internal/frontend"
	"github.com/caddy-grpc/gateway/internal/openapi"
	"github.com/caddy-grpc/gateway/internal/routes"
	"github.com/caddy-grpc/gateway/internal/schema"
	"github.com/caddy-grpc/gateway/internal/testkit/testpb"
	"github.com/caddy-grpc/gateway/internal/transcode"
)

var update = flag.Bool("update", false, "write the golden files")

// compiled are the routes of the test services.
func compiled(t *testing.T, cfg *routes.Config, opts transcode.Options) *routes.Table {
	t.Helper()
	s, err := schema.FromFiles(testpb.File_internal_testkit_testpb_echo_proto)
	if err != nil {
		t.Fatal(err)
	}
	return compileTable(t, cfg, s, opts)
}

func compileTable(t *testing.T, cfg *routes.Config, s *schema.Schema, opts transcode.Options) *routes.Table {
	t.Helper()
	table, err := routes.Compile(cfg, []routes.Member{
		{Label: "test", Schema: s, Codecs: transcode.NewCompiler(s.Types(), opts), FromFiles: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// echo are the operations of the test services, those by name among them.
func echo(t *testing.T, opts transcode.Options) []*frontend.Binding {
	t.Helper()
	table := compiled(t, &routes.Config{Annotations: true, RPC: true}, opts)
	all := table.Bindings
	for _, m := range table.Methods {
		all = append(all, &frontend.Binding{Method: m, HTTPMethod: "POST", BodyAll: true})
	}
	return all
}

func build(t *testing.T, cfg openapi.Config) []byte {
	t.Helper()
	document, err := openapi.Build(cfg, echo(t, cfg.JSON))
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// TestGolden shows a whole document, so that a change of it is seen in review.
func TestGolden(t *testing.T) {
	for _, version := range []string{openapi.Version31, openapi.Version32} {
		t.Run(version, func(t *testing.T) {
			var indented bytes.Buffer
			if err := json.Indent(&indented, build(t, openapi.Config{Version: version, Title: "Echo"}), "", "\t"); err != nil {
				t.Fatal(err)
			}
			indented.WriteByte('\n')
			name := "testdata/echo-" + version + ".json"
			if *update {
				if err := os.WriteFile(name, indented.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(indented.Bytes(), want) {
				t.Errorf("the document differs from %s; look at it, and run the test with -update", name)
			}
		})
	}
}

// TestMethodsOfOtherNames checks where an HTTP method goes that version 3.1 does not know.
func TestMethodsOfOtherNames(t *testing.T) {
	operations := echo(t, transcode.Options{})
	for _, method := range []string{"QUERY", "*"} {
		more := *operations[0]
		more.HTTPMethod = method
		operations = append(operations, &more)
	}
	for _, c := range []struct {
		version    string
		additional []string
		query      bool
	}{
		{version: openapi.Version31},
		{version: openapi.Version32, additional: []string{"REPORT"}, query: true},
	} {
		document, err := openapi.Build(openapi.Config{Version: c.version}, operations)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Paths map[string]map[string]json.RawMessage
		}
		if err := json.Unmarshal(document, &doc); err != nil {
			t.Fatal(err)
		}
		var additional map[string]struct {
			Method string `json:"x-grpc-method"`
		}
		if raw := doc.Paths["/v1/echo"]["additionalOperations"]; raw != nil {
			if err := json.Unmarshal(raw, &additional); err != nil {
				t.Fatal(err)
			}
		}
		if got := slices.Sorted(maps.Keys(additional)); !slices.Equal(got, c.additional) {
			t.Errorf("%s: additional operations of /v1/echo are %v, want %v", c.version, got, c.additional)
		}
		query := false
		for path, item := range doc.Paths {
			_, ok := item["query"]
			query = query || ok
			for name := range item {
				if name == "*" || name == "QUERY" || name == "REPORT" || name == "report" {
					t.Errorf("%s: %s has the member %q", c.version, path, name)
				}
			}
		}
		if query != c.query {
			t.Errorf("%s: a member `query`: %v, want %v", c.version, query, c.query)
		}
		for name, op := range additional {
			if op.Method == "" {
				t.Errorf("%s: %s does not name its method", c.version, name)
			}
		}
	}
}

// TestReferencesResolve follows every $ref of documents with all options.
func TestReferencesResolve(t *testing.T) {
	for name, cfg := range configs() {
		t.Run(name, func(t *testing.T) {
			var doc any
			if err := json.Unmarshal(build(t, cfg), &doc); err != nil {
				t.Fatal(err)
			}
			refs := 0
			walk(doc, func(o map[string]any) {
				ref, ok := o["$ref"].(string)
				if !ok {
					return
				}
				refs++
				at := doc
				for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					at = at.(map[string]any)[step]
				}
				if at == nil {
					t.Errorf("%s leads to nothing", ref)
				}
			})
			if refs == 0 {
				t.Error("there is no reference")
			}
		})
	}
}

func configs() map[string]openapi.Config {
	return map[string]openapi.Config{
		"default":     {},
		"3.2":         {Version: openapi.Version32},
		"proto names": {Options: openapi.Options{JSON: transcode.Options{UseProtoNames: true, EmitDefaults: true, EnumsAsNumbers: true}}},
		"one of":      {Options: openapi.Options{OneOf: true}, Forms: true, Errors: frontend.ProblemErrors},
		"envelope":    {Envelope: &frontend.Envelope{Code: "code", Message: "msg", Data: "data", Streams: true}, EmptyStatus: 204},
	}
}

func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, member := range v {
			walk(member, visit)
		}
	case []any:
		for _, element := range v {
			walk(element, visit)
		}
	}
}

// TestOperationsAreNamedOnce expects what code generators rely on: unique operation IDs, every
// parameter of a path declared, and no two paths that differ in the names of their parameters only.
func TestOperationsAreNamedOnce(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(build(t, openapi.Config{}), &doc); err != nil {
		t.Fatal(err)
	}
	ids, forms := make(map[string]string), make(map[string]string)
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	for path, item := range doc.Paths {
		form := parameter.ReplaceAllString(path, "{}")
		if other, ok := forms[form]; ok {
			t.Errorf("%s and %s are the same path", path, other)
		}
		forms[form] = path
		for method, op := range item {
			if other, ok := ids[op.OperationID]; ok || op.OperationID == "" {
				t.Errorf("%s %s has the ID %q of %s", method, path, op.OperationID, other)
			}
			ids[op.OperationID] = method + " " + path
			declared := make(map[string]int)
			for _, p := range op.Parameters {
				declared[p.In+" "+p.Name]++
			}
			for name, n := range declared {
				if n > 1 {
					t.Errorf("%s %s declares the parameter %s %d times", method, path, name, n)
				}
			}
			for _, part := range strings.Split(path, "{")[1:] {
				name, _, _ := strings.Cut(part, "}")
				if declared["path "+name] != 1 {
					t.Errorf("%s %s does not declare {%s}", method, path, name)
				}
			}
		}
	}
	if len(ids) < 10 {
		t.Errorf("%d operations", len(ids))
	}
}

func TestBytesAreTheSameEachTime(t *testing.T) {
	first := build(t, openapi.Config{})
	for range 5 {
		if !bytes.Equal(first, build(t, openapi.Config{})) {
			t.Fatal("the documents differ")
		}
	}
}

// TestYAML expects the same document in the other form, and base URLs in both.
func TestYAML(t *testing.T) {
	document := build(t, openapi.Config{})
	text, err := openapi.YAML(document)
	if err != nil {
		t.Fatal(err)
	}
	const server = "https://api.example.com/v1"
	for name, got := range map[string][]byte{"JSON": openapi.WithServer(document, server), "YAML": openapi.YAMLWithServer(text, server)} {
		var fromText, fromJSON map[string]any
		if err := yaml.Unmarshal(got, &fromText); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		servers, _ := fromText["servers"].([]any)
		if len(servers) != 1 || servers[0].(map[string]any)["url"] != server {
			t.Errorf("%s: servers %v", name, servers)
		}
		delete(fromText, "servers")
		if err := yaml.Unmarshal(document, &fromJSON); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(fromText)
		b, _ := json.Marshal(fromJSON)
		if !bytes.Equal(a, b) {
			t.Errorf("%s says something else", name)
		}
	}
}

func TestInfo(t *testing.T) {
	for name, tc := range map[string]struct{ info, want string }{
		"none":   {``, `{"title":"echo","version":"0"}`},
		"some":   {`{"title":"Echo API"}`, `{"title":"Echo API","version":"0"}`},
		"others": {`{"version":"7","contact":{"name":"x"}}`, `{"title":"echo","version":"7","contact":{"name":"x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var doc struct{ Info json.RawMessage }
			if err := json.Unmarshal(build(t, openapi.Config{Title: "echo", Info: json.RawMessage(tc.info)}), &doc); err != nil {
				t.Fatal(err)
			}
			if string(doc.Info) != tc.want {
				t.Errorf("%s, want %s", doc.Info, tc.want)
			}
		})
	}
	if _, err := openapi.Build(openapi.Config{Info: json.RawMessage(`7`)}, nil); err == nil {
		t.Error("a number is no info")
	}
}
