package transport

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// depthMax bounds how deep received messages may nest; ours nest 5 deep.
const depthMax = 100

// decodeMessage decodes a message from another node. Whatever the bytes are, it
// neither panics nor takes memory out of proportion.
func decodeMessage(t protoreflect.MessageType, b []byte, elementsMax int) (m proto.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("%w: %s: panic while decoding: %v", errPayload, t.Descriptor().FullName(), r)
		}
	}()
	// An element takes 2 bytes at least: a short message cannot have too many.
	if len(b)/2 > elementsMax {
		left := elementsMax
		if err := countElements(t.Descriptor(), b, &left, 0); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errPayload, t.Descriptor().FullName(), err)
		}
	}
	m = t.New().Interface()
	if err := (proto.UnmarshalOptions{RecursionLimit: depthMax}).Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", errPayload, t.Descriptor().FullName(), err)
	}
	return m, nil
}

// countElements takes the number of fields in b, those of its sub-messages
// included, from left, and fails when that is not enough.
func countElements(d protoreflect.MessageDescriptor, b []byte, left *int, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("nested deeper than %d", depthMax)
	}
	fields := d.Fields()
	for len(b) > 0 {
		if *left--; *left < 0 {
			return fmt.Errorf("too many elements")
		}
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return protowire.ParseError(n)
			}
			b = b[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if f := fields.ByNumber(number); f != nil && f.Message() != nil {
			if err := countElements(f.Message(), value, left, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
