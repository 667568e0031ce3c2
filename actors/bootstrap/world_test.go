package bootstrap

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// engine is what all worlds of a test share: making an actor system is slow.
type engine struct {
	system *actor.ActorSystem
	loop   *loop.Loop
	world  *world
}

func newEngine() *engine {
	e := &engine{
		system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.DiscardHandler)
		})),
		loop: loop.New(),
	}
	e.system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
		return link{e}, true
	})
	return e
}

// link is the network: whatever is sent to another node comes here.
type link struct{ e *engine }

func (l link) SendUserMessage(pid *actor.PID, envelope any) {
	_, m, _ := actor.UnwrapEnvelope(envelope)
	l.e.world.packets = append(l.e.world.packets, packet{pid.Address, proto.Clone(m.(proto.Message))})
}
func (link) SendSystemMessage(*actor.PID, any) {}
func (link) Stop(*actor.PID)                   {}

type packet struct {
	to string
	m  proto.Message
}

// world is some nodes, a network and time, stepped by a test.
type world struct {
	t       testing.TB
	engine  *engine
	rng     *rand.Rand
	now     int64
	nodes   []*simNode
	packets []packet
	ids     int
	events  []string
}

func (e *engine) newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, engine: e, rng: rand.New(rand.NewPCG(seed, 7)), now: int64(time.Hour)}
	e.world = w
	t.Cleanup(w.close)
	return w
}

// close stops the nodes; t.Cleanup calls it too.
func (w *world) close() {
	for _, n := range w.nodes {
		if n.up() {
			n.crash(0)
		}
	}
}

// simNode is one node: its actor while it is up, and its disk.
type simNode struct {
	w      *world
	member *messages.Member
	expect uint32
	pid    *actor.PID
	disk   *messages.Identity
	writes []write
	// panics makes the actor panic after the next write was queued.
	panics bool
}

// write is a change on its way to the disk.
type write struct {
	apply func(*messages.Identity)
	done  func(error)
}

// add makes a node that is down. Ids sort as they are added.
func (w *world) add(expect uint32) *simNode {
	id := fmt.Sprintf("id-%d", len(w.nodes))
	n := &simNode{w: w, expect: expect, member: &messages.Member{NodeId: id, Name: "n" + id[3:]}, disk: &messages.Identity{NodeId: id}}
	w.nodes = append(w.nodes, n)
	return n
}

func (n *simNode) up() bool { return n.pid != nil }

func (n *simNode) start() {
	props := actor.PropsFromProducer(Producer(Config{
		Self: n.member, Ports: n, Expect: n.expect,
		Observe: func(e Event) {
			n.w.events = append(n.w.events, fmt.Sprintf("%s %s %s %s", n.member.Name, e.Kind, e.Node, e.Detail))
		},
	}), actor.WithDispatcher(n.w.engine.loop))
	n.pid = n.w.engine.system.Root.Spawn(props)
	n.w.drain()
}

// crash stops the node; of the writes under way the first few reach the disk.
func (n *simNode) crash(survive int) {
	n.w.engine.system.Root.Stop(n.pid)
	n.w.drain()
	n.pid = nil
	for _, write := range n.writes[:survive] {
		write.apply(n.disk)
		n.w.check()
	}
	n.writes = nil
}

func (n *simNode) tell(m any) {
	if n.up() {
		n.w.engine.system.Root.Send(n.pid, m)
		n.w.drain()
	}
}

func (n *simNode) tick() { n.tell(&call.Tick{Now: n.w.now}) }

// finish ends the oldest write under way.
func (n *simNode) finish() {
	if len(n.writes) > 0 {
		write := n.writes[0]
		n.writes = n.writes[1:]
		write.apply(n.disk)
		n.w.check()
		write.done(nil)
		n.w.drain()
	}
}

