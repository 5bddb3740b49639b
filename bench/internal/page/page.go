// Package page puts measured figures into a Markdown page, between markers that say what belongs
// there:
//
//	<!-- figures: name -->
//	…
//	<!-- end: name -->
//
// What is between them is replaced; the text around them is people's.
package page

import (
	"fmt"
	"os"
	"strings"
)

// Fill replaces the figures of a name.
func Fill(path, name, figures string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(raw)
	begin, end := "<!-- figures: "+name+" -->\n", "<!-- end: "+name+" -->"
	from := strings.Index(text, begin)
	to := strings.Index(text, end)
	if from < 0 || to < from {
		return fmt.Errorf("%s has no place for the figures %q", path, name)
	}
	text = text[:from+len(begin)] + "\n" + strings.TrimSpace(figures) + "\n\n" + text[to:]
	return os.WriteFile(path, []byte(text), 0o644)
}

// Table is a table in Markdown; all columns but the first are aligned to the right.
type Table struct {
	b strings.Builder
}

// NewTable returns one with its head.
func NewTable(head ...string) *Table {
	t := new(Table)
	t.Row(head...)
	t.b.WriteString("| ---" + strings.Repeat(" | ---:", len(head)-1) + " |\n")
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	t.b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func (t *Table) String() string { return t.b.String() }
