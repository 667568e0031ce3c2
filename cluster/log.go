package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// newSystem returns the actor system of a node. Its address is set before anything
// is spawned, because a PID keeps the address of its birth.
func newSystem(nodeID string, logger *slog.Logger) *actor.ActorSystem {
	quiet := slog.New(atLeast{logger.Handler(), slog.LevelWarn}).With("part", "actors")
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }),
		// A reply to a caller that left is nothing to look at, nor worth the
		// goroutine that protoactor keeps for a second to count them.
		actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
	system.ProcessRegistry.Address = nodeID
	return system
}

// atLeast drops records below a level: protoactor reports at Info what is of
// interest to its authors only.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled implements slog.Handler.
func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup implements slog.Handler.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.Handler.WithGroup(name), h.level}
}
