package coordinator

import (
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	testPartition = 7
	testStart     = int64(1_000_000_000_000)
	testTick      = int64(50 * time.Millisecond)
)

// world is a coordinator on node n1 with everything it talks to: the replica
// here, links to other nodes, and clients. The test plays the others' parts.
type world struct {
	tb     testing.TB
	loop   *loop.Loop
	system *actor.ActorSystem
	pid    *actor.PID
	ticks  uint64

	// out holds calls forwarded to other nodes; here, those at the replica.
	out  []forwarded
	here []*call.Request
	// requests and answers are by the id that the client chose.
	requests map[uint64]*call.Request
	answers  map[uint64][]*messages.Reply
	missing  []string
	log      []string
}

// forwarded is a call on its way to another node.
type forwarded struct {
	node   string
	call   *messages.Call
	sender *actor.PID
}

// link stands for the transport to one node.
type link struct {
	w    *world
	node string
}

func (l *link) SendUserMessage(_ *actor.PID, message any) {
	_, m, sender := actor.UnwrapEnvelope(message)
	l.w.out = append(l.w.out, forwarded{node: l.node, call: m.(*messages.Call), sender: sender})
}
func (l *link) SendSystemMessage(*actor.PID, any) {}
func (l *link) Stop(*actor.PID)                   {}

func newWorld(tb testing.TB, limits Limits, observe func(Event)) *world {
	w := &world{
		tb: tb, loop: loop.New(),
		system:   actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) })),
		requests: map[uint64]*call.Request{}, answers: map[uint64][]*messages.Reply{},
	}
	w.system.ProcessRegistry.Address = "n1"
	w.system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
		return &link{w: w, node: pid.Address}, true
	})
	props := Props(Config{
		Partition: testPartition, Self: "n1", ClientID: [16]byte{0: 'c', 15: 1}, Limits: limits,
		Missing: func(uint64) []string { return w.missing },
		Observe: observe,
	}, actor.WithDispatcher(w.loop))
	var err error
	if w.pid, err = w.system.Root.SpawnNamed(props, Name(testPartition)); err != nil {
		tb.Fatal(err)
	}
	w.tick(1)
	tb.Cleanup(w.system.Shutdown)
	return w
}

// startReplica spawns what plays the replica of this node: it keeps requests.
func (w *world) startReplica() *actor.PID {
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		if r, ok := ctx.Message().(*call.Request); ok {
			w.here = append(w.here, r)
		}
	}, actor.WithDispatcher(w.loop))
	pid, err := w.system.Root.SpawnNamed(props, ReplicaName(testPartition))
	if err != nil {
		w.tb.Fatal(err)
	}
	return pid
}

func (w *world) replica() *actor.PID { return actor.NewPID("n1", ReplicaName(testPartition)) }

func (w *world) send(m any) {
	w.system.Root.Send(w.pid, m)
	w.loop.Drain(nil)
}

func (w *world) tick(n int) {
	for range n {
		w.ticks++
		w.send(&call.Tick{Now: w.now(), Number: w.ticks})
	}
}

func (w *world) now() int64 { return testStart + int64(w.ticks)*testTick }

func (w *world) master(node string, term uint64) {
	w.send(&call.MasterChanged{Partition: testPartition, Node: node, Term: term})
}

func (w *world) table(nodes ...string) {
	a := &messages.Assignment{Partition: testPartition}
	for i, n := range nodes {
		a.Replicas = append(a.Replicas, &messages.ReplicaAddress{ReplicaId: uint64(i + 1), NodeId: n})
	}
	t := &messages.Table{Assignments: make([]*messages.Assignment, testPartition+1)}
	t.Assignments[testPartition] = a
	w.send(&call.TableChanged{Table: t})
}

func (w *world) call(c *messages.Call) *call.Request {
	id := c.GetId()
	r := &call.Request{Call: c, Done: func(reply *messages.Reply) {
		if reply.GetId() != id {
			w.tb.Errorf("request %d got the reply of %d", id, reply.GetId())
		}
		w.answers[id] = append(w.answers[id], reply)
		w.logf("%d answered %s", id, describe(reply))
	}}
	w.requests[id] = r
	w.send(r)
	return r
}

// reply plays another node: it answers a forwarded call.
func (w *world) reply(f forwarded, reply *messages.Reply) {
	reply.Id = f.call.GetId()
	w.system.Root.Send(f.sender, reply)
	w.loop.Drain(nil)
}

func (w *world) logf(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) takeLog() string {
	out := strings.Join(w.log, "\n")
	w.log = nil
	if out == "" {
		return "-"
	}
	return out
}

func describe(r *messages.Reply) string {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(r.GetCode().String(), "CODE_"))
	if r.GetMessage() != "" {
		fmt.Fprintf(&b, " %q", r.GetMessage())
	}
	if len(r.GetMissing()) > 0 {
		names := append([]string(nil), r.GetMissing()...)
		sort.Strings(names)
		fmt.Fprintf(&b, " missing=%s", strings.Join(names, ","))
	}
	if r.GetRetryAfterMs() > 0 {
		fmt.Fprintf(&b, " retry=%dms", r.GetRetryAfterMs())
	}
	return b.String()
}

func number(c *messages.Call) string {
	id := c.GetRequest()
	if len(id.GetClient()) == 0 {
		return "no number"
	}
	client := string(id.GetClient())
	if len(client) == 16 {
		client = fmt.Sprintf("own%d", client[15])
	}
	return fmt.Sprintf("%s:%d low=%d", client, id.GetSequence(), id.GetLowWater())
}
