package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Node is a running node. Its methods may be called from any goroutine.
type Node struct {
	cfg  Config
	pid  *actor.PID
	root *actor.RootContext

	// route and coordinators are what Submit needs; the root actor replaces them
	// whole.
	route        atomic.Pointer[messages.Route]
	table        atomic.Pointer[messages.Table]
	coordinators atomic.Pointer[[]*actor.PID]
}

// Start spawns the node's actors. They begin to work when the world runs the loop.
func Start(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	behaviors := map[string]*actors.Behavior{}
	for _, b := range cfg.Behaviors {
		if b.Kind() == ring.SystemKind {
			return nil, fmt.Errorf("the kind %q is the ring's own: give the behavior another name", b.Kind())
		}
		if behaviors[b.Kind()] != nil {
			return nil, fmt.Errorf("two behaviors of kind %q: give one of them another name", b.Kind())
		}
		behaviors[b.Kind()] = b
	}
	behaviors[ring.SystemKind] = ringowner.Behavior()

	n := &Node{cfg: cfg, root: cfg.System.Root}
	n.route.Store(&messages.Route{NodeId: cfg.Self.GetNodeId()})
	n.coordinators.Store(&[]*actor.PID{})
	t := newRoot(n, behaviors, rand.New(rand.NewPCG(cfg.Seed, 0x6e6f6465)))
	cfg.Loop.AtPassEnd(t.host.EndOfPass)
	pid, err := n.root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return t }, actor.WithDispatcher(cfg.Loop)), ringowner.NodeName)
	if err != nil {
		return nil, fmt.Errorf("spawn the root of the node: %w", err)
	}
	n.pid = pid
	return n, nil
}

// Submit runs a call, here or where its partition's master is. done is called
// once, from any goroutine; it must not block.
func (n *Node) Submit(c *messages.Call, done func(*messages.Reply)) {
	req := &call.Request{Call: c, Done: done}
	route := n.route.Load()
	if route.GetPartitionCount() == 0 {
		req.Finish(&messages.Reply{
			Code: messages.Code_CODE_UNAVAILABLE, RetryAfterMs: 500,
			Message: "this node does not belong to a cluster yet: it waits for the nodes that it was told to expect, or to join; see /readyz",
		})
		return
	}
	p := ring.Partition(c.GetKind(), c.GetKey(), route.GetPartitionCount())
	if pids := *n.coordinators.Load(); p < uint64(len(pids)) && pids[p] != nil {
		n.root.Send(pids[p], req)
		return
	}
	n.root.Send(n.pid, &newcomer{partition: p, req: req})
}

// Tick tells the node that a tick interval passed.
func (n *Node) Tick() { n.root.Send(n.pid, &tick{}) }

// Gossip is what gossip says about one member: a hint, never a fact.
type Gossip struct {
	Member *messages.Member
	// ClusterID is empty while the member belongs to no cluster.
	ClusterID string
	Expect    uint32
	// Gone: gossip does not see it alive any more.
	Gone bool
}

// MemberEvent passes on what gossip says; about this node too.
func (n *Node) MemberEvent(g Gossip) { n.root.Send(n.pid, &g) }

// PeerEvent says that the links reach a node, or do not any more.
func (n *Node) PeerEvent(nodeID string, up bool) {
	n.root.Send(n.pid, &call.PeerChanged{Node: nodeID, Up: up})
}

// Drain hands every mastership over to nodes that can take it. done is called
// once, on the loop, when no more is left to hand over; that may be never, so the
// caller bounds its wait.
func (n *Node) Drain(done func()) { n.root.Send(n.pid, &drain{done}) }

// Route says where the masters are. The same pointer comes until something
// changes. Before the node belongs to a cluster PartitionCount is 0.
func (n *Node) Route() *messages.Route { return n.route.Load() }

// Table is the ring's table as the node knows it; nil before there is one.
func (n *Node) Table() *messages.Table { return n.table.Load() }

// Status is the node's own view of its replicas and peers.
type Status struct {
	ClusterID string
	Draining  bool
	Replicas  []*messages.ReplicaReport
	// Terms is the term in which each master is believed to be, by partition.
	Terms []uint64
	// Reachable are the node ids that the links reach.
	Reachable []string
	// Waiting says what a node without a cluster waits for.
	Waiting string
}

// Status calls reply once, on the loop.
func (n *Node) Status(reply func(*Status)) { n.root.Send(n.pid, &statusRequest{reply}) }

// Stop ends the actors, coordinators first so that every request is answered.
// done is called once, on the loop.
func (n *Node) Stop(done func()) { n.root.Send(n.pid, &stop{done}) }

// Flush makes every replica write its committed rows now.
func (n *Node) Flush() { n.root.Send(n.pid, &replica.Flush{}) }

// FormWrite returns the rows with which a node begins to belong to the cluster of
// a plan: the first state of each replica that the plan gives it.
func FormWrite(plan *messages.BootstrapPlan, nodeID string) ([]replica.Op, error) {
	table := plan.GetTable()
	if table == nil {
		return nil, errors.New("a bootstrap plan without a table")
	}
	state, err := encode(table)
	if err != nil {
		return nil, err
	}
	var ops []replica.Op
	for _, p := range ring.PartitionsOn(table, nodeID) {
		id, _ := ring.ReplicaOn(table, p, nodeID)
		row := &messages.ReplicaRow{Partition: p, ReplicaId: id, Peers: ring.ReplicasOf(table, p)}
		var rows []*messages.Row
		if p == ring.SystemPartition {
			rows = append(rows, replica.ActorStateRow(ring.SystemKind, ring.TableKey, state))
		}
		ops = append(ops, replica.Create(row, rows).Ops...)
	}
	return append(ops, replica.Op{Kind: replica.Put, Key: tableKey(), Value: state}), nil
}

type (
	tick          struct{}
	drain         struct{ done func() }
	stop          struct{ done func() }
	statusRequest struct{ reply func(*Status) }
	// newcomer is a request for a partition that has no coordinator yet.
	newcomer struct {
		partition uint64
		req       *call.Request
	}
	formed struct{ clusterID string }
)
