package actors

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Client carries calls to actors, wherever they live. cluster's client is one; a
// Tx is not. Implementations may be used by many goroutines at once.
type Client interface {
	// Invoke calls one method and gives the reply message in protobuf's binary
	// form. Its errors are [*Error]s. It returns when the context ends.
	Invoke(ctx context.Context, inv Invocation) ([]byte, error)
}

// Invocation is one call, untyped.
type Invocation struct {
	Actor  ActorID
	Method string
	// Payload is the request message in protobuf's binary form.
	Payload []byte
	// Query says that the method only reads, so that repeating it is harmless.
	Query bool
}

// Command is the token of a method that may change its actor. It carries no
// code: a caller imports the token, a behavior gives it a handler with [On].
type Command[Req, Rep proto.Message] struct{ kind, name string }

// Query is the token of a method that only reads its actor; see [Read].
type Query[Req, Rep proto.Message] struct{ kind, name string }

// NewCommand makes the token of a command: name is the method's, kind its
// behavior's. Req and Rep are pointers to generated messages. [Define] checks the
// names.
func NewCommand[Req, Rep proto.Message](kind, name string) Command[Req, Rep] {
	return Command[Req, Rep]{kind: kind, name: name}
}

// NewQuery makes the token of a query, as [NewCommand] does.
func NewQuery[Req, Rep proto.Message](kind, name string) Query[Req, Rep] {
	return Query[Req, Rep]{kind: kind, name: name}
}

// Kind is the kind of the actors that have the method.
func (c Command[Req, Rep]) Kind() string { return c.kind }

// Name is the method's name.
func (c Command[Req, Rep]) Name() string { return c.name }

// String gives kind.Name.
func (c Command[Req, Rep]) String() string { return c.kind + "." + c.name }

// Kind is the kind of the actors that have the method.
func (q Query[Req, Rep]) Kind() string { return q.kind }

// Name is the method's name.
func (q Query[Req, Rep]) Name() string { return q.name }

// String gives kind.Name.
func (q Query[Req, Rep]) String() string { return q.kind + "." + q.name }

// Call runs the command on the actor with this key and waits for its reply, at
// most until the context ends. Without an error, the effects are durable and
// happened once. Errors are [*Error]s.
func (c Command[Req, Rep]) Call(ctx context.Context, client Client, key string, msg Req) (Rep, error) {
	return invoke[Req, Rep](ctx, client, Invocation{Actor: ActorID{c.kind, key}, Method: c.name}, msg)
}

// Call runs the query on the actor with this key and waits for its reply, at
// most until the context ends. The reply shows every command that was answered
// before the call began. Errors are [*Error]s.
func (q Query[Req, Rep]) Call(ctx context.Context, client Client, key string, msg Req) (Rep, error) {
	return invoke[Req, Rep](ctx, client, Invocation{Actor: ActorID{q.kind, key}, Method: q.name, Query: true}, msg)
}

func invoke[Req, Rep proto.Message](ctx context.Context, client Client, inv Invocation, msg Req) (Rep, error) {
	var none Rep
	if err := ValidateKey(inv.Actor.Key); err != nil {
		return none, err
	}
	payload, err := encode(nil, msg)
	if err != nil {
		return none, invalidf("%s.%s: the request does not encode: %v", inv.Actor.Kind, inv.Method, err)
	}
	inv.Payload = payload
	data, err := client.Invoke(ctx, inv)
	if err != nil {
		return none, err
	}
	rep := messageType[Rep]().New().Interface()
	if err := proto.Unmarshal(data, rep); err != nil {
		return none, fmt.Errorf("%s.%s was answered, but not with a %s: %w; caller and behavior have different contracts",
			inv.Actor.Kind, inv.Method, rep.ProtoReflect().Descriptor().FullName(), err)
	}
	return rep.(Rep), nil
}
