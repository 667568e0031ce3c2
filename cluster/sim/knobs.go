package sim

import (
	"math/rand/v2"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// The bounds of the engine are generous, so that most of what happens at a bound
// never happens in two minutes: a log that is cut, a slave that needs a snapshot,
// an actor that is let go, a queue that is full. A swarm therefore draws bounds
// too, each of them small in half of the seeds.

// drawLimits draws the bounds of a run's replicas and coordinators.
func drawLimits(r *rand.Rand) (replica.Limits, coordinator.Limits) {
	l := replica.Limits{
		ElectionTicks:      small(r, 8, 20),
		HeartbeatTicks:     small(r, 1, 3),
		RoundsInFlight:     small(r, 1, 5),
		EntryBytes:         small(r, 100, 4000),
		QueuedRequests:     small(r, 3, 40),
		Activations:        small(r, 1, 6),
		FlushTicks:         small[uint64](r, 1, 60),
		FlushBytes:         small(r, 200, 8000),
		LogBytes:           small(r, 400, 6000),
		SnapshotChunkBytes: small(r, 50, 2000),
		SnapshotWindow:     small(r, 1, 4),
		TransferTicks:      small[uint64](r, 3, 30),
		GatherMax:          small(r, 100*time.Microsecond, 20*time.Millisecond),
		GatherAbove:        small(r, 10*time.Microsecond, time.Millisecond),
	}
	if l.LogBytes > 0 {
		l.LogBytesMax = l.LogBytes * (1 + r.IntN(4))
	}
	c := coordinator.Limits{
		MaxHeld:     small(r, 1, 10),
		MaxInFlight: small(r, 1, 10),
		MaxNumbered: small(r, 1, 10),
		HoldFor:     small(r, 50*time.Millisecond, 3*time.Second),
	}
	return l, c
}

// small draws from [from, to] in half of the cases; 0, the default, in the others.
func small[T ~int | ~int64 | ~uint64](r *rand.Rand, from, to T) T {
	drawn := from + T(r.Uint64N(uint64(to-from)+1))
	if r.IntN(2) == 0 {
		return 0
	}
	return drawn
}
