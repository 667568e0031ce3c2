package supervisor

import (
	"github.com/asynkron/protoactor-go/actor"
)

// Directive says what a failure calls for.
type Directive uint8

// The directives. There is no escalation and no resumption: an actor that failed
// in the middle of a message is in an unknown state.
const (
	// RestartHere stops the child and lets the parent spawn it anew after a
	// wait, within the policy.
	RestartHere Directive = iota
	// StopAndReport stops the child for good and reports it: a restart would not
	// help.
	StopAndReport
)

// Decider chooses the directive for a failure of the named child. nil decides
// RestartHere always.
type Decider func(child string, reason any) Directive

// Strategy is an actor.SupervisorStrategy that stops a failed child and tells the
// parent when to spawn it anew. It belongs to one parent and is called in that
// parent's mailbox only. Children uses it; a parent that does without Children
// gives it to actor.WithSupervisor and calls Advance on every tick.
type Strategy struct {
	policy Policy
	decide Decider
	draw   func() float64
	now    int64
	// budgets are by PID id: a child that comes back under its name keeps its
	// failures. Looked up, never iterated.
	budgets map[string]*Budget
}

// NewStrategy returns a strategy. draw gives numbers in [0, 1) for the jitter; nil
// means no jitter.
func NewStrategy(p Policy, decide Decider, draw func() float64) *Strategy {
	return &Strategy{policy: p.WithDefaults(), decide: decide, draw: draw, budgets: make(map[string]*Budget)}
}

// Advance moves the strategy's time, in nanoseconds. It never goes back.
func (s *Strategy) Advance(now int64) { s.now = max(s.now, now) }

// Forget drops the failures of a child that will not come back.
func (s *Strategy) Forget(pid *actor.PID) { delete(s.budgets, pid.GetId()) }

// HandleFailure implements actor.SupervisorStrategy. The parent gets a *Failed.
func (s *Strategy) HandleFailure(system *actor.ActorSystem, parent actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	failed := s.judge(child, reason)
	parent.StopChildren(child)
	if self, ok := parent.(interface{ Self() *actor.PID }); ok {
		system.Root.Send(self.Self(), failed)
	}
}

// judge counts a failure and decides what follows.
func (s *Strategy) judge(child *actor.PID, reason any) *Failed {
	budget := s.budgets[child.GetId()]
	if budget == nil {
		budget = s.policy.NewBudget()
		s.budgets[child.GetId()] = budget
	}
	verdict := budget.Record(s.now)
	f := &Failed{PID: child, Reason: reason, Attempt: budget.Attempt()}
	if verdict == Exhausted || s.decide != nil && s.decide(child.GetId(), reason) == StopAndReport {
		f.GiveUp = true
		return f
	}
	f.RestartAtNanos = s.now + int64(s.policy.Backoff(f.Attempt, s.draw))
	return f
}
