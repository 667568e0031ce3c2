package node

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/bootstrap"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/actors/supervisor"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// root is the top of a node's supervision tree.
//
//	node
//	├── raft            inbox of the replicas; outlives them all
//	├── calls           inbox of requests that other nodes forward
//	├── bootstrap       forms the cluster, or joins one
//	├── ringowner       decides placement where partition 0 has its master
//	├── replica/P       one for each partition held here
//	└── coordinator/P   one for each partition in use here
type root struct {
	supervisor.Children
	n         *Node
	cfg       Config
	host      *replica.Host
	behaviors map[string]*actors.Behavior
	rng       *rand.Rand

	clusterID string
	table     *messages.Table
	held      []uint64 // partitions with a replica here, sorted
	masters   []mastership
	up        map[string]bool
	gossip    map[string]*Gossip
	failures  map[uint64]string

	number   uint64
	now      int64
	draining bool
	drained  func()
	farewell func()
	ended    bool
	revived  []string // children that came back since the last tick
	changed  bool     // masters or table: the route is to be made anew
	report   reporting
	asked    int // whom the table was asked for last
}

// mastership is who is believed to master a partition.
type mastership struct {
	node string
	term uint64
}

func newRoot(n *Node, behaviors map[string]*actors.Behavior, rng *rand.Rand) *root {
	cfg := n.cfg
	t := &root{
		n: n, cfg: cfg, behaviors: behaviors, rng: rng,
		up: map[string]bool{}, gossip: map[string]*Gossip{}, failures: map[uint64]string{},
	}
	t.host = replica.NewHost(replica.Config{
		System: cfg.System, Loop: cfg.Loop, NodeID: cfg.Self.GetNodeId(), Store: cfg.Store, Clock: cfg.Clock, After: cfg.After,
		Rand: rng, Behaviors: behaviors, Faults: cfg.Faults, Logger: cfg.Logger, Observe: cfg.Observer.Replica,
		Parent: actor.NewPID(cfg.Self.GetNodeId(), ringowner.NodeName), Fatal: cfg.Fatal, Limits: cfg.ReplicaLimits,
	})
	return t
}

// Receive implements actor.Actor.
func (t *root) Receive(ctx actor.Context) {
	if t.Children.Handle(ctx) {
		t.stopStep(ctx)
		return
	}
	switch m := ctx.Message().(type) {
	case *tick:
		t.onTick(ctx)
	case *call.MasterChanged:
		t.onMaster(ctx, m)
	case *messages.MasterAnnounce:
		t.onAnnounce(ctx, m)
	case *call.PeerChanged:
		t.onPeer(ctx, m)
	case *Gossip:
		t.onGossip(ctx, m)
	case *messages.TableUpdate:
		t.adopt(ctx, m.GetTable())
	case *messages.TableRequest:
		t.onTableRequest(ctx, m)
	case *messages.TransferMastership:
		t.toReplica(ctx, m.GetPartition(), m)
	case *newcomer:
		t.onNewcomer(ctx, m)
	case *formed:
		t.onFormed(ctx, m)
	case *supervisor.Report:
		t.onGivenUp(ctx, m)
	case *drain:
		t.onDrain(ctx, m)
	case *statusRequest:
		t.onStatus(ctx, m)
	case *replica.Flush:
		t.toReplicas(ctx, m)
	case *stop:
		t.onStop(ctx, m)
	case *actor.Stopped:
		if t.farewell != nil {
			t.farewell()
		}
	case *actor.Started:
		t.start(ctx)
	}
	t.stopStep(ctx)
	t.publish()
}

func (t *root) self() string { return t.cfg.Self.GetNodeId() }

func (t *root) start(ctx actor.Context) {
	t.now = t.cfg.Clock()
	t.Children = supervisor.NewChildren(supervisor.Config{
		Policy: t.cfg.Supervision, Draw: t.rng.Float64, ReportTo: ctx.Self(), Observe: t.supervised,
	})
	t.spawn(ctx, replica.InboxName, t.host.Inbox())
	t.spawn(ctx, coordinator.CallsName, t.props(func() actor.Actor { return &calls{t} }))
	t.spawn(ctx, ringowner.Name, t.props(ringowner.Producer(ringowner.Config{
		Self: t.self(), Submit: t.n.Submit, Observe: t.cfg.Observer.RingOwner, Logger: t.cfg.Logger,
	})))
	identity := t.cfg.Identities.Identity()
	if identity.GetClusterId() != "" {
		t.belong(ctx, identity.GetClusterId())
	}
	t.spawn(ctx, bootstrap.Name, t.props(bootstrap.Producer(bootstrap.Config{
		Self: t.cfg.Self, Ports: ports{t, ctx.Self()}, Expect: t.cfg.Expect, Partitions: t.cfg.Partitions,
		Replication: t.cfg.Replication, Observe: t.cfg.Observer.Bootstrap, Logger: t.cfg.Logger,
	})))
}

