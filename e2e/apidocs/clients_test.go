package apidocs

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// packages installs the npm packages of these tests, and returns the directory that has their
// node_modules.
func packages(t testing.TB) string {
	t.Helper()
	return kit.NPMPackages(t, "apidocs", filepath.Join("testdata", "npm"))
}

// generated is what each client has to see.
var generated = map[string]string{
	"openapi-fetch": `{
		"get": {"title": "Emma", "pages": "474"},
		"post": {"created": "shelves/2/books/openapi-fetch", "pages": "9007199254740993"},
		"patch": {"title": "Persuasion, again", "pages": "250", "tags": ["a", "b"]},
		"query": {"text": "a/b", "list": ["x", "y"], "big": "-9007199254740993", "genres": ["NOVEL", "POETRY"], "numbers": [1, 2]},
		"error": {"status": 404, "code": 5, "message": "no book \"no such book\""}
	}`,
	"orval": `{
		"get": {"title": "Emma", "pages": "474"},
		"post": {"created": "shelves/2/books/orval", "pages": "9007199254740993"},
		"patch": {"title": "Persuasion, again", "pages": "250", "tags": ["a", "b"]},
		"query": {"text": "grüße", "list": ["x", "y"], "big": "-9007199254740993"},
		"error": {"status": 404, "code": 5, "message": "no book \"shelves/1/books/99\""}
	}`,
	"connect": `{
		"get": {"title": "Emma", "pages": "474"},
		"post": {"created": "shelves/2/books/connect", "pages": "9007199254740993"},
		"stream": ["s 1", "s 2", "s 3"],
		"error": {"code": "NotFound", "message": "no book \"no such book\""}
	}`,
}

// TestGeneratedClients makes clients of what a running gateway says about itself, checks their
// types together with the code that uses them, and has them call the gateway.
func TestGeneratedClients(t *testing.T) {
	caddy, _ := startGateway(t, "%s", "route PATCH /books/{book.name} gateway.test.v1.Library/UpdateBook {\nbody book\n}")
	modules := packages(t)
	// Beside node_modules, where the tools look for what is imported.
	dir, err := os.MkdirTemp(modules, "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "clients"))); err != nil {
		t.Fatal(err)
	}
	download(t, caddy.URL("/openapi.json"), filepath.Join(dir, "openapi.json"))

	run := func(tool string, args ...string) string {
		t.Helper()
		start := time.Now()
		cmd := exec.Command(tool, args...)
		cmd.Dir = dir
		got := kit.Run(t, cmd, "")
		if got.Code != 0 {
			t.Fatalf("%v: %d\n%s%s", cmd.Args, got.Code, got.Stdout, got.Stderr)
		}
		t.Logf("%s: %v", filepath.Base(tool), time.Since(start).Round(100*time.Millisecond))
		return got.Stdout
	}
	bin := func(name string) string { return filepath.Join(modules, "node_modules", ".bin", name) }
	run(bin("openapi-typescript"), "openapi.json", "--output", "schema.d.ts")
	run(bin("orval"), "--config", "orval.config.cjs")
	run(bin("buf"), "generate", caddy.URL("/descriptors.binpb"))
	run(bin("tsc"))
	run(bin("esbuild"), "main.ts", "--bundle", "--platform=node", "--format=esm", "--outfile=main.mjs")

	var saw map[string]json.RawMessage
	if err := json.Unmarshal([]byte(run("node", "main.mjs", caddy.URL(""))), &saw); err != nil {
		t.Fatal(err)
	}
	for name, want := range generated {
		t.Run(name, func(t *testing.T) {
			if got, want := kit.CompactJSON(t, string(saw[name])), kit.CompactJSON(t, want); got != want {
				t.Errorf("the client saw\n%s, not\n%s", got, want)
			}
		})
	}
}

func download(t *testing.T, from, to string) {
	t.Helper()
	resp, err := http.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", from, resp.Status, err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
