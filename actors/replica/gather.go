package replica

import "time"

// gathering decides when the open batch is proposed.
//
// Most of what a round costs does not depend on how many turns it carries, so a
// loaded partition does better with few large rounds. While a round is under way
// the turns of the next one gather; and when it is committed, its callers, just
// answered, come back within a moment: a loaded partition waits for them, at most
// half of the time that commits take. A partition that is not loaded never waits.
type gathering struct {
	// latency is the mean time to commit of late, in nanoseconds.
	latency int64
	// company is how many requests were under way at a time, of late.
	company int
}

// settled takes note of a round that took d nanoseconds.
func (g *gathering) settled(d int64, requests int) {
	d = min(max(d, 0), int64(time.Second))
	g.latency += (d - g.latency) / 8
	g.company = max(requests, g.company-g.company/8-1)
}

// due reports whether the open batch is to be proposed now.
func (m *master) due() bool {
	n := len(m.open.entry.GetTurns())
	limits := &m.r.host.cfg.Limits
	switch {
	case n == 0 || len(m.flying) >= limits.RoundsInFlight:
		return false
	case m.r.host.cfg.After == nil || limits.GatherAbove < 0 || m.gather.latency < int64(limits.GatherAbove):
		return true
	case n >= m.gather.company:
		return true // nobody is missing
	case len(m.flying) > 0:
		return false
	}
	wait := min(m.gather.latency/2, int64(limits.GatherMax))
	now := m.r.host.cfg.Clock()
	if m.open.since == 0 || now < m.open.since {
		m.open.since = now
	}
	if now-m.open.since >= wait {
		return true
	}
	m.r.host.nudgeLater(m.r)
	return false
}

// nudge wakes the replicas whose batches wait for company.
type nudge struct{}

// nudgeEvery is how often waiting batches are looked at.
const nudgeEvery = time.Millisecond

func (h *Host) nudgeLater(r *Replica) {
	if r.nudged {
		return
	}
	r.nudged = true
	h.lingering = append(h.lingering, r)
	if len(h.lingering) == 1 {
		root, inbox := h.cfg.System.Root, h.inbox
		h.cfg.After(nudgeEvery, func() { root.Send(inbox, &nudge{}) })
	}
}

func (h *Host) nudge() {
	waiting := h.lingering
	h.lingering = nil
	for _, r := range waiting {
		r.nudged = false
		r.wake()
	}
}
