package actors

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// On gives a command its handler. S, the state, is a pointer to a generated
// message; an actor that was never written to has the empty one.
//
// What the handler does to tx.State takes effect when it returns a nil error. A
// nil reply stands for the empty message. The request and the reply are the
// handler's own: it may keep parts of the request in the state, and parts of the
// state in the reply.
func On[S, Req, Rep proto.Message](c Command[Req, Rep], handle func(tx *Tx[S], msg Req) (Rep, error)) Option {
	return option(func(b *Behavior) {
		m, state := newMethod[S, Req, Rep](b, c.kind, c.name, handle == nil)
		m.run = func(a *Activation, in Input) (Effects, error) {
			req := m.Request.New().Interface().(Req)
			if err := decodePayload(m, in.Payload, req); err != nil {
				return Effects{}, err
			}
			tx := &Tx[S]{State: a.state.(S), turn: turn{actor: a.id, now: in.Now, seed: in.Seed}}
			defer tx.end()
			rep, err := handle(tx, req)
			return a.settle(m, tx.State, rep, err)
		}
		b.add(m, state)
	})
}

// Read gives a query its handler. The handler must not change v.State: where it
// did, the query fails and the change is dropped. A nil reply stands for the
// empty message.
func Read[S, Req, Rep proto.Message](q Query[Req, Rep], handle func(v View[S], msg Req) (Rep, error)) Option {
	return option(func(b *Behavior) {
		m, state := newMethod[S, Req, Rep](b, q.kind, q.name, handle == nil)
		m.Query = true
		m.run = func(a *Activation, in Input) (Effects, error) {
			req := m.Request.New().Interface().(Req)
			if err := decodePayload(m, in.Payload, req); err != nil {
				return Effects{}, err
			}
			rep, err := handle(View[S]{State: a.state.(S), actor: a.id, now: in.Now}, req)
			return a.answer(m, rep, err)
		}
		b.add(m, state)
	})
}

// newMethod describes a method whose handler works on S.
func newMethod[S, Req, Rep proto.Message](b *Behavior, kind, name string, noHandler bool) (*Method, protoreflect.MessageType) {
	if noHandler {
		programmerError(b.kind, "the handler of %s.%s is nil", kind, name)
	}
	m := &Method{
		Kind:    kind,
		Name:    name,
		Request: definedType[Req](b.kind, "the request of "+name),
		Reply:   definedType[Rep](b.kind, "the reply of "+name),
	}
	return m, definedType[S](b.kind, "the state of "+name)
}

// decodePayload reads a request. Its depth is bounded so that no caller can make
// the decoder recurse without end.
func decodePayload(m *Method, payload []byte, req proto.Message) error {
	err := proto.UnmarshalOptions{RecursionLimit: messageDepthMax}.Unmarshal(payload, req)
	if err == nil {
		return nil
	}
	e := invalidf("%s: the payload is not a %s: %s", m, m.Request.Descriptor().FullName(), plainText(err))
	e.Err = err
	return e
}
