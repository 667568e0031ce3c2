package bootstrap

import (
	"fmt"
	"strconv"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// onOffer answers another node's plan, or this node's own that came back.
func (b *bootstrap) onOffer(plan *messages.BootstrapPlan) {
	if plan.GetProposer() == "" || plan.GetProposer() == b.self || b.writing {
		return
	}
	if b.plan != nil && b.plan.GetClusterId() == plan.GetClusterId() {
		b.answer(plan, true, "")
		return
	}
	reason := b.objection(plan)
	if reason == "" && b.own() && plan.GetProposer() < b.self {
		b.yield(plan.GetProposer())
		return
	}
	if reason == "" {
		reason = b.conflict()
	}
	if reason != "" {
		b.say(plan.GetProposer(), Event{Kind: Refused, ClusterID: plan.GetClusterId(), Node: plan.GetProposer(), Detail: reason})
		b.answer(plan, false, reason)
		return
	}
	b.accept(plan)
}

// objection is why this node would never accept a plan; empty if it might.
func (b *bootstrap) objection(plan *messages.BootstrapPlan) string {
	members := plan.GetTable().GetMembers()
	switch {
	case b.clusterID != "":
		return fmt.Sprintf("node %s belongs to cluster %s already; let new nodes join it with --join", b.name(), b.clusterID)
	case b.cfg.Expect == 0:
		return fmt.Sprintf("node %s was started without --expect; start it with --expect %d to take part", b.name(), len(members))
	case int(b.cfg.Expect) != len(members):
		return fmt.Sprintf("node %s was started with --expect %d, the proposer with --expect %d; start all first nodes with the same number",
			b.name(), b.cfg.Expect, len(members))
	case plan.GetClusterId() == "" || !memberOf(plan, b.self) || members[0].GetNodeId() != plan.GetProposer():
		return fmt.Sprintf("the plan of node %s is malformed; run the same version on all nodes", plan.GetProposer())
	}
	return ""
}

// conflict is why this node cannot accept any plan now; empty if it can.
func (b *bootstrap) conflict() string {
	foreign := b.foreign()
	switch {
	case b.plan != nil:
		return fmt.Sprintf("node %s has accepted the plan of node %s; wait for its end", b.name(), b.plan.GetProposer())
	case len(foreign) > 0:
		return fmt.Sprintf("node %s sees cluster %s by gossip and will join that", b.name(), foreign[0])
	}
	return ""
}

func (b *bootstrap) answer(plan *messages.BootstrapPlan, accepted bool, reason string) {
	held := ""
	if !accepted {
		held = b.plan.GetProposer()
	}
	b.send(plan.GetProposer(), &messages.BootstrapAnswer{
		NodeId: b.self, ClusterId: b.clusterID, Accepted: accepted, Reason: reason,
		Plan: plan.GetClusterId(), HeldProposer: held,
	})
}

// onAnswer counts a member that holds the own plan, or sees why one does not.
func (b *bootstrap) onAnswer(m *messages.BootstrapAnswer) {
	if !b.own() || b.writing || m.GetPlan() != b.plan.GetClusterId() || !memberOf(b.plan, m.GetNodeId()) {
		return
	}
	switch {
	case m.GetAccepted():
		b.accepted[m.GetNodeId()] = true
		if b.complete() {
			b.form(b.plan)
		}
	case m.GetClusterId() != "":
		b.release(m.GetReason())
	case m.GetHeldProposer() != "" && m.GetHeldProposer() < b.self:
		b.yield(m.GetHeldProposer())
	default:
		b.say(m.GetNodeId(), Event{Kind: Refused, ClusterID: m.GetPlan(), Node: m.GetNodeId(), Detail: m.GetReason()})
	}
}

// yield gives the own plan up in favor of a lower proposer's.
func (b *bootstrap) yield(to string) {
	b.release("node " + to + ", with a lower id, proposes too")
}

// onAsk tells how a plan ended, where this node knows. Whoever belongs to the
// plan's cluster knows that it was formed.
func (b *bootstrap) onAsk(m *messages.BootstrapAsk) {
	switch {
	case b.writing || m.GetPlan() == "":
	case b.clusterID == m.GetPlan():
		b.send(m.GetNodeId(), &messages.BootstrapDone{Plan: &messages.BootstrapPlan{ClusterId: m.GetPlan()}})
	case m.GetProposer() == b.self && b.plan.GetClusterId() != m.GetPlan():
		b.send(m.GetNodeId(), &messages.BootstrapRelease{Plan: m.GetPlan()})
	}
}

// onDone forms the cluster whose plan all members accepted: the plan that this
// node holds, of which the message need only name the cluster.
func (b *bootstrap) onDone(plan *messages.BootstrapPlan) {
	held := b.plan != nil && b.plan.GetClusterId() == plan.GetClusterId()
	if b.writing || b.clusterID != "" || !held {
		return
	}
	b.form(b.plan)
}

// onRelease forgets a plan that its proposer gave up.
func (b *bootstrap) onRelease(m *messages.BootstrapRelease) {
	if b.writing || b.clusterID != "" || b.plan == nil || b.plan.GetClusterId() != m.GetPlan() {
		return
	}
	b.release("its proposer gave it up")
}

func (b *bootstrap) name() string {
	if name := b.cfg.Self.GetName(); name != "" {
		return name
	}
	return b.self
}

func itoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
