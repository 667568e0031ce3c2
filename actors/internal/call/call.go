// Package call holds the messages that pass between the actors of one node while
// they serve a request. They never leave the node.
package call

import "github.com/seed-49de4af9/ringmaster/messages"

// Request is a call on its way through a node. It is handed from actor to actor;
// whoever holds it last calls Answer, once.
type Request struct {
	Call *messages.Call
	// Deadline is when the asker stops waiting, in the node's clock,
	// nanoseconds since 1970.
	Deadline int64
	// Done takes the final reply, straight to the connection that asked. It must
	// not block and may be called from any goroutine.
	Done func(*messages.Reply)
	// Redirect, when set, takes replies that say CODE_NOT_MASTER instead of Done:
	// the coordinator tries elsewhere. It must not block.
	Redirect func(*Request, *messages.Reply)
}

// Answer ends the request at this actor.
func (r *Request) Answer(reply *messages.Reply) {
	reply.Id = r.Call.GetId()
	if reply.GetCode() == messages.Code_CODE_NOT_MASTER && r.Redirect != nil {
		r.Redirect(r, reply)
		return
	}
	r.Done(reply)
}

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
