package cmd

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Every way a call can end has an exit code, and help explains every exit code.
func TestExitCodes(t *testing.T) {
	want := map[messages.Code]int{
		messages.Code_CODE_UNSPECIFIED:     ExitFailed,
		messages.Code_CODE_OK:              ExitFailed, // as an error it makes no sense
		messages.Code_CODE_REJECTED:        ExitFailed,
		messages.Code_CODE_UNAVAILABLE:     ExitUnavailable,
		messages.Code_CODE_OVERLOADED:      ExitUnavailable,
		messages.Code_CODE_OUTCOME_UNKNOWN: ExitDeadline,
		messages.Code_CODE_NOT_MASTER:      ExitUnavailable,
		messages.Code_CODE_INVALID:         ExitUsage,
		messages.Code_CODE_NOT_FOUND:       ExitNotFound,
		messages.Code_CODE_FAILED:          ExitFailed,
		messages.Code_CODE_SESSION_EXPIRED: ExitFailed,
		messages.Code_CODE_CONFLICT:        ExitFailed,
	}
	for number := range messages.Code_name {
		code := messages.Code(number)
		exit, listed := want[code]
		if !listed {
			t.Errorf("%v has no exit code here", code)
		}
		if got := codeOf(fmt.Errorf("call: %w", &actors.Error{Code: code})); got != exit {
			t.Errorf("%v: exit code %d, want %d", code, got, exit)
		}
	}
	problem := func(status int, code string) error {
		return &problemError{Problem: api.Problem{Code: code}, status: status}
	}
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("anything"), ExitFailed},
		{exitf(ExitCheck, "lost"), ExitCheck},
		{fmt.Errorf("dial: %w", cluster.ErrUnreachable), ExitUnreachable},
		{context.DeadlineExceeded, ExitDeadline},
		{problem(http.StatusForbidden, "forbidden"), ExitForbidden},
		{problem(http.StatusUnauthorized, "unauthorized"), ExitForbidden},
		{problem(http.StatusRequestEntityTooLarge, api.CodeTooLarge), ExitUsage},
		{problem(http.StatusServiceUnavailable, api.CodeNotReady), ExitUnavailable},
		{problem(http.StatusInternalServerError, api.CodeInternal), ExitFailed},
	} {
		if got := codeOf(test.err); got != test.want {
			t.Errorf("%v: exit code %d, want %d", test.err, got, test.want)
		}
	}
	for code := range ExitCheck + 1 {
		if !strings.Contains(exitCodes, fmt.Sprintf("%d ", code)) {
			t.Errorf("help does not explain exit code %d", code)
		}
	}
}

// Every command has help with an example, and every flag a variable in it.
func TestEveryCommandIsExplained(t *testing.T) {
	a := &app{getenv: func(string) (string, bool) { return "", false }}
	root := a.root()
	for _, c := range root.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example or no description", c.Name())
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if len(strings.TrimRight(line, "\n")) > 78 {
				t.Errorf("help of %s is wider than 78 columns: %s", c.Name(), line)
			}
		}
		for line := range strings.Lines(c.LocalFlags().FlagUsages()) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(name, "--") && name != "--help" &&
				!strings.Contains(line, environmentName(strings.TrimPrefix(name, "--"))) {
				t.Errorf("%s: help does not name the variable of %s", c.Name(), name)
			}
		}
	}
}
