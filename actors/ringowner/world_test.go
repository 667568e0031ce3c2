package ringowner

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// world is one owner, on node "a", the ring's actor in memory, and nodes that do
// what the owner asks: they take tables and hand masterships over.
type world struct {
	t      testing.TB
	system *actor.ActorSystem
	loop   *loop.Loop
	pid    *actor.PID
	ring   *memory
	now    int64

	calls  []pendingCall
	nodes  map[string]*peer
	events []Event
	// deaf nodes do not hand over what they are asked to.
	deaf bool
	// most is the most transfers that were ever under way at once.
	most int
}

type pendingCall struct {
	call *messages.Call
	done func(*messages.Reply)
}

// peer is a node as the owner sees it.
type peer struct {
	member   *messages.Member
	epoch    uint64
	down     bool
	draining bool
	failure  string
	lagging  bool
	asks     []*messages.TransferMastership
	tables   int
}

func newWorld(t testing.TB, table *messages.Table) *world {
	w := &world{t: t, loop: loop.New(), ring: newMemory(t, table), now: int64(time.Hour), nodes: map[string]*peer{}}
	w.system = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	w.system.ProcessRegistry.RegisterAddressResolver(func(*actor.PID) (actor.Process, bool) { return link{w}, true })
	for _, m := range table.GetMembers() {
		w.nodes[m.NodeId] = &peer{member: m}
	}
	w.pid = w.system.Root.Spawn(actor.PropsFromProducer(Producer(Config{
		Self:    "a",
		Submit:  func(c *messages.Call, done func(*messages.Reply)) { w.calls = append(w.calls, pendingCall{c, done}) },
		Observe: func(e Event) { w.events = append(w.events, e) },
	}), actor.WithDispatcher(w.loop)))
	t.Cleanup(func() {
		w.system.Root.Stop(w.pid)
		w.loop.Drain(nil)
	})
	return w
}

// link is the network: what the owner sends to nodes comes here.
type link struct{ w *world }

func (l link) SendUserMessage(pid *actor.PID, envelope any) {
	_, m, _ := actor.UnwrapEnvelope(envelope)
	n := l.w.nodes[pid.Address]
	if pid.Id != NodeName || n == nil {
		l.w.t.Errorf("message %v for %v", m, pid)
		return
	}
	switch m := m.(type) {
	case *messages.TableUpdate:
		n.tables++
		if !n.down {
			n.epoch = max(n.epoch, m.Table.Epoch)
		}
	case *messages.TransferMastership:
		n.asks = append(n.asks, m)
	}
}
func (link) SendSystemMessage(*actor.PID, any) {}
func (link) Stop(*actor.PID)                   {}

func (w *world) tell(m any) {
	w.system.Root.Send(w.pid, m)
	w.loop.Drain(nil)
}

func (w *world) activate(node string) {
	w.tell(&call.MasterChanged{Partition: 0, Node: node, Term: 5})
}

// answerCalls lets the ring's actor answer, or with a code that says it did not.
func (w *world) answerCalls(code messages.Code) {
	for len(w.calls) > 0 {
		c := w.calls[0]
		w.calls = w.calls[1:]
		if code != messages.Code_CODE_OK {
			c.done(&messages.Reply{Code: code})
		} else {
			if c.call.Kind != ring.SystemKind || c.call.Key != ring.TableKey || c.call.TimeoutMs == 0 {
				w.t.Errorf("call %v is not for ring/table, or has no time limit", c.call)
			}
			c.done(w.ring.call(c.call.Method, c.call.Payload))
		}
		w.loop.Drain(nil)
	}
}

// masters says for each partition which replica is its master.
type masters map[uint64]uint64

// report is what a node would say now.
func (w *world) report(id string, masters masters) *messages.NodeReport {
	n := w.nodes[id]
	table := w.ring.table()
	r := &messages.NodeReport{Member: proto.CloneOf(n.member), Epoch: n.epoch, Draining: n.draining}
	for _, p := range ring.PartitionsOn(table, id) {
		own, _ := ring.ReplicaOn(table, p, id)
		replica := &messages.ReplicaReport{Partition: p, ReplicaId: own, Term: 3, Role: "slave", Master: masters[p]}
		if own == masters[p] {
			replica.Role = "master"
			for _, other := range ring.ReplicasOf(table, p) {
				if peer := w.nodes[other.NodeId]; !peer.lagging && !peer.down {
					replica.CaughtUp = append(replica.CaughtUp, other.ReplicaId)
				}
			}
		}
		r.Replicas = append(r.Replicas, replica)
	}
	if len(r.Replicas) > 0 {
		r.Replicas[0].Failure = n.failure
	}
	return r
}

// second lets a second pass: nodes hand over, report, and the owner looks around.
func (w *world) second(masters masters) {
	w.now += int64(time.Second)
	ids := make([]string, 0, len(w.nodes))
	for id := range w.nodes {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		for _, ask := range w.nodes[id].asks {
			if from, _ := ring.NodeOf(w.ring.table(), ask.Partition, masters[ask.Partition]); from != id {
				w.t.Errorf("node %s is asked for partition %d, its master is on %s", id, ask.Partition, from)
			}
			if !w.deaf {
				masters[ask.Partition] = ask.ToReplica
			}
		}
		w.nodes[id].asks = nil
	}
	for _, id := range ids {
		if !w.nodes[id].down {
			w.tell(w.report(id, masters))
		}
	}
	w.tell(&call.Tick{Now: w.now})
	w.answerCalls(messages.Code_CODE_OK)
	underWay := 0
	for _, e := range w.events {
		switch e.Kind {
		case TransferAsked:
			underWay++
		case TransferDone, TransferFailed:
			underWay--
		}
	}
	w.most = max(w.most, underWay)
}

func (w *world) count(kind EventKind) int {
	n := 0
	for _, e := range w.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// preferred is the masters that the table wants.
func preferred(table *messages.Table) masters {
	m := masters{}
	for _, a := range table.Assignments {
		m[a.Partition] = a.Replicas[0].ReplicaId
	}
	return m
}

// without moves the masters of a node to the next replica.
func (m masters) without(table *messages.Table, node string) masters {
	for _, a := range table.Assignments {
		if a.Replicas[0].NodeId == node {
			m[a.Partition] = a.Replicas[1].ReplicaId
		}
	}
	return m
}

// misplaced counts the partitions whose master is not the wanted one.
func (m masters) misplaced(table *messages.Table) int {
	n := 0
	for _, a := range table.Assignments {
		if m[a.Partition] != a.Replicas[0].ReplicaId {
			n++
		}
	}
	return n
}

func (m masters) String() string { return fmt.Sprint(map[uint64]uint64(m)) }
