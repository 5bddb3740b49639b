package start

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// translations are the pages that exist in Chinese.
var translations = []struct{ english, chinese string }{
	{"README.md", "README.zh-CN.md"},
	{"docs/getting-started.md", "docs/zh-CN/getting-started.md"},
}

// TestTranslations: a translation has the headings, commands and configurations of the original,
// and the two pages link to each other.
func TestTranslations(t *testing.T) {
	for _, pair := range translations {
		t.Run(pair.chinese, func(t *testing.T) {
			english, chinese := readPage(t, pair.english), readPage(t, pair.chinese)
			if want, got := levels(english), levels(chinese); !slices.Equal(want, got) {
				t.Errorf("the levels of its headings are\n%v, and those of the original\n%v", got, want)
			}
			sameBlocks(t, english, chinese)
			if want, got := english.addresses(), chinese.addresses(); !slices.Equal(want, got) {
				t.Errorf("it opens %v, and the original %v", got, want)
			}
			for _, heading := range chinese.headings[1:] {
				if slices.Contains(english.headings, heading) {
					t.Errorf("the heading %q is not translated", heading)
				}
			}
			linksTo(t, pair.english, english, pair.chinese)
			linksTo(t, pair.chinese, chinese, pair.english)
		})
	}
}

func levels(p page) []int {
	var found []int
	for _, heading := range p.headings {
		found = append(found, strings.IndexFunc(heading, func(r rune) bool { return r != '#' }))
	}
	return found
}

// sameBlocks compares all blocks of code byte for byte.
func sameBlocks(t *testing.T, english, chinese page) {
	t.Helper()
	if len(english.blocks) == 0 || len(english.blocks) != len(chinese.blocks) {
		t.Fatalf("it has %d blocks of code, and the original %d", len(chinese.blocks), len(english.blocks))
	}
	for i, want := range english.blocks {
		if got := chinese.blocks[i]; got.info != want.info || got.text != want.text {
			t.Errorf("the block of line %d is\n%s\n%s, and in the original, line %d,\n%s\n%s", got.line, got.info, got.text, want.line, want.info, want.text)
		}
	}
}

// linksTo checks that a page has a link to another.
func linksTo(t *testing.T, path string, p page, other string) {
	t.Helper()
	for _, link := range p.links() {
		if filepath.Join(filepath.Dir(path), link) == other {
			return
		}
	}
	t.Errorf("%s has no link to %s", path, other)
}

// TestLinks: what these pages link to exists, in both languages.
func TestLinks(t *testing.T) {
	root := kit.RootDir(t)
	for _, pair := range translations {
		for _, path := range []string{pair.english, pair.chinese} {
			t.Run(path, func(t *testing.T) {
				for _, link := range readPage(t, path).links() {
					file, _, _ := strings.Cut(link, "#")
					if strings.Contains(link, "://") || file == "" {
						continue
					}
					if _, err := os.Stat(filepath.Join(root, filepath.Dir(path), file)); err != nil {
						t.Errorf("the link %s: %v", link, err)
					}
				}
			})
		}
	}
}

// TestReadmeNamesEveryPage: a reader of the README finds every page of the documentation.
func TestReadmeNamesEveryPage(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(kit.RootDir(t), "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, pair := range []string{"README.md", "README.zh-CN.md"} {
		links := readPage(t, pair).links()
		for _, path := range pages {
			name := "docs/" + filepath.Base(path)
			if !slices.ContainsFunc(links, func(link string) bool {
				return strings.TrimPrefix(link, "./") == name || strings.HasPrefix(link, name+"#")
			}) {
				t.Errorf("%s does not link to %s", pair, name)
			}
		}
	}
}
