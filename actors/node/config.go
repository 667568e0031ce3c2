package node

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/bootstrap"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/actors/supervisor"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Config is what the world gives a node.
type Config struct {
	// System is the node's actor system; its address is the node id.
	System *actor.ActorSystem
	// Loop runs every actor of the engine. The node adds its end-of-pass hook; the
	// world runs the loop after Start.
	Loop *loop.Loop
	// Self is the node as others are to know it.
	Self *messages.Member
	// Store is the disk; Identities is the row in it that says who the node is.
	Store      replica.Store
	Identities Identities
	// Behaviors are the user's kinds. The ring's own is added.
	Behaviors []*actors.Behavior
	// Clock returns the wall clock, nanoseconds since 1970; any goroutine.
	Clock func() int64
	// After calls f once, from any goroutine, when about d has passed. Nil: a loaded
	// partition does not wait for company; see replica.Limits.
	After func(d time.Duration, f func())
	// Seed is where all of the node's random numbers come from. It must differ
	// from boot to boot: sessions are named by them.
	Seed uint64
	// TickInterval is how often the world calls Tick. Default 50 ms.
	TickInterval time.Duration
	// Expect is the number of nodes a new cluster begins with; 0: this node waits
	// for a cluster to join.
	Expect uint32
	// Partitions and Replication are those of a new cluster. Defaults 64 and 3.
	Partitions, Replication uint32
	// ReplicaLimits, CoordinatorLimits and Supervision bound what their rooms
	// keep; zero values mean the defaults.
	ReplicaLimits     replica.Limits
	CoordinatorLimits coordinator.Limits
	Supervision       supervisor.Policy
	// Faults injects faults; nil in production.
	Faults fault.Points
	// Logger gets a line for each event that people should know.
	Logger   *slog.Logger
	Observer Observer
	// Clustered is told the cluster's id when the node begins to belong to one; at
	// the start too, if it does already. On the loop; must not block.
	Clustered func(clusterID string)
	// Fatal is told that the store failed: the node must stop, and nothing that it
	// has not acknowledged may be. On the loop; must not block.
	Fatal func(error)
}

// Identities is the port to who the node is. cluster/storage implements it.
type Identities interface {
	// Identity returns what is durable. The caller does not change it.
	Identity() *messages.Identity
	// SubmitIdentity changes the identity, and the rows in with, in one write. done
	// is called once, from any goroutine, when that is durable, or with the error
	// that ended the store.
	SubmitIdentity(update func(*messages.Identity), done func(error), with ...replica.Op)
}

// Observer is told what the rooms of a node do, on its loop; its functions must
// not block and may be nil.
type Observer struct {
	Replica     func(replica.Event)
	Coordinator func(coordinator.Event)
	RingOwner   func(ringowner.Event)
	Bootstrap   func(bootstrap.Event)
	Supervisor  func(supervisor.Event)
}

func (c Config) withDefaults() Config {
	if c.TickInterval <= 0 {
		c.TickInterval = 50 * time.Millisecond
	}
	if c.Partitions == 0 {
		c.Partitions = 64
	}
	if c.Replication == 0 {
		c.Replication = 3
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clustered == nil {
		c.Clustered = func(string) {}
	}
	if c.Fatal == nil {
		c.Fatal = func(error) {}
	}
	return c
}
