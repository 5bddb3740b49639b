package kit

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const grpcurlVersion = "v1.9.4"

// Grpcurl returns the program, and installs it where it is missing.
func Grpcurl(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(RootDir(t), ".bin", "grpcurl-"+grpcurlVersion)
	binary := filepath.Join(dir, "grpcurl")
	if _, err := os.Stat(binary); err == nil {
		return binary
	}
	cmd := exec.Command("go", "install", "github.com/fullstorydev/grpcurl/cmd/grpcurl@"+grpcurlVersion)
	cmd.Env = append(os.Environ(), "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install grpcurl: %v\n%s", err, out)
	}
	return binary
}

// Buf returns the program, and installs it where it is missing.
func Buf(t testing.TB) string {
	t.Helper()
	return filepath.Join(clientPackages(t), ".bin", "buf")
}

// clientPackages installs the clients that are npm packages, and returns their node_modules.
func clientPackages(t testing.TB) string {
	t.Helper()
	from := filepath.Join(RootDir(t), "e2e", "kit", "testdata", "clients")
	return filepath.Join(NPMPackages(t, "clients", from), "node_modules")
}

// Output is what a program has said.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Run runs a program to its end, with a limit, and with input on its standard input.
func Run(t testing.TB, cmd *exec.Cmd, input string) Output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	limited := exec.CommandContext(ctx, cmd.Path, cmd.Args[1:]...)
	limited.Dir, limited.Env = cmd.Dir, cmd.Env
	var stdout, stderr strings.Builder
	limited.Stdin, limited.Stdout, limited.Stderr = strings.NewReader(input), &stdout, &stderr
	err := limited.Run()
	if ctx.Err() != nil || limited.ProcessState == nil {
		t.Fatalf("%v: %v, %v\n%s%s", cmd.Args, err, ctx.Err(), stdout.String(), stderr.String())
	}
	return Output{stdout.String(), stderr.String(), limited.ProcessState.ExitCode()}
}

// Contains fails the test for each of the texts that is not in what a program printed.
func Contains(t testing.TB, where, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%s has no %q:\n%s", where, want, text)
		}
	}
}