func (t *root) props(produce actor.Producer) *actor.Props {
	guarded := supervisor.Guard(produce, func(who *actor.PID, reason any) {
		t.cfg.Logger.Error("an actor failed while it stopped", "actor", who.GetId(), "reason", fmt.Sprint(reason))
	})
	return actor.PropsFromProducer(guarded, actor.WithDispatcher(t.cfg.Loop))
}

func (t *root) spawn(ctx actor.Context, name string, props *actor.Props) *actor.PID {
	pid, err := t.Children.Spawn(ctx, name, props)
	if err != nil {
		t.cfg.Logger.Error("cannot spawn", "actor", name, "error", err)
		return nil
	}
	return pid
}

// belong starts what a member of a cluster runs: its replicas, and the table as it
// was known last.
func (t *root) belong(ctx actor.Context, clusterID string) {
	t.clusterID = clusterID
	t.cfg.Clustered(clusterID)
	table, err := t.cachedTable()
	if err != nil {
		t.cfg.Fatal(err)
		return
	}
	t.adopt(ctx, table)
	rows, err := replica.List(t.cfg.Store)
	if err != nil {
		t.cfg.Fatal(err)
		return
	}
	for _, row := range rows {
		if slices.Contains(t.held, row.GetPartition()) {
			continue
		}
		t.held = append(t.held, row.GetPartition())
		t.spawn(ctx, replica.Name(row.GetPartition()), t.host.Props(row))
	}
	slices.Sort(t.held)
}

func (t *root) onFormed(ctx actor.Context, f *formed) {
	if t.clusterID == "" {
		t.belong(ctx, f.clusterID)
	}
}

func (t *root) onGivenUp(ctx actor.Context, r *supervisor.Report) {
	t.cfg.Logger.Error("an actor failed too often and was given up", "actor", r.Name, "reason", fmt.Sprint(r.Reason))
	for _, p := range t.held {
		if replica.Name(p) == r.Name {
			t.failures[p] = fmt.Sprint(r.Reason)
			t.onMaster(ctx, &call.MasterChanged{Partition: p, Term: t.masters[p].term})
		}
	}
}

func (t *root) onTick(ctx actor.Context) {
	t.number++
	t.now = t.cfg.Clock()
	m := &call.Tick{Now: t.now, Number: t.number}
	// The root supervises its children by ticks too.
	ctx.Send(ctx.Self(), m)
	for _, name := range []string{bootstrap.Name, ringowner.Name} {
		if pid, ok := t.PID(name); ok {
			ctx.Send(pid, m)
		}
	}
	t.toReplicas(ctx, m)
	for _, pid := range *t.n.coordinators.Load() {
		if pid != nil {
			ctx.Send(pid, m)
		}
	}
	t.brief(ctx)
	t.secondly(ctx)
	t.drainStep()
}

// everySecond is the number of ticks between two rounds of reports.
func (t *root) everySecond() uint64 {
	return max(1, uint64(1e9/int64(t.cfg.TickInterval)))
}

func (t *root) secondly(ctx actor.Context) {
	if t.number%t.everySecond() != 0 || t.clusterID == "" {
		return
	}
	t.announceAll(ctx)
	t.startReport(ctx)
	if t.table == nil {
		t.askForTable(ctx)
	}
}

func (t *root) toReplica(ctx actor.Context, partition uint64, m any) {
	if pid, ok := t.PID(replica.Name(partition)); ok {
		ctx.Send(pid, m)
	}
}

func (t *root) toReplicas(ctx actor.Context, m any) {
	for _, p := range t.held {
		t.toReplica(ctx, p, m)
	}
}

func (t *root) toCoordinators(ctx actor.Context, m any) {
	for _, pid := range *t.n.coordinators.Load() {
		if pid != nil {
			ctx.Send(pid, m)
		}
	}
}

// onNewcomer spawns the coordinator of a partition at its first request.
func (t *root) onNewcomer(ctx actor.Context, m *newcomer) {
	pids := *t.n.coordinators.Load()
	if m.partition >= uint64(len(pids)) {
		m.req.Finish(&messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: "the ring changed; try again"})
		return
	}
	if pids[m.partition] == nil {
		pids = slices.Clone(pids)
		pids[m.partition] = t.newCoordinator(ctx, m.partition)
		t.n.coordinators.Store(&pids)
	}
	if pids[m.partition] != nil {
		ctx.Send(pids[m.partition], m.req)
	}
}

