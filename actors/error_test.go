package actors_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func TestRepliesAndErrorsTellTheSame(t *testing.T) {
	for _, reply := range []*messages.Reply{
		{Code: messages.Code_CODE_OK},
		{Code: messages.Code_CODE_REJECTED, Rejection: &messages.Rejection{Code: "full", Message: "no room"}, Partition: 7, Term: 3},
		{Code: messages.Code_CODE_UNAVAILABLE, Message: "no majority", Partition: 5, Missing: []string{"n2", "n3"}},
		{Code: messages.Code_CODE_OVERLOADED, Message: "busy", RetryAfterMs: 20, MasterNode: "01J"},
		{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: "ask again"},
	} {
		err := actors.FromReply(reply)
		if actors.CodeOf(err) != reply.GetCode() {
			t.Errorf("got code %s, want %s", actors.CodeOf(err), reply.GetCode())
		}
		if diff := cmp.Diff(reply, actors.ToReply(err), protocmp.Transform()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
}

func TestErrorsFromElsewhere(t *testing.T) {
	plain := errors.New("plain \xff")
	if got := actors.CodeOf(plain); got != messages.Code_CODE_UNSPECIFIED {
		t.Errorf("got code %s of a plain error", got)
	}
	if got := actors.RejectionOf(plain); got != nil {
		t.Errorf("got rejection %v of a plain error", got)
	}
	want := &messages.Reply{Code: messages.Code_CODE_FAILED, Message: "plain �"}
	if diff := cmp.Diff(want, actors.ToReply(plain), protocmp.Transform()); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	// A reply that lacks the rejection still says that there is one.
	err := actors.FromReply(&messages.Reply{Code: messages.Code_CODE_REJECTED, Message: "no"})
	if r := actors.RejectionOf(fmt.Errorf("x: %w", err)); r.GetCode() != "rejected" || r.GetMessage() != "no" {
		t.Errorf("got rejection %v", r)
	}
}

func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"unavailable: no majority": &actors.Error{Code: messages.Code_CODE_UNAVAILABLE, Message: "no majority"},
		"outcome_unknown":          &actors.Error{Code: messages.Code_CODE_OUTCOME_UNKNOWN},
		"rejected (full): no room": actors.Reject("full", "no room"),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	huge := actors.ToReply(&actors.Error{Code: messages.Code_CODE_OVERLOADED, RetryAfter: time.Duration(1<<63 - 1)})
	if huge.GetRetryAfterMs() == 0 {
		t.Error("a huge RetryAfter became none")
	}
}
