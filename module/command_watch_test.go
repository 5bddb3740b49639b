package module

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestWatchOutput shows a text, an error and the next text.
func TestWatchOutput(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	show := func(o *watchOutput) (stdout, stderr string) {
		var out, errs bytes.Buffer
		o.out, o.errs, o.every = &out, &errs, time.Second
		for _, step := range []struct {
			text string
			err  error
		}{{"one\n", nil}, {"", errors.New("gone\x1b[2J")}, {"two\n", nil}} {
			if err := o.show(step.text, step.err, now); err != nil {
				t.Fatal(err)
			}
		}
		return out.String(), errs.String()
	}
	t.Run("appended", func(t *testing.T) {
		out, errs := show(&watchOutput{})
		if want := "--- 2026-01-02T15:04:05Z\none\n--- 2026-01-02T15:04:05Z\ntwo\n"; out != want {
			t.Errorf("%q, want %q", out, want)
		}
		if want := "Error: gone\\x1b[2J\n"; errs != want {
			t.Errorf("%q, want %q", errs, want)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		if out, _ := show(&watchOutput{json: true}); out != "one\ntwo\n" {
			t.Errorf("%q", out)
		}
	})
	t.Run("terminal", func(t *testing.T) {
		out, errs := show(&watchOutput{size: func() (int, int) { return 80, 24 }})
		screens := strings.Split(out, "\x1b[H")
		if len(screens) != 4 || errs != "" {
			t.Fatalf("%q %q", screens, errs)
		}
		for i, wants := range [][]string{{"one"}, {"! gone\\x1b[2J\x1b[K\n", "one"}, {"two"}} {
			for _, want := range append(wants, "2026-01-02 15:04:05, every 1s", "\x1b[K\n", "\x1b[J") {
				if !strings.Contains(screens[i+1], want) {
					t.Errorf("screen %d has no %q: %q", i, want, screens[i+1])
				}
			}
		}
		if strings.Contains(screens[3], "one") || strings.Contains(screens[3], "gone") {
			t.Errorf("what is over is shown: %q", screens[3])
		}
	})
}

func TestFit(t *testing.T) {
	for name, tt := range map[string]struct {
		text          string
		width, height int
		want          string
	}{
		"unknown size":  {"a\nb\nc\n", 0, 0, "a\nb\nc\n"},
		"fits":          {"a\nb\nc\n", 10, 4, "a\nb\nc\n"},
		"too long":      {"a\nb\nc\nd\n", 10, 4, "a\nb\n... and 2 more lines\n"},
		"wraps":         {"aaaaa\nb\nc\n", 3, 5, "aaaaa\nb\nc\n"},
		"too much text": {"aaaaaaa\nb\nc\n", 3, 5, "aaaaaaa\n... and 2 more lines\n"},
		"runes":         {"äöü\nb\n", 3, 3, "äöü\nb\n"},
		"end":           {"a\n\n\n", 10, 2, "a\n"},
		"empty":         {"", 10, 5, "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fit(tt.text, tt.width, tt.height); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
