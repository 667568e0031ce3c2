package actors

import (
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	// StateBytesMax is the default of [MaxState]: 1 MiB. The whole state is
	// shipped to every slave by each turn that changes it, so states are meant to
	// be tens of KiB; this bound only keeps one actor from stalling its partition.
	StateBytesMax = 1 << 20
	// ReplyBytesMax is the default of [MaxReply]: 1 MiB, since a command's reply
	// is stored with its effects to answer repeated requests.
	ReplyBytesMax = 1 << 20
)

// Behavior is a kind of actor: its state's message and its methods. It is
// constant after [Define].
type Behavior struct {
	kind    string
	version uint64
	state   protoreflect.MessageType
	methods []*Method
	byName  map[string]*Method

	stateBytesMax, replyBytesMax int
	// buffers holds *[]byte for encodings that are compared and thrown away.
	buffers sync.Pool
}

// Method is one method of a behavior: the contract that API and command line
// work by, and the handler behind it.
type Method struct {
	Kind, Name string
	// Query says that the method only reads.
	Query bool
	// Request and Reply are the messages it takes and gives.
	Request, Reply protoreflect.MessageType

	behavior *Behavior
	run      func(a *Activation, in Input) (Effects, error)
}

// String gives kind.Name.
func (m *Method) String() string { return m.Kind + "." + m.Name }

// Option is a part of a behavior, given to [Define]: a handler made by [On] or
// [Read], or a setting.
type Option interface{ apply(b *Behavior) }

type option func(b *Behavior)

func (o option) apply(b *Behavior) { o(b) }

// Version numbers the behavior's code and state; the default is 1. Raise it when
// the state's meaning changes: a node that knows only an older version never
// becomes master of newer state.
func Version(n uint64) Option {
	return option(func(b *Behavior) {
		if n == 0 {
			programmerError(b.kind, "version 0 means no version; count from 1")
		}
		b.version = n
	})
}

// MaxState bounds the encoded state in bytes; a turn that would exceed it fails.
// The default is [StateBytesMax].
func MaxState(bytes int) Option {
	return option(func(b *Behavior) {
		if bytes <= 0 {
			programmerError(b.kind, "MaxState(%d) leaves no room for any state", bytes)
		}
		b.stateBytesMax = bytes
	})
}

// MaxReply bounds an encoded reply in bytes; a turn that would exceed it fails.
// The default is [ReplyBytesMax].
func MaxReply(bytes int) Option {
	return option(func(b *Behavior) {
		if bytes <= 0 {
			programmerError(b.kind, "MaxReply(%d) leaves no room for any reply", bytes)
		}
		b.replyBytesMax = bytes
	})
}

// Define makes a behavior of a kind's name and its handlers. It panics, saying
// why, where the program is wrong: a bad name, a token of another kind, a method
// defined twice, a nil handler, handlers that disagree about the state's message,
// or no handler at all.
func Define(kind string, options ...Option) *Behavior {
	if err := ValidateKind(kind); err != nil {
		programmerError(kind, "%v", err)
	}
	b := &Behavior{
		kind:          kind,
		version:       1,
		byName:        make(map[string]*Method),
		stateBytesMax: StateBytesMax,
		replyBytesMax: ReplyBytesMax,
	}
	for i, o := range options {
		if o == nil {
			programmerError(kind, "option %d is nil", i+1)
		}
		o.apply(b)
	}
	if len(b.methods) == 0 {
		programmerError(kind, "it has no methods; give it handlers with actors.On and actors.Read")
	}
	return b
}

// Kind is the name under which callers find the behavior's actors.
func (b *Behavior) Kind() string { return b.kind }

// Version is the number of the behavior's code and state; see [Version].
func (b *Behavior) Version() uint64 { return b.version }

// State is the message that holds an actor's state.
func (b *Behavior) State() protoreflect.MessageType { return b.state }

// Methods gives the methods in the order of their definition, in a slice of the
// caller's own.
func (b *Behavior) Methods() []*Method { return slices.Clone(b.methods) }

// Method finds a method by its exact name.
func (b *Behavior) Method(name string) (*Method, bool) {
	m, ok := b.byName[name]
	return m, ok
}

// add takes a method into the behavior, or panics.
func (b *Behavior) add(m *Method, state protoreflect.MessageType) {
	switch {
	case !validMethod(m.Name):
		programmerError(b.kind, "%q is not a method's name: use letters, digits and _, and start with a letter", m.Name)
	case m.Kind != b.kind:
		programmerError(b.kind, "the token %s belongs to another kind", m)
	case b.byName[m.Name] != nil:
		programmerError(b.kind, "method %s is defined twice", m.Name)
	case b.state != nil && b.state.Descriptor() != state.Descriptor():
		programmerError(b.kind, "the handler of %s works on %s, those before it on %s; one kind has one state",
			m.Name, state.Descriptor().FullName(), b.state.Descriptor().FullName())
	}
	b.state = state
	m.behavior = b
	b.methods = append(b.methods, m)
	b.byName[m.Name] = m
}

// programmerError ends a program whose behaviors are wrong before it starts.
func programmerError(kind, format string, args ...any) {
	panic(fmt.Sprintf("actors.Define(%q): ", kind) + fmt.Sprintf(format, args...))
}

// messageType gives the type of a generated message from its pointer type.
func messageType[M proto.Message]() protoreflect.MessageType {
	var zero M
	return zero.ProtoReflect().Type()
}

// definedType is messageType with a clear panic where M is no generated message.
func definedType[M proto.Message](kind, what string) protoreflect.MessageType {
	var zero M
	if any(zero) == nil {
		programmerError(kind, "%s is an interface; name a generated message, such as *pb.AddRequest", what)
	}
	return zero.ProtoReflect().Type()
}
