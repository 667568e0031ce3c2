package coordinator

import (
	"math"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// onMaster takes a belief of a replica, or of a master itself. What is under way
// at another node elsewhere is sent to the new master too: the old one may be cut
// off, and the numbers make the second attempt safe.
func (c *coordinator) onMaster(m *call.MasterChanged) {
	if m.Partition != c.cfg.Partition {
		return
	}
	before := c.route.target
	if !c.route.believe(m.Node, m.Term, c.tick) {
		return
	}
	if c.route.target != before {
		c.sayTarget()
	}
	if target := c.route.target; target != "" {
		c.takeBack(func(r *call.Request) bool { return r.Trail.Node != target })
	}
	c.pausedUntil = 0
	c.pump()
}

// onPeer takes the news that a node came or went. What was under way there is
// held again.
func (c *coordinator) onPeer(m *call.PeerChanged) {
	if m.Node == c.cfg.Self {
		return
	}
	delete(c.calls, m.Node) // the link may be another one
	c.route.peer(m.Node, m.Up, c.tick)
	if !m.Up {
		c.takeBack(func(r *call.Request) bool { return r.Trail.Node == m.Node })
	}
	c.pump()
}

// takeBack holds the requests again that pick chooses among those under way
// elsewhere.
func (c *coordinator) takeBack(pick func(*call.Request) bool) {
	back := c.flight.byNumber(pick)
	if len(back) == 0 {
		return
	}
	c.observe(Event{Kind: TakenBack, Node: back[0].Trail.Node, Count: len(back)})
	for _, r := range back {
		c.land(r)
		c.unsure(r)
		c.hold(r)
	}
}

// onTable takes the nodes that hold the partition from the ring's table.
func (c *coordinator) onTable(table *messages.Table) {
	assignments := table.GetAssignments()
	if c.cfg.Partition >= uint64(len(assignments)) {
		return
	}
	var copies []string
	for _, at := range assignments[c.cfg.Partition].GetReplicas() {
		copies = append(copies, at.GetNodeId())
	}
	c.route.place(copies, c.tick)
	c.pump()
}

// onTerminated takes the news that the replica of this node is gone, with all the
// requests it had in its hands and in its mailbox.
func (c *coordinator) onTerminated(m *actor.Terminated) {
	if m.Who.GetId() != c.replica.GetId() || m.Who.GetAddress() != c.replica.GetAddress() {
		return
	}
	c.watching = false
	never := m.Why == actor.TerminatedReason_NotFound
	if c.route.target == c.cfg.Self {
		c.route.lost(c.tick)
		c.sayTarget()
	}
	if c.route.believed == c.cfg.Self {
		c.route.believed = ""
	}
	count := 0
	c.flight.sweepLocal(func(r *call.Request) bool {
		if !never {
			c.unsure(r)
		}
		c.hold(r)
		count++
		return true
	})
	if count > 0 {
		c.observe(Event{Kind: TakenBack, Node: c.cfg.Self, Count: count})
	}
	c.pump()
}

// onTick moves the time: deadlines end, held requests are answered, back-offs
// end.
func (c *coordinator) onTick(m *call.Tick) {
	first := c.now == 0
	c.now, c.tick = m.Now, m.Number
	if first {
		c.date()
	}
	if c.now >= c.flight.due {
		c.expireFlight()
	}
	c.flight.sweepLocal(func(*call.Request) bool { return false })
	if probe := c.probe; probe != 0 && c.route.open() {
		c.probe = 0 // the master is known: it is a request like any other
	} else if probe != 0 && c.tick >= c.probeEnd {
		c.takeBack(func(r *call.Request) bool { return r.Trail.Number == probe })
	}
	if c.held.len() > 0 {
		c.held.expire(c.expireHeld)
		c.pump()
	}
}

// date gives the requests that came before the first tick their times.
func (c *coordinator) date() {
	c.held.expire(func(r *call.Request) bool {
		r.Trail.Held = c.now
		if r.Deadline == 0 {
			r.Deadline = c.now + int64(c.timeout(r))
		}
		return false
	})
}

// expireHeld answers a held request whose time is over. A request that may have
// run is kept to its deadline: only another attempt can tell.
func (c *coordinator) expireHeld(r *call.Request) bool {
	switch {
	case r.Answered():
	case r.Trail.Unsure && c.now >= r.Deadline:
		c.giveUp(r, c.outcomeUnknown(r))
	case !r.Trail.Unsure && (c.now >= r.Deadline || c.now-r.Trail.Held >= int64(c.cfg.Limits.HoldFor)):
		c.giveUp(r, c.unavailable())
	default:
		return false
	}
	return true
}

// expireFlight answers the requests under way whose deadline is over.
func (c *coordinator) expireFlight() {
	c.flight.due = math.MaxInt64
	over := func(r *call.Request) bool {
		if c.now < r.Deadline {
			c.flight.due = min(c.flight.due, r.Deadline)
			return false
		}
		return true
	}
	for _, r := range c.flight.byNumber(over) {
		c.land(r)
		c.giveUp(r, c.lateAnswer(r))
	}
	c.flight.sweepLocal(func(r *call.Request) bool {
		if !over(r) {
			return false
		}
		c.giveUp(r, c.lateAnswer(r))
		return true
	})
}

// onEnd answers everything: this incarnation ends and its memory with it.
func (c *coordinator) onEnd() {
	if r := c.current; r != nil {
		c.giveUp(r, c.atEnd(r)) // it made this coordinator fail
	}
	for r := c.held.take(); r != nil; r = c.held.take() {
		c.giveUp(r, c.atEnd(r))
	}
	for _, r := range c.flight.byNumber(func(*call.Request) bool { return true }) {
		c.land(r)
		c.giveUp(r, c.atEnd(r))
	}
	c.flight.sweepLocal(func(r *call.Request) bool {
		c.giveUp(r, c.atEnd(r))
		return true
	})
}
