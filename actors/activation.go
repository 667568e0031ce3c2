package actors

import (
	"bytes"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Activation is an actor alive: its state in memory, and the handlers to run on
// it. It is used by one goroutine at a time.
//
// A turn costs no copy of the state. Between turns:
//
//  1. state, decoded, and last, encoded, are the same state;
//  2. last is the deterministic encoding, so equal bytes mean an unchanged state;
//  3. nobody outside holds a reference into state that it may write through.
//
// A handler works on state itself. Success replaces last by the new encoding;
// anything else replaces state by a decoding of last.
type Activation struct {
	behavior *Behavior
	id       ActorID
	state    proto.Message
	last     []byte
	// running is true while a handler runs, and for ever after one panicked.
	running bool
	// broken is true when a state could not be restored.
	broken bool
}

// Input is one request to an activation.
type Input struct {
	// Method is one of the behavior's.
	Method *Method
	// Payload is the request message in protobuf's binary form; it is not kept.
	Payload []byte
	// Now is what the handler sees as the time.
	Now time.Time
	// Seed is where the handler's random numbers come from.
	Seed uint64
}

// Effects is what one turn did. Its slices may be kept but not written to.
type Effects struct {
	// Reply is the reply message, encoded; nil for the empty message and with a
	// rejection.
	Reply []byte
	// Rejection is set when the handler said no. The state is as it was.
	Rejection *messages.Rejection
	// Changed says that the turn changed the state, and State is all of it,
	// in deterministic encoding. Without it State is nil.
	Changed bool
	State   []byte
}

// Activate makes the actor live with the state it was left in; nil means that it
// was never written to. The bytes are not kept.
func (b *Behavior) Activate(id ActorID, state []byte) (*Activation, error) {
	if id.Kind != b.kind {
		return nil, invalidf("%s is not a %s", id, b.kind)
	}
	if err := ValidateKey(id.Key); err != nil {
		return nil, err
	}
	a := &Activation{behavior: b, id: id, state: b.state.New().Interface()}
	if len(state) == 0 {
		return a, nil
	}
	if err := proto.Unmarshal(state, a.state); err != nil {
		return nil, failed(err, "%s: its stored state, %d bytes, is not a %s: %s; was it written by another behavior?",
			id, len(state), b.state.Descriptor().FullName(), plainText(err))
	}
	// Not the bytes given: an older program may have ordered them otherwise.
	last, err := encode(nil, a.state)
	if err != nil {
		return nil, failed(err, "%s: its stored state does not encode again: %s", id, plainText(err))
	}
	a.last = last
	return a, nil
}

// ID is the actor.
func (a *Activation) ID() ActorID { return a.id }

// Command runs a command as one turn. An error, which is an [*Error], and a
// rejection leave the state as it was. A panic of the handler comes through;
// after it the activation refuses everything and is to be dropped.
func (a *Activation) Command(in Input) (Effects, error) {
	if err := a.check(in.Method, false); err != nil {
		return Effects{}, err
	}
	return a.run(in)
}

// Query runs a query; its effects are never a change. Errors and panics are as
// with Command.
func (a *Activation) Query(in Input) (Effects, error) {
	if err := a.check(in.Method, true); err != nil {
		return Effects{}, err
	}
	return a.run(in)
}

func (a *Activation) run(in Input) (Effects, error) {
	a.running = true
	effects, err := in.Method.run(a, in)
	a.running = a.broken
	return effects, err
}

func (a *Activation) check(m *Method, query bool) error {
	switch {
	case a.running:
		return failed(nil, "%s: a turn was left by a panic or is still running; activate the actor again", a.id)
	case m == nil || m.behavior != a.behavior:
		return invalidf("%s: not a method of this behavior", a.id)
	case m.Query && !query:
		return invalidf("%s is a query and cannot run as a command", m)
	case query && !m.Query:
		return invalidf("%s is a command and cannot run as a query", m)
	}
	return nil
}

// settle ends a command: it commits what the handler did to the live state, or
// takes it back.
func (a *Activation) settle(m *Method, state, rep proto.Message, err error) (Effects, error) {
	if err == nil {
		effects, err := a.commit(m, state, rep)
		if err == nil {
			return effects, nil
		}
		return Effects{}, a.restored(err)
	}
	if r := RejectionOf(err); r != nil {
		return Effects{Rejection: storedRejection(r)}, a.restored(nil)
	}
	return Effects{}, a.restored(failed(err, "%s of %s: %v", m.Name, a.id, err))
}

// commit encodes reply and state. It changes the activation only on success.
func (a *Activation) commit(m *Method, state, rep proto.Message) (Effects, error) {
	if !state.ProtoReflect().IsValid() {
		return Effects{}, failed(nil, "%s of %s: the handler set tx.State to nil; use an empty message", m.Name, a.id)
	}
	reply, err := a.encodeReply(m, rep)
	if err != nil {
		return Effects{}, err
	}
	next, err := encode(nil, state)
	if err != nil {
		return Effects{}, failed(err, "%s of %s: the new state does not encode: %s", m.Name, a.id, plainText(err))
	}
	if limit := a.behavior.stateBytesMax; len(next) > limit {
		return Effects{}, failed(nil, "%s of %s: the new state would have %d bytes, more than the %d that actors.MaxState allows",
			m.Name, a.id, len(next), limit)
	}
	a.state = state
	if bytes.Equal(next, a.last) {
		return Effects{Reply: reply}, nil
	}
	a.last = next
	return Effects{Reply: reply, Changed: true, State: next}, nil
}

// answer ends a query, after making sure that it was one.
func (a *Activation) answer(m *Method, rep proto.Message, err error) (Effects, error) {
	if !a.unchanged() {
		return Effects{}, a.restored(failed(err, "%s of %s: the query's handler changed the state; make it a command, or change a copy", m.Name, a.id))
	}
	if err == nil {
		reply, err := a.encodeReply(m, rep)
		return Effects{Reply: reply}, err
	}
	if r := RejectionOf(err); r != nil {
		return Effects{Rejection: storedRejection(r)}, nil
	}
	return Effects{}, failed(err, "%s of %s: %v", m.Name, a.id, err)
}

// unchanged reports whether state is still what last says.
func (a *Activation) unchanged() bool {
	buf, _ := a.behavior.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	defer a.behavior.buffers.Put(buf)
	now, err := encode((*buf)[:0], a.state)
	*buf = now
	return err == nil && bytes.Equal(now, a.last)
}

func (a *Activation) encodeReply(m *Method, rep proto.Message) ([]byte, error) {
	reply, err := encode(nil, rep)
	if err != nil {
		return nil, failed(err, "%s of %s: the reply does not encode: %s", m.Name, a.id, plainText(err))
	}
	if limit := a.behavior.replyBytesMax; len(reply) > limit {
		return nil, failed(nil, "%s of %s: the reply has %d bytes, more than the %d that actors.MaxReply allows",
			m.Name, a.id, len(reply), limit)
	}
	return reply, nil
}

// restored takes back what a handler did to the state and passes err on. The
// message is a new one, so that nothing the handler kept refers into it.
func (a *Activation) restored(err error) error {
	state := a.behavior.state.New().Interface()
	if bad := proto.Unmarshal(a.last, state); bad != nil {
		a.broken = true
		return failed(bad, "%s: the state does not decode any more: %s; activate the actor again", a.id, plainText(bad))
	}
	a.state = state
	return err
}
