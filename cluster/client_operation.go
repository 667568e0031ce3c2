package cluster

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// attemptTimeout bounds one attempt: whatever swallowed it, another one is
	// made under the same number. The nodes' own bound is below it.
	attemptTimeout = 5 * time.Second
	// attemptGrace is how much later than the node the client gives up on it.
	attemptGrace = time.Second
	// backoffMin and backoffMax bound the pause between attempts that were refused.
	backoffMin = 20 * time.Millisecond
	backoffMax = time.Second
	// sweepInterval is how often parked calls and deadlines are looked at.
	sweepInterval = 20 * time.Millisecond
)

// operation is a call on its way through the client. At any time one holder has
// it (a goroutine, a lane, or the parked list) and may change it; expire may end
// it from elsewhere, so what both touch is atomic.
type operation struct {
	call      *messages.Call
	done      func(*messages.Reply)
	deadline  int64
	partition uint64
	// placed says that partition is known.
	placed bool
	// session numbered the call; nil for queries and calls that came numbered.
	session *session
	// request is the number; nil for queries.
	request atomic.Pointer[messages.RequestID]

	attempts, refusals, renewals int
	// avoid is the peer that did not help last time.
	avoid *peer
	// due is when a parked call is tried again.
	due int64
	// last is the newest refusal.
	last atomic.Pointer[messages.Reply]

	// sent says that an attempt is under way; unsure that one ended without a
	// word. While both are false, the call surely did not run.
	sent, unsure atomic.Bool
	// finished says that done was, or is being, called; settled that the end is
	// known for good, so that the session's low-water mark may pass the number.
	finished, settled atomic.Bool
}

func (c *Client) newOperation(call *messages.Call, timeout time.Duration, done func(*messages.Reply)) *operation {
	op := &operation{call: call, done: done, deadline: c.now() + int64(timeout)}
	if call.GetRequest() != nil {
		op.request.Store(call.GetRequest())
		op.unsure.Store(true) // whoever numbered it may have sent it before
	}
	return op
}

// dispatch makes the next attempt, or parks the call until one can be made.
func (c *Client) dispatch(op *operation) {
	now := c.now()
	if op.finished.Load() {
		return
	}
	if op.deadline <= now {
		c.expire(op, "the caller's time is over")
		return
	}
	if !op.placed && !c.place(op) {
		c.park(op, now)
		return
	}
	p := c.choose(op)
	if p == nil {
		c.park(op, now)
		return
	}
	// Before the check of finished: either expire sees sent, or we see finished.
	op.sent.Store(true)
	if op.finished.Load() {
		return
	}
	timeout := min(time.Duration(op.deadline-now), attemptTimeout)
	op.call.TimeoutMs = uint32(max(timeout.Milliseconds(), 1))
	op.attempts++
	if !p.send(op, now+int64(timeout+attemptGrace)) {
		op.sent.Store(false)
		op.avoid = p
		c.park(op, now+int64(backoffMin))
	}
}

// place finds the partition and numbers the call. It reports false while the
// number of partitions is not known.
func (c *Client) place(op *operation) bool {
	c.pollRoute()
	if c.count.Load() == 0 {
		return false
	}
	op.partition = c.partitionOf(op.call)
	op.placed = true
	if !op.call.GetQuery() && op.request.Load() == nil {
		(*c.sessions.Load())[op.partition].number(op)
	}
	return true
}

// park keeps a call until due.
func (c *Client) park(op *operation, due int64) {
	op.due = due
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.parked = append(c.parked, op)
	}
	c.mu.Unlock()
	if closed {
		c.expire(op, errClientClosed)
	}
}

// retry makes another attempt after a pause; a pause of 0 is none.
func (c *Client) retry(op *operation, pause time.Duration) {
	if pause == 0 && c.life.Err() == nil {
		c.dispatch(op)
		return
	}
	c.park(op, c.now()+int64(pause))
}

// settle takes the reply to the attempt of a call that its lane has let go.
func (c *Client) settle(op *operation, from *peer, r *messages.Reply) {
	if op.finished.Load() {
		return
	}
	switch r.GetCode() {
	case messages.Code_CODE_OK, messages.Code_CODE_REJECTED:
		c.learnMaster(op.partition, r.GetMasterNode())
		if op.session != nil && !op.session.known.Load() {
			op.session.known.Store(true)
		}
		c.finish(op, r)
	case messages.Code_CODE_FAILED:
		if op.unsure.Load() && !op.call.GetQuery() {
			// This attempt changed nothing; an earlier one may still.
			op.last.Store(r)
			c.expire(op, "an attempt failed after one whose end is not known")
			return
		}
		c.finish(op, r)
	case messages.Code_CODE_OUTCOME_UNKNOWN:
		if r.GetReplayed() { // it did run, and its reply is not kept any more
			c.finish(op, r)
			return
		}
		op.unsure.Store(true)
		c.refused(op, from, r)
	case messages.Code_CODE_NOT_MASTER, messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_OVERLOADED:
		c.refused(op, from, r)
	case messages.Code_CODE_SESSION_EXPIRED:
		if op.session == nil || op.unsure.Load() || op.renewals >= renewalsMax {
			c.finish(op, r)
			return
		}
		op.sent.Store(false)
		op.renewals++
		(*c.sessions.Load())[op.partition].renew(op)
		c.retry(op, 0)
	default:
		c.finish(op, r)
	}
}

