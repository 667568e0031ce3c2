package coordinator

import (
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// deadlineSlack is how much earlier than here a deadline may end at another
	// node, in nanoseconds: two ticks.
	deadlineSlack = int64(100e6)
	// renumberMax bounds the attempts of a request whose every session is said
	// to have expired.
	renumberMax = 16
)

// onReply takes the reply to a forwarded call.
func (c *coordinator) onReply(reply *messages.Reply) {
	number, attempt := splitForwardID(reply.GetId())
	r := c.flight.remote[number]
	if r == nil {
		return // answered or taken back meanwhile
	}
	current := attempt == r.Trail.Attempt
	if !call.Rerouted(reply.GetCode()) {
		// An answer for good, be it to this attempt or to an earlier one.
		if current {
			c.served(r, reply)
		}
		c.land(r)
		r.Finish(reply)
		c.pump()
		return
	}
	if !current {
		return // an earlier attempt was in vain; this one is under way
	}
	c.land(r)
	c.current = r
	c.again(r, reply)
	c.current = nil
	c.pump()
}

// onRedirected takes a reply of the replica of this node.
func (c *coordinator) onRedirected(r *call.Request, reply *messages.Reply) {
	if r.Answered() || r.Trail.Node != c.cfg.Self {
		return // answered or taken back meanwhile
	}
	c.current = r
	c.again(r, reply)
	c.current = nil
	c.pump()
}

// served learns from an answer that whoever gave it is the master.
func (c *coordinator) served(r *call.Request, reply *messages.Reply) {
	switch reply.GetCode() {
	case messages.Code_CODE_OK, messages.Code_CODE_REJECTED, messages.Code_CODE_SESSION_EXPIRED:
		if c.route.served(r.Trail.Node, reply.GetTerm()) {
			c.sayTarget()
		}
	}
}

// land takes a request out of those under way elsewhere.
func (c *coordinator) land(r *call.Request) {
	delete(c.flight.remote, r.Trail.Number)
	if c.probe == r.Trail.Number {
		c.probe = 0
	}
}

// again decides what follows a reply that is not the last word: another attempt,
// or the answer.
func (c *coordinator) again(r *call.Request, reply *messages.Reply) {
	switch reply.GetCode() {
	case messages.Code_CODE_SESSION_EXPIRED:
		c.served(r, reply)
		c.renumber(r, reply)
		return
	case messages.Code_CODE_OVERLOADED:
		if !r.Trail.Unsure {
			r.Finish(reply)
			return
		}
		// It did not run this time, but perhaps before: this is no answer yet.
		c.pausedUntil = c.tick + backoffTicksMax
		c.hold(r)
		return
	case messages.Code_CODE_OUTCOME_UNKNOWN:
		c.unsure(r)
		if c.now >= r.Deadline-deadlineSlack {
			// A slow master says what is about to be said here.
			r.Finish(reply)
			return
		}
	}
	c.refused(r.Trail.Node, reply)
	c.hold(r)
}

// refused takes the news that a node is not, or no longer, the master.
func (c *coordinator) refused(node string, reply *messages.Reply) {
	before := c.route.target
	c.route.refuse(node, reply.GetMasterNode(), reply.GetTerm(), c.tick)
	if before == node {
		c.observe(Event{Kind: Refused, Node: node, Term: reply.GetTerm()})
	}
	if c.route.target != before {
		c.sayTarget()
	}
}

// unsure notes that an attempt of a request may have run. A query changes
// nothing, so that does not matter for it.
func (c *coordinator) unsure(r *call.Request) {
	if !r.Call.GetQuery() {
		r.Trail.Unsure = true
	}
}

// renumber gives a request that the coordinator numbered under a session that the
// partition forgot another number, in a new session.
func (c *coordinator) renumber(r *call.Request, reply *messages.Reply) {
	if !r.Trail.Own || r.Trail.Attempt > renumberMax {
		r.Finish(reply)
		return
	}
	if r.Trail.Unsure {
		c.giveUp(r, c.outcomeUnknown(r))
		return
	}
	if r.Trail.Generation == c.session.generation {
		c.newSession()
	}
	if c.session.span() >= c.cfg.Limits.MaxNumbered {
		c.giveUp(r, c.overload("too many requests without a number of their own wait for an answer"))
		return
	}
	c.session.number(r)
	c.hold(r)
}

// giveUp answers a request in the coordinator's own name.
func (c *coordinator) giveUp(r *call.Request, reply *messages.Reply) {
	reply.Partition = c.cfg.Partition
	if r.Finish(reply) {
		c.observe(Event{Kind: GaveUp, Request: r.Call.GetId(), Code: reply.GetCode()})
	}
}
