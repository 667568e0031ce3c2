package supervisor

import (
	"github.com/asynkron/protoactor-go/actor"
)

// A panic in an actor's *actor.Stopping or *actor.Stopped leaves protoactor with
// an actor that never ends: nobody is told of its end, its name stays taken and
// its parent cannot stop. The guards below recover there. What is recovered is
// given to report, which may be nil.

// Guard wraps an actor's producer. It costs nothing for other messages.
func Guard(produce actor.Producer, report func(who *actor.PID, reason any)) actor.Producer {
	return func() actor.Actor {
		inner := produce()
		g := guarded{inner: inner, report: report}
		if strategy, ok := inner.(actor.SupervisorStrategy); ok {
			// protoactor asks the actor itself first; so it must find it here.
			return &guardedSupervisor{guarded: g, SupervisorStrategy: strategy}
		}
		return &g
	}
}

type guarded struct {
	inner  actor.Actor
	report func(who *actor.PID, reason any)
}

type guardedSupervisor struct {
	guarded
	actor.SupervisorStrategy
}

// Receive implements actor.Actor.
func (g *guarded) Receive(ctx actor.Context) {
	if isEnding(ctx.Message()) {
		defer recoverEnding(ctx.Self(), g.report)
	}
	g.inner.Receive(ctx)
}

// GuardMiddleware does the same for an actor of which only the Props are at hand.
// It costs an allocation for every message; prefer Guard where many pass.
func GuardMiddleware(report func(who *actor.PID, reason any)) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			if isEnding(envelope.Message) {
				defer recoverEnding(ctx.Self(), report)
			}
			next(ctx, envelope)
		}
	}
}

// CountMiddleware counts the messages that an actor takes. count is called in its
// mailbox, before the message is handled. It costs an allocation for every
// message.
func CountMiddleware(count func(who *actor.PID, message any)) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(ctx actor.ReceiverContext, envelope *actor.MessageEnvelope) {
			count(ctx.Self(), envelope.Message)
			next(ctx, envelope)
		}
	}
}

func isEnding(message any) bool {
	switch message.(type) {
	case *actor.Stopping, *actor.Stopped:
		return true
	}
	return false
}

func recoverEnding(who *actor.PID, report func(who *actor.PID, reason any)) {
	if reason := recover(); reason != nil && report != nil {
		report(who, reason)
	}
}
