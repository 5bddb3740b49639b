// Package mcpe2e has the tools of a gateway judged by programs that nobody here wrote: the official
// TypeScript client, which also judges results by the output schemas, ajv, and MCP's conformance
// suites.
package mcpe2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kit.RemoveBinary()
	os.Exit(code)
}

// node runs a program of testdata/tools with Node 22.
func node(t *testing.T, input, program string, args ...string) string {
	t.Helper()
	dir := kit.NPMPackages(t, "mcp-tools", filepath.Join(kit.RootDir(t), "e2e/mcp/testdata/tools"))
	cmd := exec.CommandContext(t.Context(), kit.Node(t), append([]string{filepath.Join(dir, program)}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", program, err, out, &stderr)
	}
	return string(out)
}

// judged is what client.mjs prints.
type judged struct {
	Tools []struct {
		Name         string          `json:"name"`
		InputSchema  json.RawMessage `json:"inputSchema"`
		OutputSchema json.RawMessage `json:"outputSchema"`
	} `json:"tools"`
	Results []struct {
		Name   string `json:"name"`
		Error  string `json:"error"`
		Result struct {
			IsError           bool            `json:"isError"`
			StructuredContent json.RawMessage `json:"structuredContent"`
		} `json:"result"`
	} `json:"results"`
}

// TestTypeScriptClient lists the tools and calls them. The client checks results by the output
// schemas. ajv compiles all schemas, and judges the arguments and the results.
func TestTypeScriptClient(t *testing.T) {
	backend := testkit.StartBackend(t)
	caddy := kit.StartCaddy(t, kit.Options{Site: "\tgrpc_gateway " + backend.Addr() + " {\n\t\tmcp /mcp {\n\t\t\ttools gateway.test.v1.*\n\t\t\tsearch off\n\t\t}\n\t}"})
	kit.Eventually(t, 30*time.Second, "the backend answers", func() error {
		_, _, err := kit.GetJSON(kit.H1(), caddy.URL("/v1/echo/x"))
		return err
	})
	calls := [][2]any{
		{"Echo_Unary", map[string]any{"text": "x", "big": "12345678901", "ratio": "NaN", "labels": map[string]string{"a": "b"}, "lag": "1.5s", "value": []any{1, nil}}},
		{"Echo_Unary", map[string]any{}},
		{"Echo_ServerStream", map[string]any{"count": 3}},
		{"Library_CreateBook", map[string]any{"parent": "shelves/1", "bookId": "9", "book": map[string]any{"title": "T", "genre": "NOVEL"}}},
		{"Library_GetBook", map[string]any{"name": "shelves/1/books/9"}},
		{"Library_DeleteBook", map[string]any{"name": "shelves/1/books/9"}},
	}
	raw, err := json.Marshal(calls)
	if err != nil {
		t.Fatal(err)
	}
	var got judged
	out := node(t, "", "client.mjs", caddy.URL("/mcp"), string(raw))
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(got.Tools) != 9 || len(got.Results) != len(calls) {
		t.Errorf("%d tools and %d results", len(got.Tools), len(got.Results))
	}
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, tool := range got.Tools {
		_ = encoder.Encode(map[string]any{"name": tool.Name, "input": tool.InputSchema, "output": tool.OutputSchema})
	}
	for i, r := range got.Results {
		if r.Error != "" || r.Result.IsError {
			t.Errorf("%s: %+v", r.Name, r)
			continue
		}
		_ = encoder.Encode(map[string]any{"name": r.Name, "arguments": calls[i][1], "result": r.Result.StructuredContent})
	}
	if complaints := node(t, lines.String(), "schemas.mjs"); complaints != "" {
		t.Error(complaints)
	}
	wrong := `{"name":"a","input":{"type":"object","properties":{"b":{"type":"nothing"}}},"output":{"type":"object"}}` + "\n"
	if node(t, wrong, "schemas.mjs") == "" {
		t.Error("ajv is content with a wrong schema")
	}
}
