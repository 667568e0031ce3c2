package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Anything is the default workload: random requests to random methods of random
// actors of every behavior, a few a second. It needs to know nothing of the
// behaviors, since their contracts say what a request looks like.
func Anything(c *Client) {
	behaviors := c.w.cfg.Behaviors
	if len(behaviors) == 0 {
		return
	}
	for c.Running() {
		b := behaviors[c.rng.IntN(len(behaviors))]
		methods := b.Methods()
		m := methods[c.rng.IntN(len(methods))]
		actor := c.Pick(b.Kind(), c.w.cfg.Actors)
		request := c.w.invent(c.rng, m.Request)
		// The history has it, whatever comes of it.
		_, _ = c.Invoke(c.Context(), actors.Invocation{Actor: actor, Method: m.Name, Payload: request, Query: m.Query})
		c.Think()
	}
}

// Think waits as long as a client does between two operations: mostly a few
// dozen milliseconds, sometimes not at all.
func (c *Client) Think() {
	if c.rng.IntN(4) > 0 {
		c.Sleep(time.Duration(c.rng.ExpFloat64() * float64(80*time.Millisecond)))
	}
}

// keyring hands out actors of one kind. An actor that has enough operations is
// replaced by a fresh one.
type keyring struct {
	generation []int
	uses       []int
}

// Pick chooses one of n actors of a kind.
func (c *Client) Pick(kind string, n int) actors.ActorID {
	k := c.w.keys[kind]
	if k == nil {
		k = &keyring{}
		c.w.keys[kind] = k
	}
	for len(k.uses) < n {
		k.uses, k.generation = append(k.uses, 0), append(k.generation, 0)
	}
	i := c.rng.IntN(n)
	if k.uses[i] >= c.w.cfg.OpsMax {
		k.uses[i] = 0
		k.generation[i]++
	}
	k.uses[i]++
	if k.generation[i] == 0 {
		return actors.ActorID{Kind: kind, Key: fmt.Sprintf("a%d", i)}
	}
	return actors.ActorID{Kind: kind, Key: fmt.Sprintf("a%d.%d", i, k.generation[i])}
}

// invent makes up a request. Numbers are small and mostly 1, texts come from a few
// words, so that requests have to do with one another.
func (w *World) invent(r *rand.Rand, t protoreflect.MessageType) []byte {
	m := t.New()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.IsList() || f.IsMap() || f.Message() != nil {
			continue
		}
		if v, ok := inventValue(r, f); ok {
			m.Set(f, v)
		}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		w.violate("a made-up request encodes", "%s: %v", t.Descriptor().FullName(), err)
	}
	return b
}

func inventValue(r *rand.Rand, f protoreflect.FieldDescriptor) (protoreflect.Value, bool) {
	n := int64(1)
	if r.IntN(4) == 0 {
		n = r.Int64N(10)
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0), true
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n), true
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(n)), true
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n)), true
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n)), true
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(word(r)), true
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(word(r))), true
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n)), true
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n)), true
	default:
		return protoreflect.Value{}, false
	}
}

// word is one of a few, so that compare-and-swap and the like meet what they
// expect now and then; one in four is likely to be new.
func word(r *rand.Rand) string {
	if r.IntN(4) == 0 {
		return fmt.Sprintf("w%d", r.IntN(1000))
	}
	return string(rune('a' + r.IntN(4)))
}

// method finds a method of the behaviors of the run.
func (w *World) method(kind, name string) (*actors.Method, error) {
	for _, b := range w.cfg.Behaviors {
		if b.Kind() != kind {
			continue
		}
		if m, ok := b.Method(name); ok {
			return m, nil
		}
		return nil, &actors.Error{Code: messages.Code_CODE_INVALID, Message: fmt.Sprintf("the behavior %s has no method %s", kind, name)}
	}
	return nil, &actors.Error{Code: messages.Code_CODE_INVALID, Message: fmt.Sprintf("no behavior %s; add it to sim.Config.Behaviors", kind)}
}

// answered looks at an acknowledgement: it must come from the one master of its
// term.
func (w *World) answered(op *Op, reply *messages.Reply) {
	if reply.GetReplayed() {
		w.probe(probeReplayed)
	}
	if op.Attempts > 1 {
		w.probe("an operation needed several attempts")
	}
	if reply.GetReplayed() || reply.GetMasterNode() == "" || reply.GetTerm() == 0 {
		return
	}
	w.claim(reply.GetPartition(), reply.GetTerm(), reply.GetMasterNode())
}
