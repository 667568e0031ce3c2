// Package ringowner decides the placement of partitions, on the one node that
// masters the system partition.
//
// What it knows it keeps in the ring's table, which is the state of an ordinary
// actor, ring/table, with the behavior of this package: every change is a command
// that is replicated like any other. Reports of nodes and gossip are hints that
// lead to commands; the table is the truth.
//
// An owner actor lives on every node and acts only while its node is believed to
// master the system partition. Two owners may believe so at once for a moment.
// That is harmless: both only send commands that the one table checks, and asks
// that a replica may refuse.
//
// It is an actor: everything runs in its mailbox, time comes as call.Tick, and
// what it does is a function of the messages it gets and their order.
package ringowner

import (
	"log/slog"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// Name is the name of the owner on every node. It takes *messages.NodeReport
	// from all nodes.
	Name = "ringowner"
	// NodeName is the name of each node's root, which gets *messages.TableUpdate
	// and *messages.TransferMastership.
	NodeName = "node"
)

// Config says for which node an owner works, and through what.
type Config struct {
	// Self is the id of this node, the address of its actor system.
	Self string
	// Submit asks the ring's actor, wherever it lives. done is called once, from
	// any goroutine.
	Submit func(c *messages.Call, done func(*messages.Reply))
	Limits Limits
	// Observe is told what the owner does, in its mailbox; it must not block.
	// nil: nobody looks.
	Observe func(Event)
	// Logger gets what people should know; nil discards it.
	Logger *slog.Logger
}

// Limits pace an owner. Zero fields mean the defaults.
type Limits struct {
	// Interval is how often the owner looks around. 1 s, as nodes report.
	Interval time.Duration
	// ReportAge is how old the newest report of a node may be for the node to
	// count as well. 3 s: two reports may be lost.
	ReportAge time.Duration
	// TransfersMax bounds the masterships on their way at once, and those started
	// per Interval. 4: each costs its partition some milliseconds, so this is
	// hardly felt, and 64 partitions are even again within six seconds.
	TransfersMax int
	// TransferTimeout is how long a transfer may take before it has failed. 3 s:
	// the master's own attempt ends after one election timeout.
	TransferTimeout time.Duration
	// BackoffMax bounds the pause before a failed transfer is asked for again;
	// it starts at Interval and doubles. 1 min.
	BackoffMax time.Duration
	// Reload is how often the table is read again although nothing seems to have
	// changed. 30 s: only owners change it, this one or a predecessor whose last
	// command came late.
	Reload time.Duration
	// CallTimeout is how long the owner waits for an answer of the table. 2 s.
	CallTimeout time.Duration
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Interval, time.Second)
	setDefault(&l.ReportAge, 3*time.Second)
	setDefault(&l.TransfersMax, 4)
	setDefault(&l.TransferTimeout, 3*time.Second)
	setDefault(&l.BackoffMax, time.Minute)
	setDefault(&l.Reload, 30*time.Second)
	setDefault(&l.CallTimeout, 2*time.Second)
	return l
}

func setDefault[T ~int | ~int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// EventKind says what an owner did.
type EventKind string

// The kinds of Event.
const (
	// Activated and Deactivated: the node began or ceased to own the ring.
	Activated   EventKind = "activated"
	Deactivated EventKind = "deactivated"
	// TableLoaded: the table was read, at Epoch.
	TableLoaded EventKind = "table_loaded"
	// Registered: Node has a new entry in the table.
	Registered EventKind = "registered"
	// RegisterRefused: the table refused the entry of Node, as Detail says.
	RegisterRefused EventKind = "register_refused"
	// TransferAsked: the master of Partition was asked to hand over to Node.
	TransferAsked EventKind = "transfer_asked"
	// TransferDone and TransferFailed are how that ended.
	TransferDone   EventKind = "transfer_done"
	TransferFailed EventKind = "transfer_failed"
)

// Event is one thing an owner did.
type Event struct {
	Kind      EventKind
	Partition uint64
	Node      string
	Epoch     uint64
	Detail    string
}
