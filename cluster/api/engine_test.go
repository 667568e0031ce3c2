package api_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// engine is a whole cluster of one node in memory: it runs real behaviors, one
// call at a time, and remembers the answers to numbered commands.
type engine struct {
	behaviors []*actors.Behavior
	route     atomic.Pointer[messages.Route]
	table     *messages.Table
	// hold, when set, is asked first; it may answer in place of the engine, or
	// never.
	hold func(c *messages.Call, done func(*messages.Reply)) bool
	// view may change the status.
	view func(*api.Status)

	mu     sync.Mutex
	states map[actors.ActorID][]byte
	done   map[string]*stored
	index  uint64
}

// stored is the answer to a numbered command.
type stored struct {
	payload []byte
	reply   *messages.Reply
}

func newEngine(behaviors ...*actors.Behavior) *engine {
	self := &messages.Member{NodeId: "01NODE", Name: "n1", ApiAddress: "127.0.0.1:1"}
	e := &engine{
		behaviors: behaviors,
		table:     ring.NewTable("01CLUSTER", []*messages.Member{self}, 8, 1),
		states:    make(map[actors.ActorID][]byte),
		done:      make(map[string]*stored),
	}
	route := &messages.Route{ClusterId: "01CLUSTER", Epoch: 1, PartitionCount: 8, Members: e.table.GetMembers(), NodeId: "01NODE"}
	for range 9 {
		route.Masters = append(route.Masters, "01NODE")
	}
	e.route.Store(route)
	return e
}

func (e *engine) Route() *messages.Route    { return e.route.Load() }
func (e *engine) Table() *messages.Table    { return e.table }
func (e *engine) Kinds() []*actors.Behavior { return e.behaviors }

func (e *engine) Status(ctx context.Context) (*api.Status, error) {
	s := &api.Status{
		Name: "n1", NodeID: "01NODE", ClusterID: "01CLUSTER", Epoch: 1, PartitionCount: 8, ReplicationFactor: 1,
		Started: time.Unix(1700000000, 0).UTC(),
		Members: []api.MemberStatus{{Name: "n1", NodeID: "01NODE", State: "alive", Self: true}},
	}
	for p := range uint64(9) {
		s.Partitions = append(s.Partitions, api.PartitionStatus{
			ID: p, Term: 2, Role: api.RoleMaster, Master: "n1", MasterID: "01NODE", Commit: 3, Applied: 3, Replicas: []string{"n1"},
		})
	}
	if e.view != nil {
		e.view(s)
	}
	return s, ctx.Err()
}

func (e *engine) Submit(c *messages.Call, done func(*messages.Reply)) {
	if e.hold != nil && e.hold(c, done) {
		return
	}
	r := e.run(c)
	r.Id, r.MasterNode = c.GetId(), "01NODE"
	r.Partition = ring.Partition(c.GetKind(), c.GetKey(), 8)
	done(r)
}

func (e *engine) run(c *messages.Call) *messages.Reply {
	e.mu.Lock()
	defer e.mu.Unlock()
	number := fmt.Sprintf("%x/%d", c.GetRequest().GetClient(), c.GetRequest().GetSequence())
	if c.GetRequest() != nil {
		if s := e.done[number]; s != nil {
			if !bytes.Equal(s.payload, c.GetPayload()) {
				return &messages.Reply{Code: messages.Code_CODE_CONFLICT, Message: "another request has this number"}
			}
			return &messages.Reply{Code: s.reply.GetCode(), Payload: s.reply.GetPayload(), Rejection: s.reply.GetRejection(), Replayed: true}
		}
	}
	r := e.turn(c)
	if c.GetRequest() != nil && (r.GetCode() == messages.Code_CODE_OK || r.GetCode() == messages.Code_CODE_REJECTED) {
		e.done[number] = &stored{payload: c.GetPayload(), reply: r}
	}
	return r
}

// turn runs a handler as a master does.
func (e *engine) turn(c *messages.Call) *messages.Reply {
	for _, b := range e.behaviors {
		m, ok := b.Method(c.GetMethod())
		if b.Kind() != c.GetKind() || !ok {
			continue
		}
		id := actors.ActorID{Kind: c.GetKind(), Key: c.GetKey()}
		a, err := b.Activate(id, e.states[id])
		if err != nil {
			return actors.ToReply(err)
		}
		run := a.Command
		if m.Query {
			run = a.Query
		}
		effects, err := run(actors.Input{Method: m, Payload: c.GetPayload(), Now: time.Unix(0, 0)})
		if err != nil {
			return actors.ToReply(err)
		}
		if effects.Changed {
			e.states[id] = effects.State
		}
		if effects.Rejection != nil {
			return &messages.Reply{Code: messages.Code_CODE_REJECTED, Rejection: effects.Rejection}
		}
		e.index++
		return &messages.Reply{Code: messages.Code_CODE_OK, Payload: effects.Reply, Term: 2, Index: e.index}
	}
	return &messages.Reply{Code: messages.Code_CODE_NOT_FOUND, Message: "no such thing"}
}
