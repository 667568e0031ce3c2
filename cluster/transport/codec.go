package transport

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Envelope is one message on its way to another node.
//
// Its form on the wire is
//
//	type number | target | sender | the message in protobuf's form
//
// where the number is a varint and a name is one of
//
//	0                  no name (sender only)
//	1, length, bytes   a name said once
//	2, length, bytes   a name that gets the connection's next number: 3, 4, ...
//	3, 4, ...          the name that got this number
//
// so that a busy actor's name costs one byte after its first message.
type Envelope struct {
	// Target is the actor's name on the receiving node.
	Target string
	// Sender is the name of the actor on the sending node to answer; may be empty.
	Sender  string
	Message proto.Message
}

const (
	nameNone   = 0
	nameInline = 1
	nameDefine = 2
	nameFirst  = 3

	// nameMax bounds an actor's name in bytes.
	nameMax = 255
	// namesMax bounds the names a connection numbers; later ones go inline.
	namesMax = 4096
)

// Errors of the decoder. After errEnvelope the two sides may disagree about
// numbered names, so that the connection must end; after the others the envelope
// is skipped.
var (
	errEnvelope    = errors.New("malformed envelope")
	errUnknownType = errors.New("unknown message type")
	errPayload     = errors.New("malformed message")
)

// EncodeEnvelope appends an envelope that stands for itself, with its names in
// full, to dst.
func EncodeEnvelope(t *Types, dst []byte, e Envelope) ([]byte, error) {
	number := t.number(e.Message)
	if number == 0 {
		return dst, fmt.Errorf("encode %s for %s: the type is not allowed", e.Message.ProtoReflect().Descriptor().FullName(), e.Target)
	}
	if !nameOK(e.Target) || len(e.Sender) > nameMax {
		return dst, fmt.Errorf("encode a message for %.40q from %.40q: names must have 1 to %d bytes", e.Target, e.Sender, nameMax)
	}
	var enc encoder
	enc.inline = true
	dst = enc.header(dst, number, e.Target, e.Sender)
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, e.Message)
}

// DecodeEnvelope decodes what EncodeEnvelope made with the same types.
func DecodeEnvelope(t *Types, b []byte) (Envelope, error) {
	d := decoder{types: t.types, elementsMax: 65536}
	return d.decode(b)
}

func nameOK(name string) bool { return name != "" && len(name) <= nameMax }

// encoder numbers the names of one connection. It is not safe for concurrent use.
type encoder struct {
	// inline turns numbering off: then bytes may be lost between two envelopes.
	inline bool
	names  map[string]uint64
	// defined are the names that the newest header numbered, for undo.
	defined []string
}

// header appends everything but the message.
func (e *encoder) header(dst []byte, number uint64, target, sender string) []byte {
	e.defined = e.defined[:0]
	dst = binary.AppendUvarint(dst, number)
	dst = e.name(dst, target)
	if sender == "" {
		return append(dst, nameNone)
	}
	return e.name(dst, sender)
}

func (e *encoder) name(dst []byte, name string) []byte {
	form := byte(nameInline)
	if !e.inline {
		if n, ok := e.names[name]; ok {
			return binary.AppendUvarint(dst, n)
		}
		if len(e.names) < namesMax {
			if e.names == nil {
				e.names = make(map[string]uint64)
			}
			e.names[name] = nameFirst + uint64(len(e.names))
			e.defined = append(e.defined, name)
			form = nameDefine
		}
	}
	dst = append(dst, form)
	dst = binary.AppendUvarint(dst, uint64(len(name)))
	return append(dst, name...)
}

// undo forgets the names that the newest header numbered, as it is not sent.
func (e *encoder) undo() {
	for _, name := range e.defined {
		delete(e.names, name)
	}
	e.defined = e.defined[:0]
}

// reset starts over, for a new connection.
func (e *encoder) reset() {
	clear(e.names)
	e.defined = e.defined[:0]
}

// decoder is the other end of an encoder.
type decoder struct {
	// types are ours by the peer's numbers; nil where we do not know the type.
	types       []protoreflect.MessageType
	names       []string
	elementsMax int
}

// decode returns the envelope's message as a new value that shares nothing with
// b. On errUnknownType and errPayload the other fields are set.
func (d *decoder) decode(b []byte) (Envelope, error) {
	number, n := binary.Uvarint(b)
	if n <= 0 {
		return Envelope{}, fmt.Errorf("%w: no type", errEnvelope)
	}
	target, rest, err := d.name(b[n:])
	if err != nil {
		return Envelope{}, fmt.Errorf("%w: target %w", errEnvelope, err)
	}
	if target == "" {
		return Envelope{}, fmt.Errorf("%w: no target", errEnvelope)
	}
	sender, payload, err := d.name(rest)
	if err != nil {
		return Envelope{}, fmt.Errorf("%w: sender %w", errEnvelope, err)
	}
	e := Envelope{Target: target, Sender: sender}
	if number == 0 || number > uint64(len(d.types)) || d.types[number-1] == nil {
		return e, errUnknownType
	}
	e.Message, err = decodeMessage(d.types[number-1], payload, d.elementsMax)
	return e, err
}

// name reads one name; empty means none was given.
func (d *decoder) name(b []byte) (name string, rest []byte, err error) {
	form, n := binary.Uvarint(b)
	if n <= 0 {
		return "", nil, errors.New("is cut off")
	}
	b = b[n:]
	if form == nameNone {
		return "", b, nil
	}
	if form >= nameFirst {
		if form-nameFirst >= uint64(len(d.names)) {
			return "", nil, fmt.Errorf("number %d was not given out", form)
		}
		return d.names[form-nameFirst], b, nil
	}
	size, n := binary.Uvarint(b)
	if n <= 0 || size == 0 || size > nameMax || size > uint64(len(b)-n) {
		return "", nil, errors.New("has a bad length")
	}
	name = string(b[n : n+int(size)])
	if form == nameDefine {
		if len(d.names) == namesMax {
			return "", nil, errors.New("is one too many")
		}
		d.names = append(d.names, name)
	}
	return name, b[n+int(size):], nil
}
