package replica

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
)

// Config is what the replicas of one node share.
type Config struct {
	System *actor.ActorSystem
	Loop   *loop.Loop
	// NodeID is the address of System.
	NodeID string
	Store  Store
	// Clock returns the wall clock, nanoseconds since 1970.
	Clock func() int64
	// Rand is used on the loop only.
	Rand      *rand.Rand
	Behaviors map[string]*actors.Behavior
	// Faults may be nil.
	Faults fault.Points
	Logger *slog.Logger
	// Observe, if set, is told of each step of a request and of each change of a
	// role. It is called on the loop and must not block.
	Observe func(Event)
	// After calls f once, from any goroutine, when about d has passed; it must not
	// block. Nil: proposals never wait for company.
	After func(d time.Duration, f func())
	// Parent is told of *call.MasterChanged; the node.
	Parent *actor.PID
	// Fatal is called on the loop when the store failed: the node must stop.
	Fatal  func(error)
	Limits Limits
}

// Limits bound what a replica keeps and waits for. A zero field means its
// default. Times are counted in ticks of the node.
type Limits struct {
	// ElectionTicks without word from a master make a slave stand for election;
	// raft adds up to as much again at random. Default 12.
	ElectionTicks int
	// HeartbeatTicks between two heartbeats of a master. Default 3.
	HeartbeatTicks int
	// RoundsInFlight bounds the proposals of a partition that wait for their
	// commit; more turns gather for the next one. Default 2: more rounds only
	// make smaller ones.
	RoundsInFlight int
	// GatherAbove is the time to commit from which a partition counts as loaded:
	// then it waits for the callers it just answered to come back, so that one
	// round serves them all. Default 3 ms; a quiet cluster on a good disk commits
	// in less. Negative: never.
	GatherAbove time.Duration
	// GatherMax bounds that wait; it is half the time to commit, at most this.
	// Default 4 ms.
	GatherMax time.Duration
	// EntryBytes is where a log entry is closed and the next one opened. Default
	// 512 KiB.
	EntryBytes int
	// QueuedRequests bounds the requests of a partition that wait for their turn
	// or their commit; above it callers are told to come back. Default 8192.
	QueuedRequests int
	// Activations bounds the live actors of a partition; the least recently used
	// idle ones are let go. Default 4096.
	Activations int
	// TurnTicks is how long a handler may run before its actor is given up and
	// its callers get an error. Default 200, ten seconds.
	TurnTicks uint64
	// FlushTicks between two writes of committed rows to the store. Default 20.
	FlushTicks uint64
	// FlushBytes of committed entries cause a write of rows before its time.
	// Default 1 MiB.
	FlushBytes int
	// LogBytes is how much log a partition keeps for slaves that lag. Default
	// 1 MiB.
	LogBytes int
	// LogBytesMax is how much it keeps at most when a slave is away; one that
	// needs more gets a snapshot. Default 16 MiB.
	LogBytesMax int
	// StoredReplyBytes bounds the replies kept for retries; a retry of a request
	// with a larger one learns that it was done, without the reply. Default 4 KiB.
	StoredReplyBytes int
	// SessionTTL is how long an idle session is remembered, by the log's clock,
	// in nanoseconds. Default one hour.
	SessionTTL int64
	// SnapshotChunkBytes is the size of one piece of a snapshot. Default 256 KiB.
	SnapshotChunkBytes int
	// SnapshotWindow is how many pieces may be under way. Default 8.
	SnapshotWindow int
	// SnapshotBytesMax bounds a snapshot that is being received; it is gathered
	// in memory. Default 512 MiB.
	SnapshotBytesMax int
	// PanicsBeforeBackoff is how many panics of an actor within a minute are
	// answered by an immediate restart; after that the actor backs off. Default 3.
	PanicsBeforeBackoff int
	// TransferTicks is how long a hand-over may take before it is given up.
	// Default 20.
	TransferTicks uint64
}

func (l Limits) withDefaults() Limits {
	set(&l.ElectionTicks, 12)
	set(&l.HeartbeatTicks, 3)
	set(&l.RoundsInFlight, 2)
	set(&l.GatherAbove, 3*time.Millisecond)
	set(&l.GatherMax, 4*time.Millisecond)
	set(&l.EntryBytes, 512<<10)
	set(&l.QueuedRequests, 8192)
	set(&l.Activations, 4096)
	set(&l.TurnTicks, 200)
	set(&l.FlushTicks, 20)
	set(&l.FlushBytes, 1<<20)
	set(&l.LogBytes, 1<<20)
	set(&l.LogBytesMax, 16<<20)
	set(&l.StoredReplyBytes, 4<<10)
	set(&l.SessionTTL, int64(3600e9))
	set(&l.SnapshotChunkBytes, 256<<10)
	set(&l.SnapshotWindow, 8)
	set(&l.SnapshotBytesMax, 512<<20)
	set(&l.PanicsBeforeBackoff, 3)
	set(&l.TransferTicks, 20)
	return l
}

func set[T int | int64 | uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Event is one observed step.
type Event struct {
	// Name is one of the Event constants.
	Name      string
	Partition uint64
	Term      uint64
	Index     uint64
	// Actor is kind/key where the step concerns one actor.
	Actor  string
	Detail string
}

// The names of events, in the order of a request's life; then those of roles and
// failures.
const (
	EventRequest  = "request"
	EventTurn     = "turn"
	EventPropose  = "propose"
	EventAppend   = "append"
	EventDurable  = "durable"
	EventCommit   = "commit"
	EventReply    = "reply"
	EventMaster   = "became master"
	EventSlave    = "became slave"
	EventPanic    = "handler panicked"
	EventOverstay = "handler overstayed"
	EventFlush    = "rows written"
	EventSnapshot = "snapshot installed"
)
