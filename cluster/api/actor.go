package api

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Headers of calls.
const (
	HeaderIdempotencyKey = "Idempotency-Key"
	HeaderRequestTimeout = "Request-Timeout"
	HeaderNode           = "Actor-Node"
	HeaderPartition      = "Actor-Partition"
	HeaderTerm           = "Actor-Term"
	HeaderIndex          = "Actor-Index"
	HeaderReplayed       = "Actor-Replayed"
)

// serveActor answers POST /v1/actors/{kind}/{key}/{method}; rest is what follows
// the prefix, percent-encoded.
func (s *Server) serveActor(w http.ResponseWriter, r *http.Request, rest string) {
	m, call, p := s.parseCall(r, rest)
	if p != nil {
		p.write(w)
		return
	}
	if call.Payload, p = s.readPayload(w, r, m); p != nil {
		p.write(w)
		return
	}
	reply := s.call(r.Context(), m, call)
	partition := ring.Partition(call.GetKind(), call.GetKey(), s.engine.Route().GetPartitionCount())
	h := w.Header()
	h.Set(HeaderPartition, strconv.FormatUint(partition, 10))
	if reply.GetCode() != messages.Code_CODE_OK && reply.GetCode() != messages.Code_CODE_REJECTED {
		s.problemOf(errorOf(reply), &partition).write(w)
		return
	}
	h.Set(HeaderNode, s.nodeName(reply.GetMasterNode()))
	h.Set(HeaderTerm, strconv.FormatUint(reply.GetTerm(), 10))
	h.Set(HeaderIndex, strconv.FormatUint(reply.GetIndex(), 10))
	if reply.GetReplayed() {
		h.Set(HeaderReplayed, "true")
	}
	if reply.GetCode() == messages.Code_CODE_REJECTED {
		s.problemOf(errorOf(reply), &partition).write(w)
		return
	}
	body, err := m.EncodeJSON(reply.GetPayload())
	if err != nil {
		(&Problem{Code: "failed", Message: err.Error(), Partition: &partition, status: http.StatusInternalServerError}).write(w)
		return
	}
	writeBody(w, http.StatusOK, "application/json", append(body, '\n'))
}

// parseCall reads path and headers. What does not exist comes before what is
// wrong with the rest, so that a guess is answered with what there is.
func (s *Server) parseCall(r *http.Request, rest string) (*method, *messages.Call, *Problem) {
	var names [3]string
	parts := strings.Split(rest, "/")
	for i := range min(len(parts), len(names)) {
		name, err := url.PathUnescape(parts[i])
		if err != nil {
			return nil, nil, invalid("the path is not percent-encoded well: %v", err)
		}
		names[i] = name
	}
	k := s.methods.kinds[names[0]]
	if names[0] != "" && k == nil {
		return nil, nil, notFound(unknown("kind", names[0], "this node has", s.methods.names))
	}
	if len(parts) != len(names) {
		u := &unknownName{known: s.methods.names, message: "the path of a call is " + actorsPath + "{kind}/{key}/{method}; a / within the key is written %2F"}
		if k != nil {
			u.known = k.names
			u.message += fmt.Sprintf("; %s has %s", names[0], strings.Join(k.names, ", "))
		}
		return nil, nil, notFound(u)
	}
	m, u := s.methods.find(names[0], names[2])
	if u != nil {
		return nil, nil, notFound(u)
	}
	if r.Method != http.MethodPost {
		return nil, nil, notAllowed(r.Method, r.URL.Path+" ("+actors.Describe(m.Method)+")", http.MethodPost)
	}
	if err := actors.ValidateKey(names[1]); err != nil {
		return nil, nil, s.problemOf(asError(err), nil)
	}
	call := &messages.Call{Kind: names[0], Key: names[1], Method: names[2], Query: m.Query}
	if p := s.parseHeaders(r, call); p != nil {
		return nil, nil, p
	}
	return m, call, nil
}

