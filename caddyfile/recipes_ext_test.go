package caddyfile_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// TestCaddyfilesOfTheRecipes validates the Caddyfiles of docs/recipes.md. A recipe needs a plugin if
// and only if it says how to build Caddy with one. e2e/policy runs them all.
func TestCaddyfilesOfTheRecipes(t *testing.T) {
	raw, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(raw), "\n## ")[1:]
	if len(sections) < 8 {
		t.Fatalf("%d recipes, want 8 or more", len(sections))
	}
	for _, section := range sections {
		heading, _, _ := strings.Cut(section, "\n")
		for _, block := range regexp.MustCompile("(?s)\n```caddyfile\n(.*?)```\n").FindAllStringSubmatch(section, -1) {
			t.Run(heading, func(t *testing.T) {
				if formatted := string(caddyfile.Format([]byte(block[1]))); formatted != block[1] {
					t.Errorf("caddy fmt would change it to:\n%s", formatted)
				}
				adapted, err := adapt(t, block[1])
				if strings.Contains(section, "xcaddy build") {
					if err == nil || !strings.Contains(err.Error(), "unrecognized directive") {
						t.Errorf("it needs no plugin: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				strictlyDecoded(t, adapted)
				var config *caddy.Config
				if err := json.Unmarshal(adapted, &config); err != nil {
					t.Fatal(err)
				}
				if err := caddy.Validate(config); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
