package rest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// eventually waits for something that must come true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true: %s", what)
		}
	}
}

// leave sends a request and goes away once it is being handled.
func (c *client) leave(path, body string, handled func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := c.open(ctx, "POST", path, body)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}()
	eventually(c.t, path+": the call arrived", handled)
	cancel()
	<-done
}

// lines reads a body line by line.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReader(r)} }

func (l *lines) next(t testing.TB) string {
	t.Helper()
	line, err := l.r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading a line: %v after %q", err, line)
	}
	return strings.TrimSuffix(line, "\n")
}

func (l *lines) wantEOF(t testing.TB) {
	t.Helper()
	rest, err := io.ReadAll(l.r)
	if len(rest) > 0 || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("want the end, got %q, %v", rest, err)
	}
}
