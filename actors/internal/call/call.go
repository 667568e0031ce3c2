// Package call holds the messages that pass between the actors of one node while
// they serve a request. They never leave the node.
package call

import (
	"sync/atomic"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Request is a call on its way through a node. It is handed from actor to actor;
// whoever holds it last calls Answer. A Request is not used for another call
// after it was answered, and never copied.
type Request struct {
	Call *messages.Call
	// Deadline is when the asker stops waiting, in the node's clock,
	// nanoseconds since 1970. 0 lets the coordinator choose.
	Deadline int64
	// Done takes the final reply, straight to the connection that asked. It is
	// called once, must not block and may be called from any goroutine.
	Done func(*messages.Reply)
	// Redirect, when set, takes the replies after which another attempt may help
	// (see Rerouted) in place of Done: the coordinator tries elsewhere. It must
	// not block.
	Redirect func(*Request, *messages.Reply)
	// Trail is the coordinator's record of the request; nobody else touches it.
	Trail Trail

	answered atomic.Bool
}

// Trail is what a coordinator remembers of a request it has taken.
type Trail struct {
	// Number is the request's place among those of its coordinator; 0: not
	// taken yet.
	Number uint64
	// Node is where the attempt under way went; empty while the request is held.
	Node string
	// Listed says that the coordinator's list of local requests has it.
	Listed bool
	// Attempt counts the attempts so far.
	Attempt uint16
	// Held is when the request was first held, in the node's clock, or 0.
	Held int64
	// Unsure says that an attempt was made whose end is not known.
	Unsure bool
	// Own says that the coordinator numbered the request, within the session of
	// that generation.
	Own        bool
	Generation uint64
}

// Rerouted reports whether a reply of this code goes to Redirect. Such a reply is
// one replica's, and the coordinator knows more: CODE_NOT_MASTER,
// CODE_UNAVAILABLE and CODE_OVERLOADED say that this attempt did not run and will
// not; CODE_OUTCOME_UNKNOWN that it may have run or may yet (a master that steps
// down with the call proposed answers so); CODE_SESSION_EXPIRED may be about a
// number that the coordinator gave itself.
func Rerouted(code messages.Code) bool {
	switch code {
	case messages.Code_CODE_NOT_MASTER, messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_OVERLOADED,
		messages.Code_CODE_OUTCOME_UNKNOWN, messages.Code_CODE_SESSION_EXPIRED:
		return true
	}
	return false
}

// Answer ends the request at this actor: the reply goes to Redirect where
// Rerouted says so and a coordinator set it, else to Done. Only the first answer
// counts. It may be called from any goroutine.
func (r *Request) Answer(reply *messages.Reply) {
	if r.Redirect == nil || !Rerouted(reply.GetCode()) {
		r.Finish(reply)
		return
	}
	if !r.Answered() {
		reply.Id = r.Call.GetId()
		r.Redirect(r, reply)
	}
}

// Finish ends the request for good, without another attempt. It reports whether
// this was the first answer; a later one is dropped.
func (r *Request) Finish(reply *messages.Reply) bool {
	if !r.answered.CompareAndSwap(false, true) {
		return false
	}
	reply.Id = r.Call.GetId()
	r.Done(reply)
	return true
}

// Answered reports whether the request was answered. An actor that keeps requests
// may drop those that were.
func (r *Request) Answered() bool { return r.answered.Load() }

// MasterChanged says where the master of a partition is now believed to be.
type MasterChanged struct {
	Partition uint64
	// Node is the master's node id; empty while there is none.
	Node string
	Term uint64
}

// PeerChanged says that a node became reachable or unreachable over the links.
type PeerChanged struct {
	Node string
	Up   bool
}

// Tick is sent to every system actor of a node at each tick.
type Tick struct {
	// Now is the node's clock, nanoseconds since 1970.
	Now int64
	// Number counts the ticks since the node started.
	Number uint64
}

// TableChanged brings the newest table of the ring.
type TableChanged struct {
	Table *messages.Table
}
