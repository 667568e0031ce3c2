package bootstrap

import (
	"cmp"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// yieldRetries is for how many retries a proposer that gave way to a lower one
// leaves it the field.
const yieldRetries = 5

// stuckTries is after how many tries without success people are told: 20, some
// ten seconds.
const stuckTries = 20

// bootstrap is the actor. It is in one of four states: it belongs to a cluster
// (clusterID is set), or holds a plan of its own (plan, proposer is self), or one
// of another node, or none.
type bootstrap struct {
	cfg  Config
	ctx  actor.Context
	self string
	// shared outlives a restart of the actor.
	shared *shared
	life   uint64
	now    int64

	clusterID string
	plan      *messages.BootstrapPlan
	// writing: a change is on its way to the disk. Nothing else is begun.
	writing bool

	// seen is what gossip says about the nodes it sees alive, self included.
	seen map[string]*MemberSeen
	// lowest is the ids of the N lowest nodes, since when they are the same.
	lowest      []string
	lowestSince int64

	// accepted is who is known to hold the own plan.
	accepted map[string]bool
	nextTry  int64
	// tries counts the offers or questions about the plan held.
	tries int
	// yieldUntil: until then this node proposes nothing.
	yieldUntil int64
	// said is what was logged last about each node, not to be repeated.
	said map[string]string
}

// shared is what the incarnations of the actor have in common.
type shared struct {
	// lives counts them: the result of an earlier one's write is not this one's.
	lives uint64
	// pending counts the writes under way, of all of them: what is on disk is
	// known only when there is none.
	pending int
}

// Producer makes the actor.
func Producer(cfg Config) actor.Producer {
	cfg = cfg.withDefaults()
	common := &shared{}
	return func() actor.Actor {
		common.lives++
		return &bootstrap{
			cfg: cfg, self: cfg.Self.GetNodeId(), shared: common, life: common.lives, writing: true,
			seen: map[string]*MemberSeen{}, accepted: map[string]bool{}, said: map[string]string{},
		}
	}
}

// Receive implements actor.Actor.
func (b *bootstrap) Receive(ctx actor.Context) {
	b.ctx = ctx
	switch m := ctx.Message().(type) {
	case *actor.Started:
		b.load()
	case *call.Tick:
		b.onTick(m.Now)
	case *MemberSeen:
		b.onSeen(m)
	case *stored:
		b.onStored(m)
	case *messages.BootstrapOffer:
		b.onOffer(m.GetPlan())
	case *messages.BootstrapAnswer:
		b.onAnswer(m)
	case *messages.BootstrapAsk:
		b.onAsk(m)
	case *messages.BootstrapDone:
		b.onDone(m.GetPlan())
	case *messages.BootstrapRelease:
		b.onRelease(m)
	}
}

// load takes up what the disk says, once nothing is on its way there.
func (b *bootstrap) load() {
	if b.shared.pending > 0 {
		return
	}
	b.writing = false
	identity := b.cfg.Ports.Identity()
	b.clusterID, b.plan = identity.GetClusterId(), identity.GetPlan()
	b.see(&MemberSeen{Member: b.cfg.Self, ClusterID: b.clusterID, Expect: b.cfg.Expect})
	if b.own() {
		b.accepted[b.self] = true
	}
}

// own says that the plan held is this node's, and not decided yet.
func (b *bootstrap) own() bool {
	return b.clusterID == "" && b.plan != nil && b.plan.GetProposer() == b.self
}

func (b *bootstrap) onSeen(m *MemberSeen) {
	if id := m.Member.GetNodeId(); id != "" && id != b.self {
		b.see(m)
	}
}

func (b *bootstrap) see(m *MemberSeen) {
	if m.Gone {
		delete(b.seen, m.Member.GetNodeId())
	} else {
		b.seen[m.Member.GetNodeId()] = m
	}
	lowest := b.lowestNodes()
	if !slices.Equal(lowest, b.lowest) {
		b.lowest, b.lowestSince = lowest, b.now
	}
	if b.clusterID == "" && b.cfg.Expect > 0 {
		b.say("", Event{Kind: Waiting, Count: len(lowest)})
	}
}

// lowestNodes is the N lowest ids, or all if fewer, of the nodes that wait for a
// cluster.
func (b *bootstrap) lowestNodes() []string {
	var ids []string
	for id, m := range b.seen {
		if m.ClusterID == "" && m.Expect > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), int(b.cfg.Expect))]
}

