package actors

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// rejectionCodeBytesMax and rejectionTextBytesMax bound what is stored of a
	// rejection: it is kept with the session to answer repeated requests.
	rejectionCodeBytesMax = 64
	rejectionTextBytesMax = 1024
)

// Error is how a call ended when it did not end well. Find it with errors.As;
// its Code, of a closed set, says what a caller may conclude:
//
//   - CODE_REJECTED: the behavior said no, for good; see Rejection.
//   - CODE_FAILED: the handler failed; nothing was changed.
//   - CODE_INVALID, CODE_NOT_FOUND, CODE_CONFLICT: the caller's fault; it did not run.
//   - CODE_UNAVAILABLE, CODE_OVERLOADED: it did not run; try again.
//   - CODE_SESSION_EXPIRED: it did not run now; earlier attempts may have.
//   - CODE_OUTCOME_UNKNOWN: nobody knows yet; ask again with the same Request.
type Error struct {
	Code messages.Code
	// Message says what went wrong, where, and what to do, for people.
	Message string
	// Rejection is set with CODE_REJECTED and only then.
	Rejection *messages.Rejection
	// Partition, Term and Master say where the call was answered; zero and empty
	// when it never reached a partition. Master is a node id.
	Partition uint64
	Term      uint64
	Master    string
	// Missing names the nodes that are out of reach, with CODE_UNAVAILABLE.
	Missing []string
	// RetryAfter is how long to wait before the next attempt, with
	// CODE_OVERLOADED; 0 means: as the caller likes.
	RetryAfter time.Duration
	// Request is the number under which to ask again, with CODE_OUTCOME_UNKNOWN.
	Request *messages.RequestID
	// Err is the cause, for errors.Is and errors.As; it stays in the process.
	Err error
}

// Error gives the code's name and the message.
func (e *Error) Error() string {
	if e.Rejection != nil {
		return fmt.Sprintf("%s (%s): %s", CodeName(e.Code), e.Rejection.GetCode(), e.Rejection.GetMessage())
	}
	if e.Message == "" {
		return CodeName(e.Code)
	}
	return CodeName(e.Code) + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeName is the name of a code as it appears in JSON and in texts:
// CODE_OUTCOME_UNKNOWN is "outcome_unknown".
func CodeName(code messages.Code) string {
	return strings.ToLower(strings.TrimPrefix(code.String(), "CODE_"))
}

// Reject is the error by which a handler says no. The caller gets code and text
// as a durable answer: asking again under the same number gives the same one.
// The code is for programs: short, stable, such as "insufficient_funds". The text
// is for people. What exceeds 64 and 1,024 bytes is cut off.
func Reject(code, format string, args ...any) error {
	return &Error{
		Code:      messages.Code_CODE_REJECTED,
		Rejection: &messages.Rejection{Code: code, Message: fmt.Sprintf(format, args...)},
	}
}

// RejectionOf gives the rejection that err carries, or nil. It serves handlers'
// tests as well as callers.
func RejectionOf(err error) *messages.Rejection {
	var e *Error
	if !errors.As(err, &e) || e.Code != messages.Code_CODE_REJECTED {
		return nil
	}
	if e.Rejection == nil {
		return &messages.Rejection{Code: "rejected", Message: e.Message}
	}
	return e.Rejection
}

// CodeOf gives the code that err carries: CODE_OK for nil, CODE_UNSPECIFIED when
// there is no [*Error] in it.
func CodeOf(err error) messages.Code {
	if err == nil {
		return messages.Code_CODE_OK
	}
	var e *Error
	if !errors.As(err, &e) {
		return messages.Code_CODE_UNSPECIFIED
	}
	return e.Code
}

// FromReply gives the error that a reply tells of, as an [*Error], or nil when
// it says CODE_OK.
func FromReply(r *messages.Reply) error {
	if r.GetCode() == messages.Code_CODE_OK {
		return nil
	}
	e := &Error{
		Code:       r.GetCode(),
		Message:    r.GetMessage(),
		Partition:  r.GetPartition(),
		Term:       r.GetTerm(),
		Master:     r.GetMasterNode(),
		Missing:    r.GetMissing(),
		RetryAfter: time.Duration(r.GetRetryAfterMs()) * time.Millisecond,
	}
	if e.Code == messages.Code_CODE_REJECTED {
		e.Rejection = r.GetRejection()
		if e.Rejection == nil {
			e.Rejection = &messages.Rejection{Code: "rejected", Message: e.Message}
		}
	}
	return e
}

// ToReply gives the reply that tells of err, without an id. An error that is
// not an [*Error] is a failure. A nil err gives CODE_OK.
func ToReply(err error) *messages.Reply {
	if err == nil {
		return &messages.Reply{Code: messages.Code_CODE_OK}
	}
	var e *Error
	if !errors.As(err, &e) {
		return &messages.Reply{Code: messages.Code_CODE_FAILED, Message: validText(err.Error())}
	}
	r := &messages.Reply{
		Code:         e.Code,
		Message:      validText(e.Message),
		Partition:    e.Partition,
		Term:         e.Term,
		MasterNode:   e.Master,
		Missing:      e.Missing,
		RetryAfterMs: uint32(min(max(e.RetryAfter.Milliseconds(), 0), 1<<31)),
	}
	if e.Code == messages.Code_CODE_REJECTED {
		r.Rejection = storedRejection(RejectionOf(e))
	}
	return r
}

// invalidf makes the error for a caller's fault.
func invalidf(format string, args ...any) *Error {
	return &Error{Code: messages.Code_CODE_INVALID, Message: fmt.Sprintf(format, args...)}
}

// failed makes the error for a handler's fault.
func failed(err error, format string, args ...any) *Error {
	return &Error{Code: messages.Code_CODE_FAILED, Message: fmt.Sprintf(format, args...), Err: err}
}

// storedRejection gives r in the form that goes into the log: valid UTF-8, which
// protobuf insists on, and of bounded size.
func storedRejection(r *messages.Rejection) *messages.Rejection {
	code := cut(validText(r.GetCode()), rejectionCodeBytesMax)
	if code == "" {
		code = "rejected"
	}
	return &messages.Rejection{Code: code, Message: cut(validText(r.GetMessage()), rejectionTextBytesMax)}
}

func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// cut shortens s to at most size bytes, at a character's boundary.
func cut(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}