func (t *root) newCoordinator(ctx actor.Context, p uint64) *actor.PID {
	var client [16]byte
	binary.BigEndian.PutUint64(client[:8], t.rng.Uint64())
	binary.BigEndian.PutUint64(client[8:], t.rng.Uint64())
	pid := t.spawn(ctx, coordinator.Name(p), t.props(coordinator.Producer(coordinator.Config{
		Partition: p, Self: t.self(), ClientID: client, Limits: t.cfg.CoordinatorLimits,
		Names: t.nameOf, Missing: t.missing, Observe: t.cfg.Observer.Coordinator,
	})))
	if pid != nil {
		ctx.Send(pid, &call.Tick{Now: t.now, Number: t.number})
		ctx.Send(pid, &call.TableChanged{Table: t.table})
		t.tellDown(ctx, pid, p)
		ctx.Send(pid, &call.MasterChanged{Partition: p, Node: t.masters[p].node, Term: t.masters[p].term})
	}
	return pid
}

// tellDown tells a new actor which of a partition's nodes cannot be reached.
func (t *root) tellDown(ctx actor.Context, pid *actor.PID, p uint64) {
	for _, r := range ring.ReplicasOf(t.table, p) {
		if node := r.GetNodeId(); node != t.self() && !t.up[node] {
			ctx.Send(pid, &call.PeerChanged{Node: node})
		}
	}
}

func (t *root) nameOf(node string) string {
	if name := ring.NameOf(t.table, node); name != node {
		return name
	}
	if g := t.gossip[node]; g != nil {
		return g.Member.GetName()
	}
	return node
}

// missing names the nodes that hold a partition and cannot be reached.
func (t *root) missing(p uint64) []string {
	var names []string
	for _, r := range ring.ReplicasOf(t.table, p) {
		if r.GetNodeId() != t.self() && !t.up[r.GetNodeId()] {
			names = append(names, t.nameOf(r.GetNodeId()))
		}
	}
	return names
}

func (t *root) onPeer(ctx actor.Context, m *call.PeerChanged) {
	t.up[m.Node] = m.Up
	t.toReplicas(ctx, m)
	t.toCoordinators(ctx, m)
	if m.Up {
		t.announceTo(ctx, m.Node)
	}
}

func (t *root) onGossip(ctx actor.Context, g *Gossip) {
	t.gossip[g.Member.GetNodeId()] = g
	if pid, ok := t.PID(bootstrap.Name); ok {
		ctx.Send(pid, &bootstrap.MemberSeen{Member: g.Member, ClusterID: g.ClusterID, Expect: g.Expect, Gone: g.Gone})
	}
}

// onStop ends the coordinators in good order, so that they answer what they hold,
// then everything.
func (t *root) onStop(ctx actor.Context, m *stop) {
	if t.farewell != nil {
		return
	}
	t.farewell = m.done
	for _, pid := range *t.n.coordinators.Load() {
		if pid != nil {
			ctx.Poison(pid)
		}
	}
}

// stopStep ends the tree once every coordinator is gone.
func (t *root) stopStep(ctx actor.Context) {
	if t.farewell == nil || t.ended {
		return
	}
	for p, pid := range *t.n.coordinators.Load() {
		if pid != nil {
			if _, alive := t.PID(coordinator.Name(uint64(p))); alive {
				return
			}
		}
	}
	t.ended = true
	ctx.Stop(ctx.Self())
}

// supervised passes on what the supervisor did, and notes who came back: a new
// incarnation knows nothing.
func (t *root) supervised(e supervisor.Event) {
	if e.Kind == supervisor.Restarted {
		t.revived = append(t.revived, e.Who)
	}
	if t.cfg.Observer.Supervisor != nil {
		t.cfg.Observer.Supervisor(e)
	}
}

// brief tells actors that came back what the others know.
func (t *root) brief(ctx actor.Context) {
	for _, who := range t.revived {
		pid, ok := t.PID(who)
		if !ok {
			continue
		}
		for p, m := range t.masters {
			switch who {
			case coordinator.Name(uint64(p)):
				ctx.Send(pid, &call.TableChanged{Table: t.table})
				t.tellDown(ctx, pid, uint64(p))
				ctx.Send(pid, &call.MasterChanged{Partition: uint64(p), Node: m.node, Term: m.term})
			case replica.Name(uint64(p)):
				t.tellDown(ctx, pid, uint64(p))
			case ringowner.Name:
				if p == ring.SystemPartition {
					ctx.Send(pid, &call.MasterChanged{Node: m.node, Term: m.term})
				}
			}
		}
	}
	t.revived = nil
}

func encode(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	return b, nil
}