// renewalsMax bounds the sessions that one call may open: each is new to the
// partition, so more than a few mean that something else is wrong.
const renewalsMax = 3

// refused goes on after an attempt that did not end the call.
func (c *Client) refused(op *operation, from *peer, r *messages.Reply) {
	op.last.Store(r)
	op.sent.Store(false)
	op.avoid = from
	first := op.refusals == 0
	op.refusals++
	pause := backoff(op.refusals)
	switch r.GetCode() {
	case messages.Code_CODE_NOT_MASTER:
		c.learnMaster(op.partition, r.GetMasterNode())
		if first {
			pause = 0
		}
	case messages.Code_CODE_OVERLOADED:
		op.avoid = nil // another node would ask the same master
		pause = max(pause, jittered(time.Duration(r.GetRetryAfterMs())*time.Millisecond))
	default:
		if c.opts.failFast {
			c.expire(op, "")
			return
		}
		if others := len(*c.peers.Load()) > 1; first && others {
			pause = 0
		}
	}
	c.retry(op, pause)
}

// lost goes on after an attempt that got no reply.
func (c *Client) lost(op *operation, from *peer) {
	op.unsure.Store(true)
	op.sent.Store(false)
	op.avoid = from
	c.retry(op, 0)
}

// finish ends a call with its last reply.
func (c *Client) finish(op *operation, r *messages.Reply) {
	if op.finished.CompareAndSwap(false, true) {
		op.settled.Store(true)
		op.done(r)
	}
}

// expire ends a call that got no answer in time. It may be called by anyone.
func (c *Client) expire(op *operation, why string) {
	if !op.finished.CompareAndSwap(false, true) {
		return
	}
	r := &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Partition: op.partitionKnown()}
	sure := op.call.GetQuery() || !op.sent.Load() && !op.unsure.Load()
	if !sure {
		r.Code = messages.Code_CODE_OUTCOME_UNKNOWN
		if op.session != nil {
			// Its number stays open: the mark of the session must not pass it.
			(*c.sessions.Load())[op.partition].retire(op.session)
		}
	} else {
		op.settled.Store(true)
	}
	r.Message = c.expiryMessage(op, why, sure)
	if last := op.last.Load(); last != nil {
		r.Missing, r.MasterNode, r.RetryAfterMs, r.Term = last.GetMissing(), last.GetMasterNode(), last.GetRetryAfterMs(), last.GetTerm()
	}
	op.done(r)
}

func (op *operation) partitionKnown() uint64 {
	if !op.placed {
		return 0
	}
	return op.partition
}

func (c *Client) expiryMessage(op *operation, why string, sure bool) string {
	last := op.last.Load()
	text := why
	switch {
	case last.GetMessage() != "" && why == "":
		text = last.GetMessage()
	case last.GetMessage() != "":
		text += "; last heard: " + last.GetMessage()
	case !op.sent.Load() && !op.unsure.Load():
		text += "; no node could be reached"
	}
	switch {
	case !sure:
		text += "; the call may have run: repeating it with its own number is safe"
	case why != "":
		text += "; the call did not run"
	}
	return text
}

// errorOf is the error of the last reply of a call. cause is why its context
// ended, if it did.
func (op *operation) errorOf(r *messages.Reply, cause error) error {
	err := actors.FromReply(r)
	e, ok := err.(*actors.Error) //nolint:errorlint // FromReply returns this type itself
	if !ok {
		return err
	}
	if e.Code == messages.Code_CODE_OUTCOME_UNKNOWN {
		e.Request = op.request.Load()
	}
	if e.Code == messages.Code_CODE_OUTCOME_UNKNOWN || e.Code == messages.Code_CODE_UNAVAILABLE {
		e.Err = cause
	}
	return e
}

// backoff is the pause before the attempt after n refusals.
func backoff(n int) time.Duration {
	return jittered(min(backoffMin<<min(n-1, 10), backoffMax))
}

// jittered is d, more or less, so that many callers do not come back at once.
func jittered(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d)
}

// keepTime looks after parked calls and deadlines until the client ends.
func (c *Client) keepTime() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case <-ticker.C:
			c.sweep()
		}
	}
}

func (c *Client) sweep() {
	now := c.now()
	for _, p := range *c.peers.Load() {
		for _, op := range p.sweep(now) {
			if op.deadline <= now {
				c.expire(op, fmt.Sprintf("%s did not answer in time", p.address))
			} else {
				c.lost(op, p)
			}
		}
	}
	var due []*operation
	c.mu.Lock()
	kept := c.parked[:0]
	for _, op := range c.parked {
		switch {
		case op.finished.Load():
		case op.due <= now || op.deadline <= now:
			due = append(due, op)
		default:
			kept = append(kept, op)
		}
	}
	clear(c.parked[len(kept):])
	c.parked = kept
	c.mu.Unlock()
	for _, op := range due {
		c.dispatch(op)
	}
}
