package cluster

import (
	"sync"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// newLocalClient makes a client that calls through the node it is part of,
// without a connection.
func newLocalClient(engine api.Engine, opts ...ClientOption) *Client {
	c := newClient(opts)
	p := newPeer(c, "this node", true)
	p.local = &localLane{peer: p, engine: engine}
	c.peers.Store(&[]*peer{p})
	c.pollRoute()
	return c
}

// localLane hands calls to the engine of the same process.
type localLane struct {
	peer   *peer
	engine api.Engine

	mu     sync.Mutex
	flight flight
	closed bool
}

func (l *localLane) send(op *operation, due int64) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	id := l.flight.put(op, due)
	l.mu.Unlock()
	// The engine keeps what it gets, and there may be another attempt: a copy.
	call := &messages.Call{
		Id: id, Kind: op.call.GetKind(), Key: op.call.GetKey(), Method: op.call.GetMethod(), Payload: op.call.GetPayload(),
		Request: op.call.GetRequest(), TimeoutMs: op.call.GetTimeoutMs(), Query: op.call.GetQuery(),
		IdempotencyKey: op.call.GetIdempotencyKey(),
	}
	l.engine.Submit(call, func(r *messages.Reply) {
		l.mu.Lock()
		op := l.flight.take(id)
		l.mu.Unlock()
		if op != nil {
			l.peer.client.settle(op, l.peer, api.Checked(r))
		}
	})
	return true
}

func (l *localLane) overdue(now int64) []*operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flight.overdue(now)
}

// abandon lets all calls go and takes no more.
func (l *localLane) abandon() []*operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.flight.all()
}

// pollRoute asks the engine of this process how many partitions there are, until
// it knows.
func (c *Client) pollRoute() {
	if c.count.Load() != 0 {
		return
	}
	for _, p := range *c.peers.Load() {
		if p.local != nil {
			c.learnCount(p.local.engine.Route().GetPartitionCount())
		}
	}
}
