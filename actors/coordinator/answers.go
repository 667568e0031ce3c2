package coordinator

import (
	"fmt"
	"strings"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// What to wait before the next attempt, in milliseconds.
const (
	// retrySoonMillis is about what an election takes.
	retrySoonMillis = 250
	// retryLaterMillis is for a partition that a person has to help.
	retryLaterMillis = 1000
	retryBusyMillis  = 100
)

// where opens every text.
func (c *coordinator) where() string {
	return fmt.Sprintf("partition %d: ", c.cfg.Partition)
}

// name is a node's name for people.
func (c *coordinator) name(node string) string {
	if c.cfg.Names != nil {
		if name := c.cfg.Names(node); name != "" {
			return name
		}
	}
	return node
}

// overload is the answer to a request over a bound.
func (c *coordinator) overload(what string) *messages.Reply {
	return &messages.Reply{
		Code:         messages.Code_CODE_OVERLOADED,
		Message:      c.where() + what + "; it did not run: try again a little later",
		RetryAfterMs: retryBusyMillis,
	}
}

// unavailable is the answer to a request that surely did not run.
func (c *coordinator) unavailable() *messages.Reply {
	why, missing, lost := c.trouble()
	reply := &messages.Reply{
		Code:         messages.Code_CODE_UNAVAILABLE,
		Message:      c.where() + why,
		Missing:      missing,
		RetryAfterMs: retrySoonMillis,
		MasterNode:   c.route.target,
	}
	if lost {
		reply.RetryAfterMs = retryLaterMillis
	}
	return reply
}

// outcomeUnknown is the answer at the deadline of a request that may have run.
func (c *coordinator) outcomeUnknown(r *call.Request) *messages.Reply {
	why, missing, _ := c.trouble()
	return &messages.Reply{
		Code:         messages.Code_CODE_OUTCOME_UNKNOWN,
		Message:      c.where() + "an attempt was made and nobody knows yet whether it ran: " + remedy(r) + ". " + why,
		Missing:      missing,
		RetryAfterMs: retrySoonMillis,
		MasterNode:   c.route.target,
	}
}

// lateAnswer is the answer to a request under way at its deadline.
func (c *coordinator) lateAnswer(r *call.Request) *messages.Reply {
	code, text := messages.Code_CODE_OUTCOME_UNKNOWN, "it may have run: "+remedy(r)
	if r.Call.GetQuery() {
		code, text = messages.Code_CODE_UNAVAILABLE, "a query changes nothing: ask again"
	}
	return &messages.Reply{
		Code:         code,
		Message:      c.where() + "no answer from " + c.name(r.Trail.Node) + " in time; " + text,
		RetryAfterMs: retrySoonMillis,
		MasterNode:   c.route.target,
	}
}

// atEnd is the answer to a request that the coordinator still has when it ends.
func (c *coordinator) atEnd(r *call.Request) *messages.Reply {
	reply := &messages.Reply{
		Code:         messages.Code_CODE_UNAVAILABLE,
		Message:      c.where() + "this node, " + c.name(c.cfg.Self) + ", stops serving it; it did not run: ask another node",
		RetryAfterMs: retrySoonMillis,
	}
	underWay := r.Trail.Node != "" || r == c.current
	if !r.Call.GetQuery() && (r.Trail.Unsure || underWay) {
		reply.Code = messages.Code_CODE_OUTCOME_UNKNOWN
		reply.Message = c.where() + "this node, " + c.name(c.cfg.Self) + ", stops serving it while an attempt is under way; it may have run: " + remedy(r)
	}
	return reply
}

// remedy says what helps after an unknown outcome.
func remedy(r *call.Request) string {
	if r.Trail.Own {
		return "read the actor to see; a request with a number or an idempotency key can be repeated without harm"
	}
	return "repeating it with the same number is safe"
}

// trouble says why there is no master to be had, which nodes are missing, and
// whether too few copies are left for one.
func (c *coordinator) trouble() (why string, missing []string, lost bool) {
	if c.cfg.Missing != nil {
		missing = c.cfg.Missing(c.cfg.Partition)
	}
	copies, gone := len(c.route.copies), len(missing)
	names := strings.Join(missing, ", ")
	majority := copies/2 + 1
	switch {
	case gone > 0 && copies > 0 && copies-gone < majority:
		return fmt.Sprintf("%d of %d copies are unreachable (%s): start %s again; their data is intact",
			gone, copies, names, someOfThem(majority-(copies-gone), gone)), missing, true
	case gone > 0 && !c.route.open():
		return fmt.Sprintf("%s cannot be reached and the others are choosing a new master: try again", names), missing, false
	case c.route.target != "" && !c.route.reachable(c.route.target):
		return fmt.Sprintf("its master %s cannot be reached from %s: check the network between them, or try again",
			c.name(c.route.target), c.name(c.cfg.Self)), nil, false
	case c.route.open():
		return fmt.Sprintf("its master is %s now: try again", c.name(c.route.target)), nil, false
	default:
		return "no master yet, its copies are choosing one: try again", nil, false
	}
}

func someOfThem(need, of int) string {
	switch {
	case of == 1:
		return "it"
	case need >= of:
		return "them"
	case need == 1:
		return "one of them"
	default:
		return fmt.Sprintf("%d of them", need)
	}
}
