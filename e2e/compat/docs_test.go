package compat

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// page is docs/migrating.md, the part about one gateway.
func page(t *testing.T, heading string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(kit.RootDir(t), "docs", "migrating.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(raw), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/migrating.md has no part %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// code returns the blocks of a part that are written in a language.
func code(t *testing.T, heading, language string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllStringSubmatch(page(t, heading), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("docs/migrating.md, %s: no block of %s", heading, language)
	}
	return blocks
}

// site returns what a Caddyfile has after the address of its one site. In it, the service's address
// becomes UPSTREAM.
func site(t *testing.T, caddyfile, service string) string {
	t.Helper()
	_, text, found := strings.Cut("\n"+caddyfile, "\n:8")
	if !found || strings.Count(text, service) != 1 {
		t.Fatalf("no site with one %s in:\n%s", service, caddyfile)
	}
	_, text, _ = strings.Cut(text, "\n")
	return strings.Replace(text, service, "UPSTREAM", 1)
}

// documented compares the table of differences in docs/migrating.md with the rows of a test. Each
// row of the table is tried by a row here, and each difference here is in the table.
func documented(t *testing.T, heading string, rows []row) {
	t.Helper()
	said, tried := make(map[string]bool), make(map[string]bool)
	_, table, _ := strings.Cut(page(t, heading), "\n### What stays different\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		name := strings.TrimPrefix(cells[0], "| ")
		if len(cells) < 3 || name == "|" || name == "---" { // No table, or its head.
			continue
		}
		said[name] = true
	}
	for _, r := range rows {
		if r.doc != "" {
			tried[r.doc] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !tried[name] {
			t.Errorf("docs/migrating.md has a row %q, which no row of this test tries", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tried)) {
		if !said[name] {
			t.Errorf("docs/migrating.md has no row %q", name)
		}
	}
}

// TestCaddyfilesOfTheGuide validates the complete Caddyfiles, with the real Caddy.
func TestCaddyfilesOfTheGuide(t *testing.T) {
	for _, heading := range []string{"From grpc-gateway", "From go-zero's gateway", "From Envoy's gRPC-JSON transcoder"} {
		for _, text := range code(t, heading, "caddyfile") {
			t.Run(heading, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "Caddyfile")
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd := exec.Command(kit.Binary(t), "validate", "--config", path, "--adapter", "caddyfile")
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "HOME="+dir)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
	}
}
