package sim

import (
	"fmt"
	"math"
	"sort"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// An Outcome is what a client knows of an operation at its end.
type Outcome uint8

// The outcomes of an operation.
const (
	// Unknown: it may have happened, may still happen, or may never happen.
	Unknown Outcome = iota
	// Acked: it happened, once, and its reply is known.
	Acked
	// Refused: it did not happen and never will.
	Refused
)

// String gives the outcome's name.
func (o Outcome) String() string {
	switch o {
	case Acked:
		return "acked"
	case Refused:
		return "refused"
	default:
		return "unknown"
	}
}

// Op is one operation of a client on one actor, from its invocation to its
// outcome.
type Op struct {
	Client  int
	Actor   actors.ActorID
	Method  *actors.Method
	Payload []byte
	// Call and Return place invocation and outcome in the one order of everything
	// that clients see; Return is the largest number while the outcome is
	// unknown.
	Call, Return int64
	// CallTime and ReturnTime are the virtual times, in nanoseconds since the
	// start of the run.
	CallTime, ReturnTime int64
	Outcome              Outcome
	// Reply, Rejection and Failed are the answer of an acknowledged operation;
	// Failed says that the handler failed and nothing changed.
	Reply     []byte
	Rejection *messages.Rejection
	Failed    bool
	// Attempts counts how often it was sent.
	Attempts int
	// Receipt says where the effects are.
	Partition, Term, Index uint64
}

// History records the operations of a run in the order of their invocation.
type History struct {
	ops  []*Op
	next int64
}

// Begin records an invocation.
func (h *History) Begin(client int, actor actors.ActorID, m *actors.Method, payload []byte, now int64) *Op {
	h.next++
	op := &Op{
		Client: client, Actor: actor, Method: m, Payload: payload,
		Call: h.next, Return: math.MaxInt64, CallTime: now, ReturnTime: -1,
	}
	h.ops = append(h.ops, op)
	return op
}

// End records an outcome that is known. An operation that never ends is unknown.
func (h *History) End(op *Op, outcome Outcome, now int64) {
	h.next++
	op.Outcome = outcome
	op.ReturnTime = now
	if outcome != Unknown {
		op.Return = h.next
	}
}

// Ops returns the operations in the order of their invocation.
func (h *History) Ops() []*Op { return h.ops }

// ByActor returns the operations of each actor, the actors in the order of their
// names.
func (h *History) ByActor() [][]*Op {
	groups := map[actors.ActorID][]*Op{}
	for _, op := range h.ops {
		groups[op.Actor] = append(groups[op.Actor], op)
	}
	all := make([][]*Op, 0, len(groups))
	for _, ops := range groups {
		all = append(all, ops)
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i][0].Actor, all[j][0].Actor
		if a.Kind != b.Kind {
			return a.Kind < b.Kind
		}
		return a.Key < b.Key
	})
	return all
}

// String describes the operation on one line.
func (op *Op) String() string {
	return fmt.Sprintf("client %d %s %s -> %s", op.Client, op.Actor, op.request(), op.answer())
}

// request gives method and request message as text.
func (op *Op) request() string {
	m := op.Method.Request.New().Interface()
	return op.Method.Name + "{" + text(m, op.Payload) + "}"
}

// answer gives the outcome as text.
func (op *Op) answer() string {
	switch {
	case op.Outcome != Acked:
		return op.Outcome.String()
	case op.Failed:
		return "failed"
	case op.Rejection != nil:
		return "rejected " + op.Rejection.GetCode()
	default:
		return "{" + text(op.Method.Reply.New().Interface(), op.Reply) + "}"
	}
}

// text gives an encoded message as text.
func text(m proto.Message, encoded []byte) string {
	if err := proto.Unmarshal(encoded, m); err != nil {
		return fmt.Sprintf("%x", encoded)
	}
	b, err := prototext.MarshalOptions{}.Marshal(m)
	if err != nil {
		return fmt.Sprintf("%x", encoded)
	}
	return string(b)
}