// sees tells the node what gossip would say of another one now.
func (n *simNode) sees(other *simNode) {
	n.tell(&MemberSeen{Member: other.member, ClusterID: other.disk.GetClusterId(), Expect: other.expect, Gone: !other.up()})
}

func (w *world) drain() { w.engine.loop.Drain(w.rng.IntN) }

// deliver brings one packet to its node.
func (w *world) deliver(i int, keep bool) {
	p := w.packets[i]
	if !keep {
		w.packets = slices.Delete(w.packets, i, i+1)
	}
	for _, n := range w.nodes {
		if n.member.NodeId == p.to {
			n.tell(proto.Clone(p.m))
		}
	}
}

// The ports.

func (n *simNode) Identity() *messages.Identity { return proto.CloneOf(n.disk) }

func (n *simNode) queue(apply func(*messages.Identity), done func(error)) {
	n.writes = append(n.writes, write{apply, done})
	if n.panics {
		n.panics = false
		panic("on purpose")
	}
}

func (n *simNode) Accept(plan *messages.BootstrapPlan, done func(error)) {
	n.queue(func(disk *messages.Identity) { disk.Plan = plan }, done)
}

func (n *simNode) Release(done func(error)) {
	n.queue(func(disk *messages.Identity) { disk.Plan = nil }, done)
}

func (n *simNode) Form(plan *messages.BootstrapPlan, done func(error)) {
	n.queue(func(disk *messages.Identity) {
		n.w.checkForm(n, plan)
		disk.ClusterId, disk.Plan = plan.ClusterId, plan
	}, done)
}

func (n *simNode) Join(clusterID string, done func(error)) {
	n.queue(func(disk *messages.Identity) {
		if disk.ClusterId != "" || disk.Plan != nil {
			n.w.t.Fatalf("%s joins %s while it has cluster %q and plan %v", n.member.Name, clusterID, disk.ClusterId, disk.Plan)
		}
		disk.ClusterId = clusterID
	}, done)
}

func (n *simNode) NewClusterID() string {
	n.w.ids++
	return fmt.Sprintf("cluster-%d", n.w.ids)
}

// checkForm checks that a cluster is formed only when all its members hold its
// plan, and only once per node.
func (w *world) checkForm(n *simNode, plan *messages.BootstrapPlan) {
	if n.disk.ClusterId != "" && n.disk.ClusterId != plan.ClusterId {
		w.t.Fatalf("%s moves from cluster %s to %s", n.member.Name, n.disk.ClusterId, plan.ClusterId)
	}
	for _, m := range plan.Table.Members {
		for _, other := range w.nodes {
			if other.member.NodeId == m.NodeId && !proto.Equal(other.disk.Plan, plan) {
				w.t.Fatalf("%s forms %s while %s does not hold its plan but %q", n.member.Name, plan.ClusterId, other.member.Name, other.disk.GetPlan().GetClusterId())
			}
		}
	}
}

// check checks that there is at most one cluster.
func (w *world) check() {
	if clusters := w.clusters(); len(clusters) > 1 {
		w.t.Fatalf("two clusters: %v\n%v", clusters, w.events)
	}
}

func (w *world) clusters() []string {
	var ids []string
	for _, n := range w.nodes {
		if id := n.disk.GetClusterId(); id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// settle lets the world go on without faults for a while, and stops early when
// all nodes belong to a cluster and nothing is left to say.
func (w *world) settle(d time.Duration) {
	for i := range int(d / (50 * time.Millisecond)) {
		w.now += int64(50 * time.Millisecond)
		quiet := true
		for _, n := range w.nodes {
			for _, other := range w.nodes {
				if n != other && i%4 == 0 {
					n.sees(other)
				}
			}
			n.tick()
			quiet = quiet && n.disk.GetClusterId() != ""
		}
		for range 20 {
			for len(w.packets) > 0 {
				w.deliver(0, false)
			}
			for _, n := range w.nodes {
				n.finish()
			}
		}
		if quiet {
			return
		}
	}
}
