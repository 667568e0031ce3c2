package bootstrap

import (
	"github.com/seed-49de4af9/ringmaster/messages"
)

// change is what was written.
type change uint8

const (
	changeAccept change = iota
	changeRelease
	changeForm
	changeJoin
)

// stored brings the end of a write into the mailbox.
type stored struct {
	life   uint64
	change change
	// plan is the one accepted, released or formed.
	plan *messages.BootstrapPlan
	// clusterID is the cluster joined.
	clusterID string
	why       string
	err       error
}

func (b *bootstrap) accept(plan *messages.BootstrapPlan) {
	b.cfg.Ports.Accept(plan, b.write(stored{change: changeAccept, plan: plan}))
}

func (b *bootstrap) release(why string) {
	b.cfg.Ports.Release(b.write(stored{change: changeRelease, plan: b.plan, why: why}))
}

func (b *bootstrap) form(plan *messages.BootstrapPlan) {
	b.cfg.Ports.Form(plan, b.write(stored{change: changeForm, plan: plan}))
}

func (b *bootstrap) join(clusterID string) {
	b.cfg.Ports.Join(clusterID, b.write(stored{change: changeJoin, clusterID: clusterID}))
}

// write begins a change; the result goes to the port as done.
func (b *bootstrap) write(s stored) func(error) {
	b.writing = true
	b.shared.pending++
	s.life = b.life
	root, self := b.ctx.ActorSystem().Root, b.ctx.Self()
	return func(err error) {
		s.err = err
		root.Send(self, &s)
	}
}

// onStored goes on after a write. A failed one is the end: the node stops, and
// finds out from its disk what it did when it starts again.
func (b *bootstrap) onStored(s *stored) {
	b.shared.pending--
	if s.life != b.life {
		b.load()
		return
	}
	if s.err != nil {
		b.cfg.Logger.Error("bootstrap cannot be kept on disk; check the data directory and start the node again",
			"error", s.err)
		return
	}
	b.writing = false
	b.nextTry, b.tries = b.now, 0
	switch s.change {
	case changeAccept:
		b.onAccepted(s.plan)
	case changeRelease:
		b.onReleased(s)
	case changeForm:
		b.onFormed(s.plan)
	case changeJoin:
		b.clusterID = s.clusterID
		b.say("", Event{Kind: Joined, ClusterID: b.clusterID})
	}
}

func (b *bootstrap) onAccepted(plan *messages.BootstrapPlan) {
	b.plan = plan
	b.say("", Event{Kind: Accepted, ClusterID: plan.GetClusterId(), Node: plan.GetProposer()})
	if !b.own() {
		b.answer(plan, true, "")
		b.nextTry = b.now + int64(b.cfg.Retry)
		return
	}
	b.accepted = map[string]bool{b.self: true}
	b.pursue(b.foreign())
}

// onReleased tells the members of the own plan that it is no more; those who do
// not hear it ask.
func (b *bootstrap) onReleased(s *stored) {
	b.plan, b.accepted = nil, map[string]bool{}
	b.say("", Event{Kind: Released, ClusterID: s.plan.GetClusterId(), Node: s.plan.GetProposer(), Detail: s.why})
	if s.plan.GetProposer() != b.self {
		return
	}
	b.yieldUntil = b.now + yieldRetries*int64(b.cfg.Retry)
	for _, m := range s.plan.GetTable().GetMembers() {
		if m.GetNodeId() != b.self {
			b.send(m.GetNodeId(), &messages.BootstrapRelease{Plan: s.plan.GetClusterId()})
		}
	}
}

func (b *bootstrap) onFormed(plan *messages.BootstrapPlan) {
	b.clusterID = plan.GetClusterId()
	b.say("", Event{Kind: Formed, ClusterID: b.clusterID, Node: plan.GetProposer(), Count: len(plan.GetTable().GetMembers())})
	if plan.GetProposer() != b.self {
		return
	}
	for _, m := range plan.GetTable().GetMembers() {
		if m.GetNodeId() != b.self {
			b.send(m.GetNodeId(), &messages.BootstrapDone{Plan: plan})
		}
	}
}

// say observes and logs a step, unless it is what was said last about the node.
func (b *bootstrap) say(about string, e Event) {
	text := string(e.Kind) + itoa(uint32(e.Count)) + e.ClusterID + e.Detail
	if about != "" {
		text = e.Detail
	}
	if b.said[about] == text {
		return
	}
	b.said[about] = text
	if b.cfg.Observe != nil {
		b.cfg.Observe(e)
	}
	log := b.cfg.Logger
	switch e.Kind {
	case Waiting:
		log.Info("bootstrap waits for nodes", "seen", e.Count, "expect", b.cfg.Expect)
	case Proposed:
		log.Info("bootstrap proposes a cluster", "cluster", e.ClusterID, "members", e.Count)
	case Accepted:
		log.Info("bootstrap plan accepted", "cluster", e.ClusterID, "proposer", e.Node)
	case Refused:
		log.Warn("bootstrap plan refused", "cluster", e.ClusterID, "other", e.Node, "reason", e.Detail)
	case Released:
		log.Info("bootstrap plan given up", "cluster", e.ClusterID, "proposer", e.Node, "reason", e.Detail)
	case Formed:
		log.Info("cluster formed", "cluster", e.ClusterID, "members", e.Count)
	case Joined:
		log.Info("cluster joined", "cluster", e.ClusterID)
	}
}
