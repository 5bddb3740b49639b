package openapie2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
	"github.com/caddy-grpc/gateway/internal/testkit"
)

// tools installs the programs that are npm packages, and returns their directory.
func tools(t testing.TB) string {
	t.Helper()
	from, err := filepath.Abs("testdata/tools")
	if err != nil {
		t.Fatal(err)
	}
	return kit.NPMPackages(t, "openapi-tools", from)
}

// tool runs one of them, for at most five minutes.
func tool(t testing.TB, name string, args ...string) (output string, err error) {
	t.Helper()
	dir := tools(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "node_modules", ".bin", name), args...)
	cmd.Env = append(os.Environ(), "REDOCLY_TELEMETRY=off", "REDOCLY_SUPPRESS_UPDATE_NOTICE=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// linters are the command lines that lint documents. Warnings are allowed: they are about what only
// the author of an API can say, such as a license.
var linters = map[string]func(t testing.TB, documents ...string) (output string, err error){
	"redocly": func(t testing.TB, documents ...string) (string, error) {
		return tool(t, "redocly", append([]string{"lint", "--skip-rule", "operation-4xx-response", "--config", filepath.Join(tools(t), "redocly.yaml"), "--format", "codeframe"}, documents...)...)
	},
	"spectral": func(t testing.TB, documents ...string) (string, error) {
		return tool(t, "spectral", append([]string{"lint", "--ruleset", filepath.Join(tools(t), "spectral.yaml"), "--fail-severity", "error", "--display-only-failures"}, documents...)...)
	},
}

// TestLinters has the documents of every set of options and of every example linted.
func TestLinters(t *testing.T) {
	dir := t.TempDir()
	all := handlers()
	caddy := startGateway(t, all)
	var documents, old []string
	add := func(name string, raw []byte) {
		path := filepath.Join(dir, name+".json")
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		documents = append(documents, path)
		if !bytes.HasPrefix(raw, []byte(`{"openapi":"3.2`)) {
			old = append(old, path)
		}
	}
	for name := range all {
		w := &world{t: t, base: "http://" + caddy.Listen, name: name}
		add(name, w.fetch(kit.DocumentPath))
	}
	for name, raw := range exampleDocuments(t) {
		add("example-"+name, raw)
	}
	t.Run("redocly", func(t *testing.T) {
		if out, err := linters["redocly"](t, documents...); err != nil {
			t.Errorf("%v\n%.6000s", err, out)
		}
	})
	t.Run("spectral", func(t *testing.T) {
		// Spectral does not know 3.2.
		if out, err := linters["spectral"](t, old...); err != nil {
			t.Errorf("%v\n%.6000s", err, out)
		}
	})
}

// TestLintersComplain gives them documents that are wrong.
func TestLintersComplain(t *testing.T) {
	dir := t.TempDir()
	const head = `{"openapi":"3.1.1","info":{"title":"x","version":"1"},"servers":[{"url":"http://a.example"}],"paths":{`
	for name, document := range map[string]string{
		"a reference to nothing": head + `"/a":{"get":{"operationId":"a","responses":{"200":{"$ref":"#/components/responses/none"}}}}}}`,
		"two equal IDs":          head + `"/a":{"get":{"operationId":"a","responses":{"200":{"description":"x"}}},"put":{"operationId":"a","responses":{"200":{"description":"x"}}}}}}`,
		"two equal paths":        head + `"/{a}":{"get":{"operationId":"a","parameters":[{"name":"a","in":"path","required":true,"schema":{}}],"responses":{"200":{"description":"x"}}}},"/{b}":{"get":{"operationId":"b","parameters":[{"name":"b","in":"path","required":true,"schema":{}}],"responses":{"200":{"description":"x"}}}}}}`,
		"an unknown member":      head + `"/a":{"get":{"operationID":"a","responses":{"200":{"description":"x"}}}}}}`,
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".json")
		if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
			t.Fatal(err)
		}
		for linter, lint := range linters {
			t.Run(linter+"/"+name, func(t *testing.T) {
				out, err := lint(t, path)
				if err == nil {
					t.Errorf("it is content:\n%s", out)
				}
			})
		}
	}
}