// foreign is the clusters that gossip shows.
func (b *bootstrap) foreign() []string {
	var clusters []string
	for _, m := range b.seen {
		if m.ClusterID != "" && m.Member.GetNodeId() != b.self {
			clusters = append(clusters, m.ClusterID)
		}
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// onTick does what is due in the present state.
func (b *bootstrap) onTick(now int64) {
	b.now = now
	if b.lowestSince == 0 {
		b.lowestSince = now
	}
	if b.clusterID != "" || b.writing {
		return
	}
	switch foreign := b.foreign(); {
	case b.own():
		b.pursue(foreign)
	case b.plan != nil:
		b.ask()
	case len(foreign) == 1:
		b.join(foreign[0])
	case len(foreign) > 1:
		b.say("", Event{Kind: Refused, Detail: "gossip shows the clusters " + strings.Join(foreign, " and ") +
			"; point --join at the nodes of one of them only"})
	default:
		b.propose()
	}
}

// propose makes a plan if this node is the lowest of N that stay the same.
func (b *bootstrap) propose() {
	n := int(b.cfg.Expect)
	settled := n == 1 || b.now-b.lowestSince >= int64(b.cfg.Settle)
	if n == 0 || len(b.lowest) < n || b.lowest[0] != b.self || !settled || b.now < b.yieldUntil {
		return
	}
	members := make([]*messages.Member, 0, n)
	for _, id := range b.lowest {
		members = append(members, b.seen[id].Member)
	}
	id := b.cfg.Ports.NewClusterID()
	plan := &messages.BootstrapPlan{
		ClusterId: id,
		Proposer:  b.self,
		Table:     ring.NewTable(id, members, b.cfg.Partitions, b.cfg.Replication),
		Time:      b.now,
	}
	b.say("", Event{Kind: Proposed, ClusterID: id, Count: n})
	b.accept(plan)
}

// pursue repeats the offers of the own plan, or gives it up.
func (b *bootstrap) pursue(foreign []string) {
	switch {
	case uint32(len(b.plan.GetTable().GetMembers())) != b.cfg.Expect:
		b.release("this node was started again with --expect " + itoa(b.cfg.Expect))
	case len(foreign) > 0:
		b.release("gossip shows cluster " + foreign[0])
	case b.complete():
		b.form(b.plan)
	case b.now >= b.nextTry:
		b.nextTry = b.now + int64(b.cfg.Retry)
		var missing []string
		for _, m := range b.plan.GetTable().GetMembers() {
			if !b.accepted[m.GetNodeId()] {
				missing = append(missing, cmp.Or(m.GetName(), m.GetNodeId()))
				b.send(m.GetNodeId(), &messages.BootstrapOffer{Plan: b.plan})
			}
		}
		b.tried("no answer yet from " + strings.Join(missing, ", ") + "; start them, and see that their peer addresses can be reached")
	}
}

// tried counts a try and, when they get many, says what is waited for.
func (b *bootstrap) tried(what string) {
	if b.tries++; b.tries%stuckTries == 0 {
		b.cfg.Logger.Warn("bootstrap waits", "cluster", b.plan.GetClusterId(), "for", what)
	}
}

// complete says that every member is known to hold the own plan.
func (b *bootstrap) complete() bool {
	for _, m := range b.plan.GetTable().GetMembers() {
		if !b.accepted[m.GetNodeId()] {
			return false
		}
	}
	return true
}

// ask asks the others of the plan held how it ended; the proposer knows, and so
// does everybody who belongs to its cluster.
func (b *bootstrap) ask() {
	if b.now < b.nextTry {
		return
	}
	b.nextTry = b.now + int64(b.cfg.Retry)
	for _, m := range b.plan.GetTable().GetMembers() {
		if m.GetNodeId() != b.self {
			b.send(m.GetNodeId(), &messages.BootstrapAsk{
				NodeId: b.self, Plan: b.plan.GetClusterId(), Proposer: b.plan.GetProposer(),
			})
		}
	}
	b.tried("the end of the plan of node " + b.plan.GetProposer() +
		"; start that node, or if its data is gone for good empty this node's data directory, which has no data yet")
}

func (b *bootstrap) send(node string, m any) {
	b.ctx.Send(actor.NewPID(node, Name), m)
}

// memberOf says that a plan has a node among its members.
func memberOf(plan *messages.BootstrapPlan, node string) bool {
	return ring.MemberByID(plan.GetTable(), node) != nil
}
