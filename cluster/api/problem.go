package api

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Problem is the body of every answer that is not a success. Code is of a closed
// set: those of [messages.Code] in lower case without their prefix ("rejected",
// "unavailable", "outcome_unknown", ...), and besides them "method_not_allowed",
// "too_large", "not_ready" and "internal".
type Problem struct {
	Code string `json:"code"`
	// Message says what went wrong, where, and what to do, for people.
	Message string `json:"message"`
	// Rejection is the behavior's answer, with "rejected".
	Rejection *RejectionProblem `json:"rejection,omitempty"`
	// DidYouMean is the nearest of the names in Known, which exist.
	DidYouMean string   `json:"did_you_mean,omitempty"`
	Known      []string `json:"known,omitempty"`
	// Partition says where the call was to be answered.
	Partition *uint64 `json:"partition,omitempty"`
	// Master is the name of the node believed to be its master.
	Master string `json:"master,omitempty"`
	// Missing names the nodes that are out of reach.
	Missing []string `json:"missing,omitempty"`
	// RetryAfterMillis is how long to wait before another attempt.
	RetryAfterMillis int64 `json:"retry_after_ms,omitempty"`

	status int
	allow  string
}

// RejectionProblem is how a behavior said no.
type RejectionProblem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Codes of Problem that no call has.
const (
	CodeMethodNotAllowed = "method_not_allowed"
	CodeTooLarge         = "too_large"
	CodeNotReady         = "not_ready"
	CodeInternal         = "internal"
)

// statusOf gives the status of HTTP for a call's code.
func statusOf(code messages.Code) int {
	switch code {
	case messages.Code_CODE_OK:
		return http.StatusOK
	case messages.Code_CODE_REJECTED:
		return http.StatusUnprocessableEntity
	case messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_NOT_MASTER:
		return http.StatusServiceUnavailable
	case messages.Code_CODE_OVERLOADED:
		return http.StatusTooManyRequests
	case messages.Code_CODE_OUTCOME_UNKNOWN:
		return http.StatusGatewayTimeout
	case messages.Code_CODE_INVALID:
		return http.StatusBadRequest
	case messages.Code_CODE_NOT_FOUND:
		return http.StatusNotFound
	case messages.Code_CODE_CONFLICT, messages.Code_CODE_SESSION_EXPIRED:
		return http.StatusConflict
	case messages.Code_CODE_FAILED, messages.Code_CODE_UNSPECIFIED:
	}
	return http.StatusInternalServerError
}

// problemOf tells of an error of a call.
func (s *Server) problemOf(e *actors.Error, partition *uint64) *Problem {
	p := &Problem{
		Code:             actors.CodeName(e.Code),
		Message:          e.Message,
		Partition:        partition,
		Missing:          e.Missing,
		RetryAfterMillis: e.RetryAfter.Milliseconds(),
		status:           statusOf(e.Code),
	}
	if e.Master != "" {
		p.Master = s.nodeName(e.Master)
	}
	if e.Code == messages.Code_CODE_UNSPECIFIED {
		p.Code = CodeInternal
	}
	if r := actors.RejectionOf(e); r != nil {
		p.Rejection = &RejectionProblem{Code: r.GetCode(), Message: r.GetMessage()}
		if p.Message == "" {
			p.Message = r.GetMessage()
		}
	}
	return p
}

// write sends a problem. Where the answer has begun already, nothing can be said
// any more.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	if p.RetryAfterMillis > 0 && (p.status == http.StatusTooManyRequests || p.status == http.StatusServiceUnavailable) {
		wait := time.Duration(p.RetryAfterMillis) * time.Millisecond
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	writeJSON(w, p.status, p)
}

// writeJSON sends a value as one line of JSON.
func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		status = http.StatusInternalServerError
		body = []byte(`{"code":"internal","message":"the answer has no JSON form; this is a bug of ringmaster"}`)
	}
	writeBody(w, status, "application/json", append(body, '\n'))
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// The caller who is gone does not miss it.
	_, _ = w.Write(body)
}
