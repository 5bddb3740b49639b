package faults

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// row is one line of the report.
type row struct {
	Order       int // as in the table of the design
	Fault       string
	Requests    int
	Safe        int // failures of idempotent calls
	Unsafe      int // failures of others
	Duplicates  int // executions of others beyond the first
	Detection   time.Duration
	Recovery    time.Duration
	Connections string
	Note        string
}

type report struct {
	mu   sync.Mutex
	rows []row
}

// rowsEnv names a file for the rows of this process, which runs for another one that reports them.
const rowsEnv = "FAULTS_ROWS"

// table has the rows of this run; TestMain writes it at the end.
var table report

func (r *report) add(line row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, line)
}

// write prints the table, and writes it to e2e/out/faults.md as Markdown.
func (r *report) write() error {
	if len(r.rows) == 0 {
		return nil
	}
	if path := os.Getenv(rowsEnv); path != "" {
		text, err := json.Marshal(r.rows)
		if err != nil {
			return err
		}
		return os.WriteFile(path, text, 0o600)
	}
	slices.SortStableFunc(r.rows, func(a, b row) int { return cmp.Compare(a.Order, b.Order) })
	head := []string{"fault", "requests", "failed (safe + others)", "duplicates", "detected", "recovered", "connections", "notes"}
	var markdown strings.Builder
	screen := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	line := func(cells []string) {
		fmt.Fprintln(screen, strings.Join(cells, "\t"))
		fmt.Fprintln(&markdown, "| "+strings.Join(cells, " | ")+" |")
	}
	line(head)
	fmt.Fprintln(&markdown, strings.Repeat("| --- ", len(head))+"|")
	for _, l := range r.rows {
		line([]string{
			l.Fault, fmt.Sprint(l.Requests), fmt.Sprintf("%d + %d", l.Safe, l.Unsafe), fmt.Sprint(l.Duplicates),
			duration(l.Detection), duration(l.Recovery), cmp.Or(l.Connections, "–"), cmp.Or(l.Note, "–"),
		})
	}
	if err := screen.Flush(); err != nil {
		return err
	}
	dir := filepath.Join("..", "out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, either("faults-short.md", "faults.md")), []byte(markdown.String()), 0o600)
}

func duration(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}
