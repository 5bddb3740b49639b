package start

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// page is what the tests read of a Markdown file.
type page struct {
	headings []string // with their #
	blocks   []block
	prose    string // everything else
}

// block is a fenced block of code. What follows the language in the line that opens it says what a
// reader does with the block:
//
//	sh                  run it, and wait for its end
//	sh terminal=<name>  run it in a terminal of its own, where it goes on
//	<any> file=<path>   write it to a file
//	text prints         the command before it prints these lines, among others. … is anything
type block struct {
	info, text string
	line       int
}

// attribute is what the info of the block says for a name.
func (b block) attribute(name string) string {
	for _, word := range strings.Fields(b.info) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

// readPage reads a Markdown file of the repository.
func readPage(t *testing.T, path string) page {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(kit.RootDir(t), path))
	if err != nil {
		t.Fatal(err)
	}
	var (
		p     page
		prose strings.Builder
		open  *block
		line  int
	)
	for text := range strings.Lines(string(raw)) {
		line++
		fence, isFence := strings.CutPrefix(strings.TrimRight(text, "\n"), "```")
		switch {
		case open != nil && isFence:
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			open.text += text
		case isFence:
			open = &block{info: fence, line: line}
		case strings.HasPrefix(text, "#"):
			p.headings = append(p.headings, strings.TrimSpace(text))
		default:
			prose.WriteString(text)
		}
	}
	if open != nil {
		t.Fatalf("%s: the block of line %d has no end", path, open.line)
	}
	p.prose = prose.String()
	return p
}

var (
	addressInProse = regexp.MustCompile(`<(https?://[^>]+)>`)
	linkInProse    = regexp.MustCompile(`\]\(([^)]+)\)`)
)

// addresses are those that the page tells the reader to open.
func (p page) addresses() []string {
	var found []string
	for _, match := range addressInProse.FindAllStringSubmatch(p.prose, -1) {
		found = append(found, match[1])
	}
	return found
}

// links are the targets of the page's links.
func (p page) links() []string {
	var found []string
	for _, match := range linkInProse.FindAllStringSubmatch(p.prose, -1) {
		found = append(found, match[1])
	}
	return found
}
