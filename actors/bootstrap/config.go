// Package bootstrap forms a cluster, once, by agreement of its first nodes.
//
// Every first node is started with the number N of nodes to wait for. Gossip
// shows the nodes to each other; the one with the lowest id proposes a plan for
// the N lowest, and offers it to each. A node accepts a plan durably before it
// says so. When all N have, the proposer forms the cluster: first itself,
// durably, then it tells the others.
//
// What makes it safe:
//
//  1. A node holds at most one plan at a time, on disk. So of two plans that share
//     a node at most one can be held by all of its members at any moment.
//  2. Only a plan's proposer decides. It forms the cluster when all members said
//     that they hold the plan, and from then on never gives it up: what it did is
//     on its disk before any other node hears of it.
//  3. Only the proposer may give a plan up: when a node with a lower id proposes
//     too, when a member belongs to a cluster, or when it was started again with
//     another N. It forgets the plan durably; cluster ids are not used again, so
//     from then on "I do not know this plan" from its proposer means "it never
//     will be", and who holds it forgets it too.
//  4. A node that belongs to a cluster accepts nothing, and nothing but a plan's
//     end, formed, or joining an existing cluster without holding a plan makes a
//     node belong to one.
//
// Messages may be lost, repeated and late: offers and questions are repeated, and
// each answer names the plan it is about. A node that crashes goes on from its
// disk; one that holds a plan asks its members how it ended.
//
// It is an actor: everything runs in its mailbox, time comes as call.Tick.
package bootstrap

import (
	"log/slog"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Name is the name of the actor on every node.
const Name = "bootstrap"

// Ports are what a bootstrap needs of its node. All calls come from the actor's
// mailbox. done is called once, from any goroutine, when the change is durable;
// an error means that the disk failed and the node stops.
type Ports interface {
	// Identity returns what is durably known, with every change whose done was
	// called. The actor reads it when it starts.
	Identity() *messages.Identity
	// Accept keeps a plan.
	Accept(plan *messages.BootstrapPlan, done func(error))
	// Release forgets the plan that was kept.
	Release(done func(error))
	// Form makes the node a member of the plan's cluster: it keeps the cluster's
	// id and the plan, and creates the node's replicas in their first state. It
	// may be asked for again after a crash.
	Form(plan *messages.BootstrapPlan, done func(error))
	// Join makes the node a member of a cluster that exists, without replicas.
	Join(clusterID string, done func(error))
	// NewClusterID draws an id that was never used before.
	NewClusterID() string
}

// MemberSeen tells the actor what gossip says about another node, or this one.
type MemberSeen struct {
	Member *messages.Member
	// ClusterID is empty while the node belongs to no cluster.
	ClusterID string
	// Expect is how many nodes the node waits for; 0: it takes no part.
	Expect uint32
	// Gone: gossip does not see the node alive any more.
	Gone bool
}

// Config says for which node, and what the cluster is to be.
type Config struct {
	Self  *messages.Member
	Ports Ports
	// Expect is N. 0: the node takes no part, and waits to join a cluster.
	Expect uint32
	// Partitions and Replication are those of the first table. Defaults 64: few
	// enough to cost nothing when idle, enough to spread over some twenty nodes;
	// and 3: the smallest number that survives the loss of any one node.
	Partitions, Replication uint32
	// Settle is how long the N lowest nodes must have been the same before the
	// lowest of them proposes; it saves a plan that would be given up when more
	// than N nodes start together. Default 200 ms; an Expect of 1 does not wait.
	Settle time.Duration
	// Retry is how often offers and questions are repeated. Default 500 ms.
	Retry time.Duration
	// Observe is told each step, in the actor's mailbox; it must not block. nil:
	// nobody looks.
	Observe func(Event)
	// Logger gets what people should know; nil discards it.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Partitions == 0 {
		c.Partitions = 64
	}
	if c.Replication == 0 {
		c.Replication = 3
	}
	if c.Settle <= 0 {
		c.Settle = 200 * time.Millisecond
	}
	if c.Retry <= 0 {
		c.Retry = 500 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// EventKind says what a bootstrap did.
type EventKind string

// The kinds of Event.
const (
	// Waiting: Count nodes of N are seen.
	Waiting EventKind = "waiting"
	// Proposed: this node made a plan.
	Proposed EventKind = "proposed"
	// Accepted: this node holds a plan of Node.
	Accepted EventKind = "accepted"
	// Refused: Node refused this node's plan, or this node refused Node's, for
	// the reason in Detail.
	Refused EventKind = "refused"
	// Released: this node forgot a plan of Node.
	Released EventKind = "released"
	// Formed: this node belongs to the cluster that was planned.
	Formed EventKind = "formed"
	// Joined: this node belongs to a cluster that existed before.
	Joined EventKind = "joined"
)

// Event is one step of a bootstrap.
type Event struct {
	Kind      EventKind
	ClusterID string
	Node      string
	Count     int
	Detail    string
}
