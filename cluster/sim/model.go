package sim

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// Checker judges whether what clients saw of one actor can be explained by its
// behavior running their operations one after the other, each at some moment
// between its invocation and its outcome. The behavior itself is the
// specification: no model is written for it.
//
// It holds for behaviors whose replies and states follow from state and request.
// One that reads its clock or draws random numbers has many possible answers and
// cannot be judged this way.
type Checker struct {
	// Timeout bounds the judgement of one actor; default 20 s. A judgement that
	// does not end in time is a failed one.
	Timeout time.Duration

	behaviors map[string]*actors.Behavior
	// steps remembers what a method does to a state; histories repeat themselves.
	steps map[stepKey]step
}

// stepsMax bounds the memory of a checker; above it, it starts afresh.
const stepsMax = 1 << 20

type stepKey struct {
	method  *actors.Method
	key     string
	state   string
	payload string
}

// step is one transition of the specification.
type step struct {
	state    string
	reply    []byte
	rejected string
	failed   bool
}

// NewChecker returns a checker for actors of the given behaviors.
func NewChecker(behaviors ...*actors.Behavior) *Checker {
	c := &Checker{Timeout: 20 * time.Second, behaviors: map[string]*actors.Behavior{}, steps: map[stepKey]step{}}
	for _, b := range behaviors {
		c.behaviors[b.Kind()] = b
	}
	return c
}

// Verdict is the judgement of one actor's history.
type Verdict struct {
	Actor actors.ActorID
	// OK says that the history is linearizable. Undecided says that time ran out
	// first.
	OK, Undecided bool
	Ops           int
	// Info can be drawn by Draw.
	Info  porcupine.LinearizationInfo
	model porcupine.Model
}

// Check judges the operations of one actor.
func (c *Checker) Check(ops []*Op) (Verdict, error) {
	actor := ops[0].Actor
	b := c.behaviors[actor.Kind]
	if b == nil {
		return Verdict{}, fmt.Errorf("check the history of %s: no behavior of this kind was given", actor)
	}
	history := operations(ops)
	v := Verdict{Actor: actor, Ops: len(history), model: c.model(b, actor)}
	result := porcupine.CheckOperationsTimeout(v.model, history, c.Timeout)
	v.OK, v.Undecided = result == porcupine.Ok, result == porcupine.Unknown
	if result == porcupine.Illegal {
		_, v.Info = porcupine.CheckOperationsVerbose(v.model, history, c.Timeout)
	}
	return v, nil
}

// Stuck gives the operations where the longest explanation of the history ends: the
// last one it explains, and those that returned first of all it does not.
func (v Verdict) Stuck(ops []*Op) (last *Op, unexplained []*Op) {
	explained := map[*Op]bool{}
	for _, partials := range v.Info.PartialLinearizationsOperations() {
		for _, partial := range partials {
			if len(partial) <= len(explained) {
				continue
			}
			clear(explained)
			for _, o := range partial {
				if op, ok := o.Input.(*Op); ok {
					explained[op], last = true, op
				}
			}
		}
	}
	for _, op := range ops {
		if !explained[op] && op.Outcome == Acked {
			unexplained = append(unexplained, op)
		}
	}
	slices.SortFunc(unexplained, func(a, b *Op) int { return cmp.Compare(a.Return, b.Return) })
	return last, unexplained[:min(3, len(unexplained))]
}

// Draw writes the history and how far it can be explained as a page for a
// browser.
func (v Verdict) Draw(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := porcupine.Visualize(v.model, v.Info, f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// operations gives the history in porcupine's form. What was refused did not
// happen; a query of unknown outcome says nothing.
func operations(ops []*Op) []porcupine.Operation {
	history := make([]porcupine.Operation, 0, len(ops))
	for _, op := range ops {
		if op.Outcome == Refused || op.Outcome == Unknown && op.Method.Query {
			continue
		}
		history = append(history, porcupine.Operation{ClientId: op.Client, Input: op, Output: op, Call: op.Call, Return: op.Return})
	}
	return history
}

// model derives the specification of one actor from its behavior. A state is the
// behavior's own encoding.
func (c *Checker) model(b *actors.Behavior, actor actors.ActorID) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return "" },
		Step: func(state, input, _ any) (bool, any) {
			op := input.(*Op)
			if op.Failed {
				// A failure may have other causes than the handler, such as
				// the rest that an actor takes after panics; it changes nothing.
				return true, state
			}
			next := c.step(b, actor, state.(string), op)
			return op.explainedBy(next), next.state
		},
		Hash:  func(state any) uint64 { return xxhash.Sum64String(state.(string)) },
		Equal: func(a, b any) bool { return a.(string) == b.(string) },
		DescribeOperation: func(input, _ any) string {
			op := input.(*Op)
			return op.request() + " -> " + op.answer()
		},
		DescribeState: func(state any) string {
			return "{" + text(b.State().New().Interface(), []byte(state.(string))) + "}"
		},
	}
}

// explainedBy reports whether the operation can have been this step.
func (op *Op) explainedBy(s step) bool {
	switch {
	case op.Outcome == Unknown:
		return true
	case s.failed:
		return false
	case op.Rejection != nil || s.rejected != "":
		return op.Rejection.GetCode() == s.rejected
	default:
		return bytes.Equal(op.Reply, s.reply) || sameMessage(op.Method, op.Reply, s.reply)
	}
}

// sameMessage compares replies that are encoded differently.
func sameMessage(m *actors.Method, a, b []byte) bool {
	x, y := m.Reply.New().Interface(), m.Reply.New().Interface()
	return proto.Unmarshal(a, x) == nil && proto.Unmarshal(b, y) == nil && proto.Equal(x, y)
}

// step runs one operation on a state of the specification.
func (c *Checker) step(b *actors.Behavior, actor actors.ActorID, state string, op *Op) step {
	key := stepKey{method: op.Method, key: actor.Key, state: state, payload: string(op.Payload)}
	if s, known := c.steps[key]; known {
		return s
	}
	if len(c.steps) >= stepsMax {
		clear(c.steps)
	}
	s := runStep(b, actor, state, op)
	c.steps[key] = s
	return s
}

// runStep activates the actor in a state and runs one method. A handler that
// fails or panics changes nothing.
func runStep(b *actors.Behavior, actor actors.ActorID, state string, op *Op) (s step) {
	failed := step{state: state, failed: true}
	defer func() {
		if recover() != nil {
			s = failed
		}
	}()
	a, err := b.Activate(actor, []byte(state))
	if err != nil {
		return failed
	}
	run := a.Command
	if op.Method.Query {
		run = a.Query
	}
	effects, err := run(actors.Input{Method: op.Method, Payload: op.Payload, Now: time.Unix(0, op.CallTime)})
	if err != nil {
		return failed
	}
	s = step{state: state, reply: effects.Reply}
	if effects.Rejection != nil {
		s.rejected = effects.Rejection.GetCode()
	}
	if effects.Changed {
		s.state = string(effects.State)
	}
	return s
}
