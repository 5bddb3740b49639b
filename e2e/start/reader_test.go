package start

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-grpc/gateway/e2e/kit"
)

// reader does what a page says, in an empty directory and with an empty home.
type reader struct {
	rules

	dir, home string
	env       []string
	terminals []*terminal
}

func newReader(t *testing.T, r rules) *reader {
	t.Helper()
	rd := &reader{rules: r, dir: t.TempDir(), home: t.TempDir()}
	rd.env = append(os.Environ(), "HOME="+rd.home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=")
	for _, name := range []string{"GOPATH", "GOCACHE", "GOMODCACHE", "GOENV"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatalf("go env %s: %v", name, err)
		}
		rd.env = append(rd.env, name+"="+strings.TrimSpace(string(value)))
	}
	rd.env = append(append(rd.env, "STATE="+rd.home), r.defaults()...)
	t.Cleanup(func() { rd.stop(t) })
	return rd
}

// follow does what the blocks say, one after the other, and leaves none out.
func (rd *reader) follow(t *testing.T, blocks []block) {
	t.Helper()
	begin := time.Now()
	for i := 0; i < len(blocks); i++ {
		b, start := blocks[i], time.Now()
		var prints *regexp.Regexp
		if i+1 < len(blocks) && blocks[i+1].info == "text prints" {
			prints = pattern(rd.apply(blocks[i+1].text))
			i++
		}
		switch {
		case b.attribute("file") != "" && prints == nil:
			rd.write(t, b)
		case b.attribute("terminal") != "" && prints != nil:
			rd.openTerminal(t, b, prints)
		case b.info == "sh":
			rd.run(t, b, prints)
		default:
			t.Fatalf("line %d: nobody can tell what to do with a block of %q here", b.line, b.info)
		}
		t.Logf("line %d, %s: %v", b.line, b.info, time.Since(start).Round(10*time.Millisecond))
	}
	t.Logf("all of it: %v", time.Since(begin).Round(time.Second))
}

// pattern is what a block of what is printed describes: its lines in this order, other lines
// between them, and any number of spaces for one.
func pattern(text string) *regexp.Regexp {
	var lines []string
	for line := range strings.Lines(strings.TrimSpace(text)) {
		var parts []string
		for part := range strings.SplitSeq(strings.TrimSpace(line), "…") {
			words := strings.Fields(part)
			for i, word := range words {
				words[i] = regexp.QuoteMeta(word)
			}
			parts = append(parts, strings.Join(words, `[ \t]+`))
		}
		lines = append(lines, strings.Join(parts, `.*`))
	}
	return regexp.MustCompile(strings.Join(lines, `[\s\S]*?`))
}

// where is the directory in which the shell of the reader is.
func (rd *reader) where() string {
	if dir, err := os.ReadFile(filepath.Join(rd.home, "dir")); err == nil {
		return strings.TrimSpace(string(dir))
	}
	return rd.dir
}

func (rd *reader) write(t *testing.T, b block) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(rd.where(), b.attribute("file")), []byte(rd.apply(b.text)), 0o600); err != nil {
		t.Fatalf("line %d: %v", b.line, err)
	}
}

// shell runs commands in the reader's first terminal: with what earlier ones have exported, and in
// the directory that they went to. It stops at the first command that fails.
func (rd *reader) shell(ctx context.Context, commands string) (string, error) {
	script := "if [ -f \"$STATE/env\" ]; then . \"$STATE/env\"; fi\nset -euo pipefail\n" +
		rd.apply(commands) + "\nset +eu\nexport -p >\"$STATE/env\"\npwd >\"$STATE/dir\"\n"
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = rd.where(), rd.env
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	return output.String(), err
}

// run runs the commands of a block. If they do not print what they should, it runs them again for a
// while: a reader comes to the next command later than a test does.
func (rd *reader) run(t *testing.T, b block, prints *regexp.Regexp) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	for deadline := time.Now().Add(20 * time.Second); ; {
		output, err := rd.shell(ctx, b.text)
		if err == nil && (prints == nil || prints.MatchString(output)) {
			return
		}
		if prints == nil || time.Now().After(deadline) {
			t.Fatalf("line %d: %v, want %v in the output of\n%s\n%s", b.line, err, prints, b.text, output)
		}
		time.Sleep(time.Second)
	}
}

// terminal is one in which a command goes on.
type terminal struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the command has ended
	exit error
}

// openTerminal starts a command in a terminal of its own, and waits until it prints something.
func (rd *reader) openTerminal(t *testing.T, b block, prints *regexp.Regexp) {
	t.Helper()
	term := &terminal{name: b.attribute("terminal"), done: make(chan struct{})}
	term.log = filepath.Join(rd.home, term.name+".log")
	log, err := os.Create(term.log)
	if err != nil {
		t.Fatal(err)
	}
	term.cmd = exec.Command("bash", "-c", "exec "+rd.apply(strings.TrimSpace(b.text)))
	term.cmd.Dir, term.cmd.Env = rd.where(), rd.env
	term.cmd.Stdout, term.cmd.Stderr = log, log
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := term.cmd.Start(); err != nil {
		t.Fatalf("line %d: %v", b.line, err)
	}
	rd.terminals = append(rd.terminals, term)
	go func() {
		defer close(term.done)
		term.exit = term.cmd.Wait()
		log.Close()
	}()
	kit.Eventually(t, time.Minute, fmt.Sprintf("line %d prints %v", b.line, prints), func() error {
		if text := term.text(); !prints.MatchString(text) {
			return fmt.Errorf("it prints\n%s", text)
		}
		return nil
	})
}

func (term *terminal) text() string {
	text, _ := os.ReadFile(term.log)
	return string(text)
}

// stop is Ctrl-C in each terminal, the last first. All of them must still run then.
func (rd *reader) stop(t *testing.T) {
	t.Helper()
	for i := len(rd.terminals) - 1; i >= 0; i-- {
		term := rd.terminals[i]
		select {
		case <-term.done:
			t.Errorf("the terminal %s has ended by itself: %v", term.name, term.exit)
		default:
			_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGINT)
		}
		select {
		case <-term.done:
		case <-time.After(45 * time.Second):
			t.Errorf("the terminal %s did not end within 45 s of Ctrl-C", term.name)
			_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL)
			<-term.done
		}
		if t.Failed() {
			t.Logf("the terminal %s:\n%s", term.name, term.text())
		}
	}
}
