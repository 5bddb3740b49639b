package page

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	const before = "# Page\n\n<!-- figures: a -->\nold\n<!-- end: a -->\n\ntext\n\n<!-- figures: b -->\n<!-- end: b -->\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // A second time gives the same.
		for name, figures := range map[string]string{"a": "new\n", "b": "| table |"} {
			if err := Fill(file, name, figures); err != nil {
				t.Fatal(err)
			}
		}
	}
	const want = "# Page\n\n<!-- figures: a -->\n\nnew\n\n<!-- end: a -->\n\ntext\n\n<!-- figures: b -->\n\n| table |\n\n<!-- end: b -->\n"
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("the page is\n%s\n%v", got, err)
	}
	if err := Fill(file, "c", ""); err == nil {
		t.Error("figures without a place were taken")
	}
}
