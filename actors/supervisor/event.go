package supervisor

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// EventKind says what happened to a child.
type EventKind uint8

// The kinds of Event.
const (
	// ChildFailed: it failed and is being stopped; it comes back at RestartAt.
	ChildFailed EventKind = iota + 1
	// Restarted: it was spawned anew.
	Restarted
	// GaveUp: it failed once too often, or in a way that no restart heals, and
	// stays stopped.
	GaveUp
	// Quarantined: it was stopped on purpose and stays so until released.
	Quarantined
)

var kindNames = [...]string{"", "failed", "restarted", "gave up", "quarantined"}

func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is one step of supervision, for logs, metrics and the tree that people
// look at.
type Event struct {
	Kind EventKind
	// Who is the child's name.
	Who string
	// Why is what it failed with, or the reason that was given.
	Why string
	// When is the node's clock at the newest tick, nanoseconds since 1970.
	When int64
	// Attempt numbers the failure or restart within the policy's window.
	Attempt int
	// RestartAt is when the child comes back, with ChildFailed.
	RestartAt int64
}

// Failed tells a parent that the Strategy stopped one of its children. The parent
// spawns it anew when a tick passes RestartAtNanos, unless GiveUp.
type Failed struct {
	PID    *actor.PID
	Reason any
	// Attempt numbers the failure within the policy's window.
	Attempt        int
	RestartAtNanos int64
	// GiveUp says that the child is not to come back.
	GiveUp bool
}

// Report tells whoever can do better that a child was given up. The node's root
// gets it and tells the ring owner, who places the replica elsewhere.
type Report struct {
	// Name is the child's name, such as "replica/7".
	Name   string
	PID    *actor.PID
	Reason any
	// Failures is how many there were within the policy's window.
	Failures int
	// When is the node's clock, nanoseconds since 1970.
	When int64
}

// why is a failure's reason as text.
func why(reason any) string {
	if err, ok := reason.(error); ok {
		return err.Error()
	}
	return fmt.Sprint(reason)
}