// Lines of the examples that name a service in a registry, of which the tests need only the schema.
var (
	discover   = regexp.MustCompile(`discover (?:etcd|consul|kubernetes) (\S+)(?: \{\n(?s:.*?)\n\t+\})?`)
	etcdTarget = regexp.MustCompile(`grpc_gateway etcd://\S+`)
	// ownDocument is the option of an example that has a document itself.
	ownDocument = regexp.MustCompile(`(?m)^\s*openapi\b`)
	// ownSchema is the option of an example whose schema is a file.
	ownSchema = regexp.MustCompile(`(?m)^\s*descriptors\b`)
)

// exampleDocuments are the documents of the handlers in examples.
func exampleDocuments(t testing.TB) map[string][]byte {
	t.Helper()
	root := kit.RootDir(t)
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "Caddyfile"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	user := "descriptors proto " + filepath.Join(root, "examples", "quickstart", "userpb", "user.proto")
	other := "descriptors proto " + filepath.Join(root, "internal", "testkit", "testpb", "echo.proto")
	const instance = "127.0.0.1:1"
	documents := make(map[string][]byte)
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path))
		if ownDocument.Match(raw) && ownSchema.Match(raw) {
			documents[name] = printedDocument(t, path)
			continue
		}
		text := etcdTarget.ReplaceAllString(string(raw), "grpc_gateway user")
		switch {
		case strings.Contains(text, "grpc_gateway catalog:"):
			// A catalog takes every schema from its service.
			etcd := kit.EmbeddedEtcd(t)
			etcd.Put(t, "user.rpc/1", testkit.StartBackend(t).Addr())
			text = strings.NewReplacer("{$ETCD:127.0.0.1:2379}", etcd.Addr,
				// Caddy has no plugin here, and the registry does not matter.
				"catalog fleet consul {$CONSUL:127.0.0.1:8500}", "etcd {\nendpoints "+etcd.Addr+"\n}\ncatalog fleet etcd /", "\ttag grpc\n\t\t\texclude", "\texclude",
				"expose demo.*", "expose gateway.test.*", "expose shop.*", "expose gateway.test.*").Replace(text)
		case !strings.Contains(text, "upstream user"):
			text = strings.Replace(text, "{\n", "{\n\tgrpc_gateway {\n\t\tupstream user {\n\t\t\tdiscover etcd user.rpc\n\t\t}\n\t}\n", 1)
		}
		text = discover.ReplaceAllStringFunc(text, func(line string) string {
			if strings.Contains(discover.FindStringSubmatch(line)[1], "user") {
				return "discover static " + instance + "\n" + user
			}
			return "discover static " + instance + "\n" + other
		})
		global, site, _ := strings.Cut(text, "\n}\n")
		if !ownDocument.MatchString(site) {
			site = kit.Described(site)
		}
		text = global + "\n}\n" + site
		documents[name] = exampleDocument(t, text)
	}
	for name, document := range documents {
		if !bytes.Contains(document, []byte(`"operationId"`)) {
			t.Errorf("the document of %s has no method: %.300s", name, document)
		}
	}
	return documents
}

// printedDocument is what the command prints for an example that needs no running service.
func printedDocument(t testing.TB, path string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), kit.Binary(t), "grpc-gateway", "openapi", "--config", path, "--server", "https://api.example.com")
	cmd.Dir = filepath.Dir(path)
	document, err := cmd.Output()
	if err != nil {
		t.Fatalf("the document of %s: %v", path, err)
	}
	return document
}

func exampleDocument(t testing.TB, caddyfile string) []byte {
	t.Helper()
	caddy := kit.StartCaddy(t, kit.Options{Whole: func(c *kit.Caddy) string {
		return strings.NewReplacer("{$GATEWAY_ADMIN:localhost:2019}", c.Admin, "admin localhost:2019", "admin "+c.Admin, "{$GATEWAY_LISTEN:api.example.com}", "http://"+c.Listen,
			"{$GATEWAY_LISTEN::8080}", "http://"+c.Listen, "\n:8080 {", "\nhttp://"+c.Listen+" {",
			// The document needs no credentials here.
			"not path /grpc.health.v1.Health/*", "not path /grpc.health.v1.Health/* "+kit.DocumentPath).Replace(caddyfile)
	}})
	w := &world{t: t, base: "http://" + caddy.Listen}
	kit.Eventually(t, 30*time.Second, "the example describes itself", func() error {
		resp, err := http.Get(caddy.URL(kit.DocumentPath))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Retry-After") != "" {
			return fmt.Errorf("%s, not complete", resp.Status)
		}
		return nil
	})
	return w.fetch(kit.DocumentPath)
}
