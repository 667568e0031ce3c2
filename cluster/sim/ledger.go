package sim

import "github.com/seed-49de4af9/ringmaster/actors"

// Range bounds an amount, both ends included.
type Range struct{ Least, Most int64 }

// Sum adds up, for each actor of a kind, what the commands of one method should
// have changed it by: at least what was acknowledged, at most that and all that is
// of unknown outcome. Amounts must not be negative. It judges in linear time what
// the Checker judges more closely: whether something was lost or happened twice.
func (h *History) Sum(kind, method string, amount func(op *Op) int64) map[actors.ActorID]Range {
	sums := map[actors.ActorID]Range{}
	for _, op := range h.ops {
		if op.Actor.Kind != kind || op.Method.Name != method {
			continue
		}
		r := sums[op.Actor]
		switch {
		case op.Outcome == Acked && op.Rejection == nil && !op.Failed:
			r.Least += amount(op)
			r.Most += amount(op)
		case op.Outcome == Unknown:
			r.Most += amount(op)
		}
		sums[op.Actor] = r
	}
	return sums
}
