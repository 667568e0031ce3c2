package sim

import (
	"log/slog"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// Config describes a run. The zero value of a field means its default; the zero
// Config is three healthy nodes without any behavior.
type Config struct {
	// Seed decides everything that chance decides. Default 1.
	Seed uint64
	// Nodes of the cluster; default 3.
	Nodes int
	// Partitions of the ring, without the system partition; default 8, enough
	// for every node to master some.
	Partitions int
	// Replicas of each partition; default 3, or fewer when there are fewer nodes.
	Replicas int
	// Duration is the virtual time of the first phase when the test gives no body
	// of its own; default two minutes.
	Duration time.Duration
	// Clients that work at the same time; default 6. Above 16 the judgement of a
	// history takes long.
	Clients int
	// Actors of each kind that the default workload uses; default 10.
	Actors int
	// Behaviors that the nodes serve.
	Behaviors []*actors.Behavior
	// Workload is what each client does until c.Running says no; default:
	// Anything, random requests to random actors.
	Workload func(c *Client)
	// Faults of the first phase; the zero value is a healthy world.
	Faults Faults
	// Plant names defects that are switched on in the nodes, to see that the
	// checks catch them.
	Plant []string
	// Limits of the replicas and CoordinatorLimits of the coordinators. If both
	// are zero, a swarm of faults draws them from the seed; otherwise zero fields
	// mean their defaults.
	Limits            replica.Limits
	CoordinatorLimits coordinator.Limits
	// Engine opens the empty engine of a node's disk; default: a model in memory.
	Engine func(node int) (Engine, error)
	// Tick is how often a node's clock ticks; default 50 ms.
	Tick time.Duration
	// OpsMax bounds the operations on one actor; default 400. Above that a fresh
	// actor takes its place: judging a history costs more than its length.
	OpsMax int
	// Deadline is how long a client tries to get one operation through before
	// its outcome is unknown; default 30 s.
	Deadline time.Duration
	// Dir receives a report when the run fails; empty: none.
	Dir string
	// Logger receives what the nodes log; default: nothing.
	Logger *slog.Logger
	// Trace, if set, is called with every event as it is delivered. For finding
	// out where two runs part.
	Trace func(line string)
}

func (c Config) withDefaults() Config {
	set(&c.Seed, 1)
	set(&c.Nodes, 3)
	set(&c.Partitions, 8)
	set(&c.Replicas, min(3, c.Nodes))
	set(&c.Duration, 2*time.Minute)
	set(&c.Clients, 6)
	set(&c.Actors, 10)
	set(&c.Tick, 50*time.Millisecond)
	set(&c.OpsMax, 400)
	set(&c.Deadline, 30*time.Second)
	if c.Faults.Swarm && c.Limits == (replica.Limits{}) && c.CoordinatorLimits == (coordinator.Limits{}) {
		c.Limits, c.CoordinatorLimits = drawLimits(stream(c.Seed, "limits"))
	}
	if c.Workload == nil {
		c.Workload = Anything
	}
	if c.Engine == nil {
		c.Engine = func(int) (Engine, error) { return newRows(), nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