func (s *Server) parseHeaders(r *http.Request, call *messages.Call) *Problem {
	timeout := s.cfg.Limits.CallTimeout
	if text := r.Header.Get(HeaderRequestTimeout); text != "" {
		d, err := time.ParseDuration(text)
		if seconds, bad := strconv.ParseFloat(text, 64); bad == nil {
			d, err = time.Duration(seconds*float64(time.Second)), nil
		}
		if err != nil || d <= 0 {
			return invalid("%s: %.40q is not a positive duration; say \"1.5s\" or \"250ms\"", HeaderRequestTimeout, text)
		}
		timeout = d
	}
	call.TimeoutMs = s.timeoutMillis(timeout)
	keys, given := r.Header[HeaderIdempotencyKey]
	if !given || call.GetQuery() {
		return nil // a query changes nothing: it may be repeated as it is
	}
	if len(keys) != 1 {
		return invalid("%s is given %d times; give it once", HeaderIdempotencyKey, len(keys))
	}
	return s.setIdempotencyKey(call, keys[0])
}

// timeoutMillis is a caller's timeout within the limits.
func (s *Server) timeoutMillis(d time.Duration) uint32 {
	d = min(max(d, time.Millisecond), s.cfg.Limits.CallTimeoutMax)
	return uint32(d.Milliseconds())
}

// setIdempotencyKey numbers a call by its key.
func (s *Server) setIdempotencyKey(call *messages.Call, key string) *Problem {
	if n, most := len(key), s.cfg.Limits.IdempotencyKeyBytes; n == 0 || n > most {
		return invalid("%s has %d bytes; it must have 1 to %d", HeaderIdempotencyKey, n, most)
	}
	call.Request = &messages.RequestID{Client: idempotencyDigest(call.GetKind(), call.GetKey(), key)}
	call.IdempotencyKey = true
	return nil
}

// idempotencyDigest names the session of an idempotency key: it holds within one
// actor, so that the key of one says nothing about another.
func idempotencyDigest(kind, key, idempotencyKey string) []byte {
	h := sha256.New()
	for _, part := range []string{kind, key, idempotencyKey} {
		// A length before each part: "a"+"bc" must not be "ab"+"c".
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		_, _ = io.WriteString(h, part) // it never fails: see hash.Hash
	}
	return h.Sum(nil)[:16]
}

// readPayload reads the body and turns it into a request message.
func (s *Server) readPayload(w http.ResponseWriter, r *http.Request, m *method) ([]byte, *Problem) {
	limit := s.cfg.Limits.BodyBytes
	if r.ContentLength > int64(limit) {
		w.Header().Set("Connection", "close") // the body is not read
		return nil, tooLarge(limit)
	}
	control := http.NewResponseController(w)
	// Where the connection knows no deadlines, IdleTimeout ends it.
	_ = control.SetReadDeadline(time.Now().Add(s.cfg.Limits.BodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, tooLarge(limit)
	}
	if err != nil {
		w.Header().Set("Connection", "close")
		return nil, invalid("the body did not arrive: %v", err)
	}
	_ = control.SetReadDeadline(time.Time{})
	payload, err := m.DecodeJSON(body)
	if err != nil {
		return nil, s.problemOf(asError(err), nil)
	}
	return payload, nil
}

func tooLarge(limit int) *Problem {
	return &Problem{
		Code: CodeTooLarge, status: http.StatusRequestEntityTooLarge,
		Message: fmt.Sprintf("the request has more than %d bytes, the limit of this node; keep messages small, or split them", limit),
	}
}

func invalid(format string, args ...any) *Problem {
	return &Problem{Code: "invalid", Message: fmt.Sprintf(format, args...), status: http.StatusBadRequest}
}

func notFound(u *unknownName) *Problem {
	return &Problem{Code: "not_found", Message: u.message, DidYouMean: u.near, Known: u.known, status: http.StatusNotFound}
}

// asError finds the error of a call in err.
func asError(err error) *actors.Error {
	if e, ok := errors.AsType[*actors.Error](err); ok {
		return e
	}
	return &actors.Error{Code: messages.Code_CODE_INVALID, Message: err.Error()}
}
