package module

import (
	"errors"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// The exit codes of `caddy grpc-gateway`. Scripts rely on them, so they never change. 2 and 3 are
// Caddy's own: they say how a server was stopped.
const (
	exitFailed      = 1
	exitUnreachable = 4
	exitNoSuchName  = 5
	exitUnhealthy   = 6
	// exitGRPC plus the code of a gRPC status is the exit code of a call that ended with it.
	// grpcurl does the same.
	exitGRPC = 64
)

// exitCodesHelp is the table of exit codes in the help of the commands.
const exitCodesHelp = `Exit codes:
  0      it worked
  1      wrong arguments, a wrong config, or any other failure
  4      the server cannot be reached, or the connection to it broke
  5      nothing has one of the names
  6      --check: something that is shown does not work
  64+n   call: the call failed with the gRPC status n`

// commandError is an error that has an exit code of its own.
type commandError struct {
	code int
	err  error
}

func (e *commandError) Error() string { return e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// exitCode returns the exit code for the error of a command.
func exitCode(err error) int {
	var coded *commandError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.code
	default:
		return exitFailed
	}
}

// exits makes a command. An error of run is printed, and decides about the exit code. The error may
// have the text of a server, so it is made printable.
func exits(run func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		err := run(cmd, args)
		if err == nil {
			return nil
		}
		// Only this function of Caddy makes the error that tells Caddy the exit code.
		exit := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return exitCode(err), nil })
		return exitError{printableError{err}, exit(cmd, nil)}
	}
}

// exitError is the error of a command for cobra, which prints it, and for Caddy, which looks for
// its own error in it.
type exitError struct {
	error

	exit error // nil: the exit code is 1
}

func (e exitError) Unwrap() []error {
	if e.exit == nil {
		return []error{e.error}
	}
	return []error{e.error, e.exit}
}
