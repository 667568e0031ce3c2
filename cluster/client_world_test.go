package cluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// clientWorld is what a client sees of a cluster: nodes with real servers and
// links on loopback, and behind them one memory with sessions, as replication
// would give. What a node does to a call is up to the test.
type clientWorld struct {
	t     *testing.T
	nodes []*worldNode

	mu       sync.Mutex
	states   map[actors.ActorID][]byte
	sessions map[string]*worldSession
	// broken is the first breach of the rules of numbers.
	broken error
	index  uint64
}

// worldSession is what a partition knows of one session; it forgets nothing.
type worldSession struct {
	answers map[uint64]*messages.Reply
	low     uint64
}

// worldNode is one node: an engine of the API.
type worldNode struct {
	world  *clientWorld
	id     string
	addr   string
	server *api.Server
	route  atomic.Pointer[messages.Route]
	// treat decides what becomes of a call; nil runs it.
	treat atomic.Pointer[func(c *messages.Call) *messages.Reply]
	// came counts the calls that arrived.
	came atomic.Int64
}

// swallowed is a reply that is never given; lateReply one for a call that did run.
var (
	swallowed = &messages.Reply{Message: "swallowed"}
	lateReply = &messages.Reply{Message: "run and swallowed"}
)

const worldPartitions = 8

func newClientWorld(t *testing.T, nodes int) *clientWorld {
	t.Helper()
	w := &clientWorld{t: t, states: map[actors.ActorID][]byte{}, sessions: map[string]*worldSession{}}
	for i := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		n := &worldNode{world: w, id: fmt.Sprintf("node-%d", i+1), addr: l.Addr().String()}
		w.nodes = append(w.nodes, n)
		n.serve(l)
	}
	w.form(w.nodes)
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.stop()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.broken != nil {
			t.Error(w.broken)
		}
	})
	return w
}

// form tells all nodes that the given ones are the cluster and share the masters.
func (w *clientWorld) form(members []*worldNode) {
	for _, n := range w.nodes {
		route := &messages.Route{ClusterId: "c", Epoch: 1, PartitionCount: worldPartitions, NodeId: n.id}
		for _, m := range members {
			route.Members = append(route.Members, &messages.Member{NodeId: m.id, Name: m.id, ApiAddress: m.addr})
		}
		for p := range worldPartitions + 1 {
			route.Masters = append(route.Masters, members[p%len(members)].id)
		}
		n.route.Store(route)
	}
}

func (w *clientWorld) addrs() []string {
	var addrs []string
	for _, n := range w.nodes {
		addrs = append(addrs, n.addr)
	}
	return addrs
}

func (w *clientWorld) dial(opts ...ClientOption) *Client {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, w.addrs(), opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

func (n *worldNode) serve(l net.Listener) {
	if n.route.Load() == nil {
		n.route.Store(&messages.Route{NodeId: n.id})
	}
	s, err := api.New(api.Config{Engine: n})
	if err != nil {
		n.world.t.Fatal(err)
	}
	n.server = s
	go func() { _ = s.Serve(l) }()
}

// stop ends the node as kill -9 does.
func (n *worldNode) stop() {
	if n.server != nil {
		_ = n.server.Close()
		n.server = nil
	}
}

// restart starts the node at its address.
func (n *worldNode) restart() {
	n.world.t.Helper()
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.world.t.Fatal(err)
	}
	n.serve(l)
}

func (n *worldNode) on(treat func(c *messages.Call) *messages.Reply) { n.treat.Store(&treat) }

func (n *worldNode) Route() *messages.Route                      { return n.route.Load() }
func (n *worldNode) Table() *messages.Table                      { return nil }
func (n *worldNode) Status(context.Context) (*api.Status, error) { return &api.Status{}, nil }
func (n *worldNode) Kinds() []*actors.Behavior                   { return []*actors.Behavior{counter.Behavior()} }

func (n *worldNode) Submit(c *messages.Call, done func(*messages.Reply)) {
	n.came.Add(1)
	if treat := n.treat.Load(); treat != nil {
		switch r := (*treat)(c); r {
		case nil:
		case swallowed:
			return
		case lateReply:
			n.world.run(n, c)
			return
		default:
			copied := &messages.Reply{
				Id: c.GetId(), Code: r.GetCode(), Message: r.GetMessage(), MasterNode: r.GetMasterNode(),
				RetryAfterMs: r.GetRetryAfterMs(), Missing: r.GetMissing(),
			}
			done(copied)
			return
		}
	}
	// Another goroutine, as in a node.
	go func() { done(n.world.run(n, c)) }()
}

// run does a call once, whatever node it came to, and holds its number against the
// rules.
func (w *clientWorld) run(n *worldNode, c *messages.Call) *messages.Reply {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := ring.Partition(c.GetKind(), c.GetKey(), worldPartitions)
	r := &messages.Reply{Id: c.GetId(), Partition: p, Term: 1, MasterNode: w.nodes[int(p)%len(w.nodes)].id}
	id := c.GetRequest()
	session := w.sessions[string(id.GetClient())+fmt.Sprint(p)]
	if !c.GetQuery() {
		if id == nil {
			w.breach("a command came without a number")
		}
		if session == nil {
			if id.GetLowWater() > 1 {
				r.Code = messages.Code_CODE_SESSION_EXPIRED
				return r
			}
			session = &worldSession{answers: map[uint64]*messages.Reply{}}
			w.sessions[string(id.GetClient())+fmt.Sprint(p)] = session
		}
		if id.GetLowWater() > id.GetSequence() {
			w.breach("number %d with low water %d", id.GetSequence(), id.GetLowWater())
		}
		if old := session.answers[id.GetSequence()]; old != nil {
			r.Code, r.Payload, r.Replayed = old.GetCode(), old.GetPayload(), true
			return r
		}
		if id.GetSequence() < session.low {
			w.breach("number %d came for the first time after the mark had passed it, at %d", id.GetSequence(), session.low)
		}
		session.low = max(session.low, id.GetLowWater())
	}
	b := counter.Behavior()
	m, _ := b.Method(c.GetMethod())
	actor := actors.ActorID{Kind: c.GetKind(), Key: c.GetKey()}
	a, err := b.Activate(actor, w.states[actor])
	if err != nil {
		w.breach("activate: %v", err)
		return r
	}
	run := a.Command
	if m.Query {
		run = a.Query
	}
	effects, err := run(actors.Input{Method: m, Payload: c.GetPayload()})
	if err != nil {
		return actors.ToReply(err)
	}
	if effects.Changed {
		w.states[actor] = effects.State
	}
	w.index++
	r.Code, r.Payload, r.Index = messages.Code_CODE_OK, effects.Reply, w.index
	if !m.Query {
		session.answers[id.GetSequence()] = r
	}
	return r
}

func (w *clientWorld) breach(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf(format, args...)
	}
}
