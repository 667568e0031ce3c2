package transport

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Types is the closed set of messages that may cross the network. It never
// changes and may be used from any goroutine.
type Types struct {
	names   []string
	types   []protoreflect.MessageType
	numbers map[protoreflect.MessageDescriptor]uint64
	byName  map[string]protoreflect.MessageType
}

// NewTypes allows the types of the given messages. A type's number is its
// position, counted from 1; numbers mean nothing beyond one connection.
func NewTypes(prototypes []proto.Message) (*Types, error) {
	if len(prototypes) == 0 || len(prototypes) > typesMax {
		return nil, fmt.Errorf("%d message types given; 1 to %d are possible", len(prototypes), typesMax)
	}
	t := &Types{
		numbers: make(map[protoreflect.MessageDescriptor]uint64),
		byName:  make(map[string]protoreflect.MessageType),
	}
	for _, m := range prototypes {
		mt := m.ProtoReflect().Type()
		name := string(mt.Descriptor().FullName())
		switch {
		case t.byName[name] != nil:
			return nil, fmt.Errorf("message type %s is given twice", name)
		case strings.HasPrefix(name, "actor."):
			return nil, fmt.Errorf("message type %s steers actors and never crosses the network", name)
		}
		t.names = append(t.names, name)
		t.types = append(t.types, mt)
		t.byName[name] = mt
		t.numbers[mt.Descriptor()] = uint64(len(t.types))
	}
	return t, nil
}

// Names returns the full names in the order of their numbers.
func (t *Types) Names() []string { return t.names }

// number returns the number of a message's type, 0 if it is not allowed.
func (t *Types) number(m proto.Message) uint64 {
	return t.numbers[m.ProtoReflect().Descriptor()]
}

// mapped translates a peer's numbers, given by its names in order, to our types.
// Types we do not know are nil; their names are returned too.
func (t *Types) mapped(names []string) (types []protoreflect.MessageType, unknown []string) {
	types = make([]protoreflect.MessageType, len(names))
	for i, name := range names {
		types[i] = t.byName[name]
		if types[i] == nil {
			unknown = append(unknown, name)
		}
	}
	return types, unknown
}
