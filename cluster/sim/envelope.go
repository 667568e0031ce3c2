package sim

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Fields of an envelope, the form in which a message crosses the network. It is
// bytes on purpose: no two nodes of a run ever share memory.
const (
	fieldTarget protowire.Number = iota + 1
	fieldSenderNode
	fieldSender
	fieldType
	fieldBody
)

// seal encodes a message for the actor target of another node. A message that is
// not a protobuf message cannot leave its node.
func seal(target string, message any) ([]byte, error) {
	_, body, sender := actor.UnwrapEnvelope(message)
	m, ok := body.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("send %T to %s on another node: it is not a protobuf message", body, target)
	}
	var b []byte
	b = appendString(b, fieldTarget, target)
	if sender != nil {
		b = appendString(b, fieldSenderNode, sender.Address)
		b = appendString(b, fieldSender, sender.Id)
	}
	b = appendString(b, fieldType, string(m.ProtoReflect().Descriptor().FullName()))
	opts := proto.MarshalOptions{Deterministic: true}
	b = protowire.AppendTag(b, fieldBody, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(opts.Size(m)))
	b, err := opts.MarshalAppend(b, m)
	if err != nil {
		return nil, fmt.Errorf("encode %T for %s on another node: %w", body, target, err)
	}
	return b, nil
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, s)
}

// letter is an opened envelope.
type letter struct {
	target string
	sender *actor.PID
	body   proto.Message
}

// open decodes an envelope into messages of the receiver's own.
func open(b []byte) (letter, error) {
	var (
		l        letter
		from     actor.PID
		typeName string
		body     []byte
	)
	for len(b) > 0 {
		field, _, n := protowire.ConsumeTag(b)
		if n < 0 {
			return l, fmt.Errorf("open an envelope: %w", protowire.ParseError(n))
		}
		value, m := protowire.ConsumeBytes(b[n:])
		if m < 0 {
			return l, fmt.Errorf("open an envelope: %w", protowire.ParseError(m))
		}
		b = b[n+m:]
		switch field {
		case fieldTarget:
			l.target = string(value)
		case fieldSenderNode:
			from.Address = string(value)
		case fieldSender:
			from.Id = string(value)
		case fieldType:
			typeName = string(value)
		case fieldBody:
			body = value
		}
	}
	if from.Id != "" {
		l.sender = actor.NewPID(from.Address, from.Id)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(typeName))
	if err != nil {
		return l, fmt.Errorf("open an envelope with a %q: %w", typeName, err)
	}
	l.body = t.New().Interface()
	if err := proto.Unmarshal(body, l.body); err != nil {
		return l, fmt.Errorf("open an envelope with a %q: %w", typeName, err)
	}
	return l, nil
}
