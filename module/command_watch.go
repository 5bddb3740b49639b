package module

import (
	"fmt"
	"io"
	"os"
	ossignal "os/signal"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watch shows the list again and again, until the process is interrupted. The first attempt must
// succeed. Later errors are shown as well, because a server may come back.
func (v *view[T]) watch(cmd *cobra.Command, read reader[T], names []string) error {
	const shortest = 100 * time.Millisecond
	every, _ := cmd.Flags().GetDuration("watch")
	if every < shortest {
		return fmt.Errorf("--watch=%v: expected an interval of at least %v", every, shortest)
	}
	ctx, stop := ossignal.NotifyContext(cmd.Context(), os.Interrupt)
	defer stop()
	output := newWatchOutput(cmd, every)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for first := true; ; first = false {
		text, err := v.text(ctx, read, names, output.json)
		if ctx.Err() != nil {
			return nil // It may be why there is an error.
		}
		if err != nil && first {
			return err
		}
		if err := output.show(text, err, time.Now()); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// watchOutput is where a list is shown again and again.
type watchOutput struct {
	out, errs io.Writer
	json      bool
	every     time.Duration
	// size returns the size of the terminal. It is nil if out is not a terminal. Then texts are
	// appended.
	size func() (width, height int)
	last string // the last good text
}

func newWatchOutput(cmd *cobra.Command, every time.Duration) *watchOutput {
	o := &watchOutput{out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), every: every}
	o.json, _ = cmd.Flags().GetBool("json")
	// The console of Windows shows escape sequences only if it is told to.
	if f, ok := o.out.(*os.File); ok && isTerminal(f) && !o.json && runtime.GOOS != "windows" {
		o.size = func() (int, int) {
			width, height, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0, 0
			}
			return width, height
		}
	}
	return o
}

// show shows a text, or an error.
func (o *watchOutput) show(text string, problem error, now time.Time) error {
	if o.size != nil {
		return o.redraw(text, problem, now)
	}
	if problem != nil {
		sayf(o.errs, "Error: %v\n", problem)
		return nil
	}
	if !o.json {
		text = "--- " + now.Format(time.RFC3339) + "\n" + text
	}
	_, err := io.WriteString(o.out, text)
	return err
}

// redraw writes over what was shown before. With an error, the last good text stays in sight.
func (o *watchOutput) redraw(text string, problem error, now time.Time) error {
	var page strings.Builder
	fmt.Fprintf(&page, "%s, every %v. Ctrl-C ends it.\n\n", now.Format(time.DateTime), o.every)
	if problem == nil {
		o.last = text
	} else {
		sayf(&page, "! %v\n! What follows is older.\n\n", problem)
	}
	page.WriteString(o.last)
	const home, endOfLine, below = "\x1b[H", "\x1b[K\n", "\x1b[J"
	width, height := o.size()
	visible := fit(page.String(), width, height)
	_, err := io.WriteString(o.out, home+strings.ReplaceAll(visible, "\n", endOfLine)+below)
	return err
}

// fit returns the lines of a text that a terminal has room for, and says how many it has not. The
// last row stays empty, so that nothing scrolls. A height of 0 is not known.
func fit(text string, width, height int) string {
	lines := strings.SplitAfter(strings.TrimRight(text, "\n")+"\n", "\n")
	lines = lines[:len(lines)-1]
	if height <= 0 {
		return strings.Join(lines, "")
	}
	rows := func(line string) int {
		if width <= 0 {
			return 1
		}
		return max(1, (utf8.RuneCountInString(strings.TrimSuffix(line, "\n"))+width-1)/width)
	}
	total := 0
	for _, line := range lines {
		total += rows(line)
	}
	if total < height {
		return strings.Join(lines, "")
	}
	shown, used := 0, 2 // the line that counts, and the last row
	for shown < len(lines) && used+rows(lines[shown]) <= height {
		used += rows(lines[shown])
		shown++
	}
	return strings.Join(lines[:shown], "") + fmt.Sprintf("... and %d more lines\n", len(lines)-shown)
}
