package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// process is this test binary in a role. It prints one line when it is ready, then answers each
// line on its input by one line, and ends when its input is closed, so that nothing outlives the
// tests.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	mu    sync.Mutex // one question at a time
	dead  chan struct{}
	ready string
}

// aside starts a process at the lowest priority, for what would not run on the gateway's machine
// and is to take nothing away from it.
var aside = []string{"nice", "-n", "19"}

// start runs a role. prefix is put before the command, such as ip netns exec <name>.
func start(t testing.TB, role string, config any, prefix ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append([]string{}, prefix...), self)
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), dead: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+role, roleEnv+"_CONFIG="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	ready, err := p.out.ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("start %s: %v", role, err)
	}
	p.ready = strings.TrimSpace(ready)
	return p
}

// ask sends a command and returns the answer.
func (p *process) ask(command string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return "", fmt.Errorf("ask for %q: %w", command, err)
	}
	answer, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("answer to %q: %w", command, err)
	}
	if answer = strings.TrimSpace(answer); strings.HasPrefix(answer, "error ") {
		return "", errors.New(answer)
	}
	return answer, nil
}

// must is ask for what cannot fail.
func (p *process) must(t testing.TB, command string) string {
	t.Helper()
	answer, err := p.ask(command)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the process by SIGKILL, whatever state it is in, and waits for it. It may be called
// twice.
func (p *process) kill() {
	select {
	case <-p.dead:
		return
	default:
	}
	p.signal(syscall.SIGKILL)
	p.wait()
}

func (p *process) wait() {
	_ = p.cmd.Wait()
	close(p.dead)
}

// serveCommands is the other side of ask: it answers the lines of the standard input until that
// ends.
func serveCommands(ready string, answer func(command, argument string) (string, error)) error {
	fmt.Println(ready)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		text, err := answer(command, argument)
		if err != nil {
			text = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(text)
	}
	return lines.Err()
}
