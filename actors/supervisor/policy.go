// Package supervisor is the supervision tree of a node: what happens to an actor
// that fails. It uses Erlang's words: at most Intensity restarts within Period,
// then the supervisor gives up; and one word more: the waits between restarts
// grow, so that a fault outside gets the time to heal.
//
// protoactor's own strategies are not used, for what they were seen to do: the
// "exponential" backoff is linear and has no end, a restart that reaches a
// stopping child revives it, an escalation at the top kills the process. Here a
// failed child is always stopped, all of it, and later spawned anew by its parent
// from what is durable; the parent does so on a call.Tick, since actors have no
// timers; and giving up is a message to whoever can do better, never an
// escalation.
//
// Supervisors multiply: a parent with intensity 10 over children with intensity
// 10 makes 100 restarts. Keep the product small.
package supervisor

import "time"

// Policy says how often and how fast failed children come back. Zero fields mean
// the defaults.
type Policy struct {
	// Intensity is how many restarts of one child are made within Period; the
	// next failure is one too many. Default 5. Negative: none, the first failure
	// is the last.
	Intensity int
	// Period is the length of the sliding window. Default 30 s: together with
	// Intensity 5 a burst of five is forgiven, a failure every six seconds is
	// not.
	Period time.Duration
	// BackoffMin is the wait before the first restart within a window; each
	// further one waits twice as long. Default 50 ms, one tick.
	BackoffMin time.Duration
	// BackoffMax caps the wait. Default 5 s.
	BackoffMax time.Duration
	// Jitter spreads a wait by up to this fraction of itself, up and down, so
	// that what failed together does not come back together. Default 0.2;
	// negative: none.
	Jitter float64
	// StopWithin is how long after the wait a failed child may take to stop
	// before it is given up. Default 10 s.
	StopWithin time.Duration
}

// WithDefaults fills in the zero fields.
func (p Policy) WithDefaults() Policy {
	if p.Intensity == 0 {
		p.Intensity = 5
	}
	if p.Period <= 0 {
		p.Period = 30 * time.Second
	}
	if p.BackoffMin <= 0 {
		p.BackoffMin = 50 * time.Millisecond
	}
	if p.BackoffMax <= 0 {
		p.BackoffMax = 5 * time.Second
	}
	if p.StopWithin <= 0 {
		p.StopWithin = 10 * time.Second
	}
	if p.Jitter == 0 {
		p.Jitter = 0.2
	}
	return p
}

// Backoff is how long the attempt-th restart waits (1, 2, 3, ...). draw gives a
// number in [0, 1) for the jitter; nil: no jitter. The result is never above
// BackoffMax.
func (p Policy) Backoff(attempt int, draw func() float64) time.Duration {
	p = p.WithDefaults()
	wait := min(p.BackoffMin, p.BackoffMax)
	for i := 1; i < attempt && wait < p.BackoffMax; i++ {
		wait = min(2*wait, p.BackoffMax)
	}
	if draw == nil || p.Jitter < 0 {
		return wait
	}
	jitter := min(p.Jitter, 1)
	spread := time.Duration(float64(wait) * jitter * (2*draw() - 1))
	return max(0, min(wait+spread, p.BackoffMax))
}

// Verdict is what a Budget says to a failure.
type Verdict uint8

// The verdicts.
const (
	// Allowed: another restart is within the policy.
	Allowed Verdict = iota
	// Exhausted: it is not; give up.
	Exhausted
)

// Budget counts the failures of one child in a sliding window. It has no clock:
// the time comes with each failure.
type Budget struct {
	intensity int
	period    int64
	failures  []int64
}

// NewBudget returns an unused budget.
func (p Policy) NewBudget() *Budget {
	p = p.WithDefaults()
	return &Budget{intensity: max(0, p.Intensity), period: int64(p.Period)}
}

// Record counts a failure at a time in nanoseconds and says whether a restart is
// still allowed. A clock that goes back counts as one that stands still.
func (b *Budget) Record(now int64) Verdict {
	if n := len(b.failures); n > 0 {
		now = max(now, b.failures[n-1])
	}
	kept := b.failures[:0]
	for _, at := range b.failures {
		if now-at < b.period {
			kept = append(kept, at)
		}
	}
	b.failures = append(kept, now)
	if len(b.failures) > b.intensity {
		return Exhausted
	}
	return Allowed
}

// Attempt is the number of failures within the window at the last Record: the
// number of the restart that follows.
func (b *Budget) Attempt() int { return len(b.failures) }

// Reset forgets every failure.
func (b *Budget) Reset() { b.failures = b.failures[:0] }
