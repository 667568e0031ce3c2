package node

import (
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// onMaster takes what a replica here says about its master. Of its own mastership
// it tells the other nodes.
func (t *root) onMaster(ctx actor.Context, m *call.MasterChanged) {
	before := t.masterOf(m.Partition)
	if !t.learn(ctx, m) {
		return
	}
	if m.Node == t.self() && before.node != t.self() {
		a := &messages.MasterAnnounce{Masters: []*messages.Mastership{{Partition: m.Partition, Term: m.Term}}}
		for _, node := range t.others() {
			ctx.Request(actor.NewPID(node, ringowner.NodeName), a)
		}
	}
}

func (t *root) masterOf(p uint64) mastership {
	if p < uint64(len(t.masters)) {
		return t.masters[p]
	}
	return mastership{}
}

// learn keeps the newest that is known about a master and passes it on.
func (t *root) learn(ctx actor.Context, m *call.MasterChanged) bool {
	if m.Partition >= uint64(len(t.masters)) {
		return false
	}
	now := &t.masters[m.Partition]
	if m.Term < now.term || (m.Term == now.term && m.Node == now.node) {
		return false
	}
	*now = mastership{m.Node, m.Term}
	t.changed = true
	if pids := *t.n.coordinators.Load(); m.Partition < uint64(len(pids)) && pids[m.Partition] != nil {
		ctx.Send(pids[m.Partition], m)
	}
	if m.Partition == ring.SystemPartition {
		if pid, ok := t.PID(ringowner.Name); ok {
			ctx.Send(pid, m)
		}
	}
	return true
}

// onAnnounce takes what another node says about its own masterships.
func (t *root) onAnnounce(ctx actor.Context, m *messages.MasterAnnounce) {
	from := ctx.Sender()
	if from == nil || from.GetAddress() == t.self() {
		return
	}
	for _, a := range m.GetMasters() {
		known := t.masterOf(a.GetPartition())
		if a.GetTerm() > known.term || (a.GetTerm() == known.term && known.node == "") {
			t.learn(ctx, &call.MasterChanged{Partition: a.GetPartition(), Node: from.GetAddress(), Term: a.GetTerm()})
		}
	}
}

// announceAll repeats to everybody what this node masters.
func (t *root) announceAll(ctx actor.Context) {
	for _, node := range t.others() {
		t.announceTo(ctx, node)
	}
}

func (t *root) announceTo(ctx actor.Context, node string) {
	a := &messages.MasterAnnounce{}
	for p, m := range t.masters {
		if m.node == t.self() {
			a.Masters = append(a.Masters, &messages.Mastership{Partition: uint64(p), Term: m.term})
		}
	}
	if len(a.GetMasters()) > 0 {
		ctx.Request(actor.NewPID(node, ringowner.NodeName), a)
	}
}

// others are the nodes that may want to hear from this one, sorted.
func (t *root) others() []string {
	set := map[string]bool{}
	for _, m := range t.table.GetMembers() {
		set[m.GetNodeId()] = true
	}
	for id, g := range t.gossip {
		if g.ClusterID == t.clusterID && !g.Gone {
			set[id] = true
		}
	}
	delete(set, t.self())
	return slices.Sorted(maps.Keys(set))
}

// publish makes the route anew if something in it changed.
func (t *root) publish() {
	if !t.changed {
		return
	}
	t.changed = false
	route := &messages.Route{
		ClusterId: t.clusterID, Epoch: t.table.GetEpoch(), PartitionCount: t.table.GetPartitionCount(),
		Members: t.table.GetMembers(), NodeId: t.self(),
	}
	for _, m := range t.masters {
		route.Masters = append(route.Masters, m.node)
	}
	t.n.route.Store(route)
}

// calls serves requests that the coordinators of other nodes forward.
type calls struct{ t *root }

// Receive implements actor.Actor.
func (c *calls) Receive(ctx actor.Context) {
	m, ok := ctx.Message().(*messages.Call)
	from := ctx.Sender()
	if !ok || from == nil {
		return
	}
	root := c.t.n.root
	req := &call.Request{Call: m, Done: func(reply *messages.Reply) { root.Send(from, reply) }}
	p := ring.Partition(m.GetKind(), m.GetKey(), c.t.table.GetPartitionCount())
	if pid, ok := c.t.PID(replica.Name(p)); ok && c.t.table != nil {
		ctx.Send(pid, req)
		return
	}
	hint := c.t.masterOf(p).node
	if hint == c.t.self() {
		hint = ""
	}
	req.Answer(&messages.Reply{Code: messages.Code_CODE_NOT_MASTER, Partition: p, MasterNode: hint})
}
