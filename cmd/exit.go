package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Exit codes. A second signal ends the process with 128 and its number.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitUnreachable = 3
	ExitUnavailable = 4
	ExitNotFound    = 5
	ExitDeadline    = 6
	ExitForbidden   = 7
	ExitCheck       = 8

	exitSignal = 128
)

// exitCodes says what the codes mean, for help.
const exitCodes = `Exit codes:
  0 done   1 failed or rejected   2 usage or bad input   3 no node reached
  4 unavailable: no majority, no master, overloaded       5 not found
  6 the time is over   7 not permitted   8 a check failed
  130, 143 a second signal`

// exitError is an error with the exit code it asks for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitf(code int, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// codeOf is the exit code for an error of a command that ran.
func codeOf(err error) int {
	var exit *exitError
	var problem *problemError
	var call *actors.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &problem):
		return exitOfProblem(problem)
	case errors.Is(err, cluster.ErrUnreachable):
		return ExitUnreachable
	case errors.As(err, &call):
		return exitOfCode(actors.CodeName(call.Code))
	case errors.Is(err, context.DeadlineExceeded):
		return ExitDeadline
	}
	return ExitFailed
}

func exitOfProblem(p *problemError) int {
	if p.status == http.StatusUnauthorized || p.status == http.StatusForbidden {
		return ExitForbidden
	}
	return exitOfCode(p.Code)
}

// exitOfCode is the exit code for how a call ended.
func exitOfCode(code string) int {
	switch code {
	case actors.CodeName(messages.Code_CODE_INVALID), api.CodeTooLarge, api.CodeMethodNotAllowed:
		return ExitUsage
	case actors.CodeName(messages.Code_CODE_UNAVAILABLE), actors.CodeName(messages.Code_CODE_NOT_MASTER),
		actors.CodeName(messages.Code_CODE_OVERLOADED), api.CodeNotReady:
		return ExitUnavailable
	case actors.CodeName(messages.Code_CODE_NOT_FOUND):
		return ExitNotFound
	case actors.CodeName(messages.Code_CODE_OUTCOME_UNKNOWN):
		return ExitDeadline
	}
	return ExitFailed
}

// report says what went wrong, and gives the exit code.
func (a *app) report(ctx context.Context, ran *cobra.Command, err error) int {
	if err == nil {
		return ExitOK
	}
	by, signaled := errors.AsType[signalError](context.Cause(ctx))
	if _, told := errors.AsType[signalError](err); signaled && (told || errors.Is(err, context.Canceled)) {
		fmt.Fprintln(a.streams.Err, by.Error())
		return by.exitCode()
	}
	code := codeOf(err)
	var exit *exitError
	if !a.started && !errors.As(err, &exit) {
		code = ExitUsage // cobra did not like the command line
	}
	message := strings.TrimSpace(err.Error())
	fmt.Fprintf(a.streams.Err, "%s %s\n", a.paint(a.streams.Err, red, "error:"), message)
	if code == ExitUsage && !a.started && ran != nil {
		fmt.Fprintf(a.streams.Err, "\nRun '%s --help' for its flags and examples.\n", ran.CommandPath())
	}
	return code
}
