package replica

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// decodeEffects decodes a messages.Entry as proto.Unmarshal does, at a quarter of
// the cost: the turns of an entry share their memory, and bytes refer to data,
// which must not change. Every slave decodes every turn, so it counts. Fields that
// this program does not know are skipped. FuzzDecodeEffects holds the two equal.
func decodeEffects(data []byte) (*messages.Entry, error) {
	count := 0
	err := eachField(data, func(tag, _ uint64, _ []byte) error {
		if tag == 3<<3|length {
			count++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slab := make([]struct {
		turn    messages.Turn
		request messages.RequestID
		state   messages.StateChange
		whole   messages.StateChange_Whole
	}, count)
	e := &messages.Entry{Turns: make([]*messages.Turn, 0, count)}
	return e, eachField(data, func(tag, number uint64, value []byte) error {
		switch tag {
		case 1<<3 | varint:
			e.Term = number
		case 2<<3 | varint:
			e.Time = int64(number)
		case 3<<3 | length:
			s, last := &slab[len(e.GetTurns())], (*messages.Turn)(nil)
			if n := len(e.GetTurns()); n > 0 {
				last = e.Turns[n-1]
			}
			e.Turns = append(e.Turns, &s.turn)
			return decodeTurn(value, last, &s.turn, &s.request, &s.state, &s.whole)
		}
		return nil
	})
}

func decodeTurn(data []byte, last, t *messages.Turn, id *messages.RequestID, change *messages.StateChange, whole *messages.StateChange_Whole) error {
	return eachField(data, func(tag, number uint64, value []byte) error {
		switch tag {
		case 1<<3 | length:
			t.Kind = shared(value, last.GetKind())
		case 2<<3 | length:
			t.Key = string(value)
		case 3<<3 | length:
			t.Method = shared(value, last.GetMethod())
		case 4<<3 | length:
			t.Request = id
			return decodeRequestID(value, id)
		case 5<<3 | varint:
			t.BehaviorVersion = number
		case 6<<3 | length:
			t.State = change
			return decodeChange(value, change, whole)
		case 7<<3 | length:
			t.Reply = value
		case 8<<3 | length:
			if t.GetRejection() == nil {
				t.Rejection = &messages.Rejection{}
			}
			return proto.UnmarshalOptions{Merge: true, DiscardUnknown: true}.Unmarshal(value, t.GetRejection())
		case 9<<3 | fixed64:
			t.Digest = number
		case 20<<3 | varint:
			t.Version = number
		}
		return nil
	})
}

// shared returns the text of b, without memory of its own if it is that of before.
func shared(b []byte, before string) string {
	if string(b) == before {
		return before
	}
	return string(b)
}

func decodeRequestID(data []byte, id *messages.RequestID) error {
	return eachField(data, func(tag, number uint64, value []byte) error {
		switch tag {
		case 1<<3 | length:
			id.Client = value
		case 2<<3 | varint:
			id.Sequence = number
		case 3<<3 | varint:
			id.LowWater = number
		}
		return nil
	})
}

func decodeChange(data []byte, change *messages.StateChange, whole *messages.StateChange_Whole) error {
	return eachField(data, func(tag, number uint64, value []byte) error {
		switch tag {
		case 1<<3 | length:
			whole.Whole = value
			change.Change = whole
		case 2<<3 | varint:
			change.Change = &messages.StateChange_Deleted{Deleted: number != 0}
		}
		return nil
	})
}

// The wire types of the fields, as they stand in their tags.
const (
	varint  = uint64(protowire.VarintType)
	fixed64 = uint64(protowire.Fixed64Type)
	length  = uint64(protowire.BytesType)
)

// eachField visits the fields of a message by their tags, field number and wire
// type: number for numeric ones, value for the others.
func eachField(data []byte, visit func(tag, number uint64, value []byte) error) error {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("malformed entry: %w", protowire.ParseError(n))
		}
		data = data[n:]
		var number uint64
		var value []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(data)
			if n > 0 {
				value = slices.Clip(value)
			}
		default:
			n = protowire.ConsumeFieldValue(field, kind, data)
		}
		if n < 0 {
			return fmt.Errorf("malformed entry: %w", protowire.ParseError(n))
		}
		if err := visit(protowire.EncodeTag(field, kind), number, value); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}
