// Package coordinator routes the requests of one node to one partition. It knows
// or learns which node masters the partition, numbers requests that came without
// a number, holds requests back while there is no master, and tries again where
// that is safe. Every request it takes is answered exactly once.
//
// What a caller may conclude from the answers, and how the coordinator earns it:
//
//  1. CODE_UNAVAILABLE and CODE_OVERLOADED mean that the request did not run and
//     will not: no attempt was made, or every attempt was refused before it was
//     proposed, or the request is a query and changes nothing.
//  2. CODE_OUTCOME_UNKNOWN is given only when the request's own deadline ends (or
//     this node does) after an attempt whose end is not known.
//  3. A command is attempted again only under the number of its first attempt, so
//     the partition runs it once. The number's low-water mark never passes a
//     number that is not answered.
//
// It is an actor: everything here runs in its mailbox, time comes as call.Tick,
// and what it does is a function of the messages it gets and their order.
package coordinator

import (
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Name is the name of a partition's coordinator on every node.
func Name(partition uint64) string { return "coordinator/" + strconv.FormatUint(partition, 10) }

// ReplicaName is the name of a partition's replica, where the requests go when
// this node masters the partition. The requests arrive as *call.Request.
func ReplicaName(partition uint64) string { return "replica/" + strconv.FormatUint(partition, 10) }

// CallsName is the inbox for requests that another node forwards: it takes
// *messages.Call, gives it to its own replica of the partition and answers the
// sender with *messages.Reply under the same id.
const CallsName = "calls"

// Config says what a coordinator coordinates.
type Config struct {
	Partition uint64
	// Self is the id of this node, the address of its actor system.
	Self string
	// ClientID is the session under which the coordinator numbers requests that
	// came without a number. It must be fresh for every call of Props or
	// Producer, so that no number is ever given twice; the sessions of later
	// incarnations of the actor are counted up from it.
	ClientID [16]byte
	Limits   Limits
	// Names gives the name that people know a node by; nil shows ids.
	Names func(node string) string
	// Missing gives the names of the nodes that hold a copy of the partition and
	// cannot be reached, for the text of CODE_UNAVAILABLE; nil: not known.
	Missing func(partition uint64) []string
	// Observe is told what the coordinator does, in its mailbox; it must not
	// block. nil: nobody looks.
	Observe func(Event)
}

// Limits bound what a coordinator keeps. Zero fields mean the defaults.
type Limits struct {
	// MaxHeld is how many requests wait for a master before new ones are
	// refused with CODE_OVERLOADED. 4096: 1.5 s of an election at 2,700 requests
	// per second on one partition. Requests that come back from a master that
	// was lost are kept beyond the bound; MaxInFlight bounds them.
	MaxHeld int
	// MaxHeldBytes bounds the bytes of their keys and payloads. 16 MiB.
	MaxHeldBytes int
	// HoldFor is how long a request that surely did not run waits for a master
	// before CODE_UNAVAILABLE. 1.5 s: longer than an election, and the answer is
	// there within the promised 2 s.
	HoldFor time.Duration
	// MaxInFlight bounds the requests under way at masters elsewhere, and as many
	// at the replica here. 16384.
	MaxInFlight int
	// MaxNumbered bounds how far the numbers this coordinator gives may run ahead
	// of its lowest unanswered one; the partition keeps that many answers. 4096.
	MaxNumbered int
	// Timeout is the deadline of requests that name none. 5 s.
	Timeout time.Duration
}

func (l Limits) withDefaults() Limits {
	orInt(&l.MaxHeld, 4096)
	orInt(&l.MaxHeldBytes, 16<<20)
	orInt(&l.MaxInFlight, 16384)
	orInt(&l.MaxNumbered, 4096)
	if l.HoldFor <= 0 {
		l.HoldFor = 1500 * time.Millisecond
	}
	if l.Timeout <= 0 {
		l.Timeout = 5 * time.Second
	}
	return l
}

func orInt(n *int, def int) {
	if *n <= 0 {
		*n = def
	}
}

// EventKind says what happened.
type EventKind uint8

// The kinds of Event.
const (
	// Routed: a request went to Node, for the Attempt-th time.
	Routed EventKind = iota
	// Held: a request waits for a master; Count wait now.
	Held
	// MasterLearned: requests go to Node from now on, believed master in Term.
	MasterLearned
	// MasterLost: nobody is believed to be the master.
	MasterLost
	// Refused: Node, taken for the master, said that it is not.
	Refused
	// TakenBack: Count requests under way at Node are held again; Node went away.
	TakenBack
	// Probed: a request went to Node to find out who the master is.
	Probed
	// GaveUp: the coordinator itself answered a request, with Code.
	GaveUp
)

var eventNames = [...]string{"routed", "held", "master learned", "master lost", "refused", "taken back", "probed", "gave up"}

func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "event " + strconv.Itoa(int(k))
}

// Event is one thing a coordinator did.
type Event struct {
	Kind      EventKind
	Partition uint64
	// Request is the id of the call, where the event is about one.
	Request uint64
	Node    string
	Term    uint64
	Attempt int
	Count   int
	Code    messages.Code
}

// Props describes the coordinator as an actor. The node gives the dispatcher and
// the rest as options, and sends a call.Tick right after the spawn: before the
// first tick the coordinator does not know the time and holds every request.
//
// Messages in: *call.Request, *messages.Reply (from a remote "calls"),
// *call.MasterChanged, *call.PeerChanged, *call.TableChanged, *call.Tick. Stop it
// with Poison, so that the requests in its mailbox are answered.
func Props(cfg Config, opts ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(Producer(cfg), opts...)
}
