package node

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// memory is a disk without delays; writes are done when the world says so.
type memory struct {
	rows     map[string][]byte
	queue    []*replica.Write
	identity *messages.Identity
}

func (m *memory) Get(key []byte) ([]byte, bool, error) {
	v, ok := m.rows[string(key)]
	return bytes.Clone(v), ok, nil
}

func (m *memory) Scan(from, to []byte, visit func(key, value []byte) error) error {
	keys := make([]string, 0, len(m.rows))
	for k := range m.rows {
		if k >= string(from) && k < string(to) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	for _, k := range keys {
		if err := visit([]byte(k), m.rows[k]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Snapshot() replica.Snapshot {
	c := &memory{rows: map[string][]byte{}}
	maps.Copy(c.rows, m.rows)
	return view{c}
}

type view struct{ *memory }

func (view) Close() error { return nil }

func (m *memory) Submit(w *replica.Write) { m.queue = append(m.queue, w) }

func (m *memory) Identity() *messages.Identity { return m.identity }

func (m *memory) SubmitIdentity(update func(*messages.Identity), done func(error), with ...replica.Op) {
	m.Submit(&replica.Write{Ops: with, Done: func(err error) {
		id := proto.CloneOf(m.identity)
		update(id)
		m.identity = id
		done(err)
	}})
}

func (m *memory) sync() bool {
	queue := m.queue
	m.queue = nil
	for _, w := range queue {
		for _, op := range w.Ops {
			switch op.Kind {
			case replica.Put:
				m.rows[string(op.Key)] = bytes.Clone(op.Value)
			case replica.Delete:
				delete(m.rows, string(op.Key))
			case replica.DeleteRange:
				for k := range m.rows {
					if k >= string(op.Key) && k < string(op.Value) {
						delete(m.rows, k)
					}
				}
			}
		}
		if w.Done != nil {
			w.Done(nil)
		}
	}
	return len(queue) > 0
}

// world is a few nodes whose messages arrive at once and whose disks are as fast.
type world struct {
	t      testing.TB
	parts  uint32
	now    int64
	nodes  map[string]*member
	order  []string
	limits replica.Limits
}

type member struct {
	node   *Node
	system *actor.ActorSystem
	loop   *loop.Loop
	disk   *memory
	down   bool
	events []replica.Event
}

// wire delivers to the actors of another node.
type wire struct {
	w  *world
	to string
}

func (p wire) SendUserMessage(pid *actor.PID, message any) {
	m := p.w.nodes[p.to]
	if m == nil || m.down {
		return
	}
	if process, ok := m.system.ProcessRegistry.GetLocal(pid.GetId()); ok {
		process.SendUserMessage(pid, message)
	}
}
func (wire) SendSystemMessage(*actor.PID, any) {}
func (wire) Stop(*actor.PID)                   {}

func newWorld(t testing.TB, n int, limits replica.Limits) *world {
	t.Helper()
	return newWorldOf(t, n, 4, limits)
}

func newWorldOf(t testing.TB, n int, partitions uint32, limits replica.Limits) *world {
	t.Helper()
	w := &world{t: t, now: 1e18, nodes: map[string]*member{}, limits: limits, parts: partitions}
	for i := range n {
		w.order = append(w.order, fmt.Sprintf("N%d", i+1))
	}
	for _, id := range w.order {
		w.nodes[id] = &member{disk: &memory{rows: map[string][]byte{}, identity: &messages.Identity{NodeId: id, Name: "n" + id[1:]}}}
		w.start(id, n)
	}
	for _, id := range w.order {
		for _, other := range w.order {
			w.nodes[id].node.MemberEvent(Gossip{Member: w.nodes[other].node.cfg.Self, Expect: uint32(n)})
			if id != other {
				w.nodes[id].node.PeerEvent(other, true)
			}
		}
	}
	return w
}

var (
	add = actors.NewCommand[*counterpb.AddRequest, *counterpb.Count]("counter", "Add")
	get = actors.NewQuery[*counterpb.GetRequest, *counterpb.Count]("counter", "Get")
)

func counter() *actors.Behavior {
	return actors.Define("counter",
		actors.On(add, func(tx *actors.Tx[*counterpb.Counter], m *counterpb.AddRequest) (*counterpb.Count, error) {
			if m.GetDelta() == 666 {
				panic("evil delta")
			}
			tx.State.Value += m.GetDelta()
			return &counterpb.Count{Value: tx.State.GetValue()}, nil
		}),
		actors.Read(get, func(v actors.View[*counterpb.Counter], _ *counterpb.GetRequest) (*counterpb.Count, error) {
			return &counterpb.Count{Value: v.State.GetValue()}, nil
		}))
}

// observer records events, but for a benchmark.
func (m *member) observer(t testing.TB) func(replica.Event) {
	if _, bench := t.(*testing.B); bench {
		return nil
	}
	return func(e replica.Event) { m.events = append(m.events, e) }
}

func quietSystem() *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

func (w *world) start(id string, n int) {
	w.t.Helper()
	m := w.nodes[id]
	m.system, m.loop, m.down = quietSystem(), loop.New(), false
	m.system.ProcessRegistry.Address = id
	m.system.ProcessRegistry.RegisterAddressResolver(func(pid *actor.PID) (actor.Process, bool) {
		return wire{w, pid.GetAddress()}, true
	})
	node, err := Start(Config{
		System: m.system, Loop: m.loop, Self: &messages.Member{NodeId: id, Name: "n" + id[1:]}, Store: m.disk, Identities: m.disk,
		Behaviors: []*actors.Behavior{counter()}, Clock: func() int64 { return w.now }, Seed: uint64(len(w.order)) + uint64(w.now) + uint64(id[1]),
		ReplicaLimits: w.limits, Expect: uint32(n), Partitions: w.parts, Replication: 3, Logger: slog.New(slog.DiscardHandler),
		Fatal:    func(err error) { w.t.Errorf("node %s: %v", id, err) },
		Observer: Observer{Replica: m.observer(w.t)},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m.node = node
}

// settle runs everybody until nothing is left to do.
func (w *world) settle() {
	for w.settleOnce() {
	}
}

// settleOnce gives everybody one pass and one write.
func (w *world) settleOnce() (busy bool) {
	for _, id := range w.order {
		if m := w.nodes[id]; !m.down {
			m.loop.Drain(nil)
			busy = m.disk.sync() || busy
		}
	}
	for _, id := range w.order {
		if !w.nodes[id].down {
			w.nodes[id].loop.Drain(nil)
		}
	}
	return busy
}

func (w *world) ticks(n int) {
	for range n {
		w.now += 50e6
		for _, id := range w.order {
			if !w.nodes[id].down {
				w.nodes[id].node.Tick()
			}
		}
		w.settle()
	}
}

// until ticks until the condition holds.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for range 400 {
		if holds() {
			return
		}
		w.ticks(1)
	}
	w.t.Fatalf("not within 20 s: %s", what)
}

func (w *world) call(at, key, method string, m proto.Message, id *messages.RequestID) *messages.Reply {
	w.t.Helper()
	payload, err := proto.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	var reply *messages.Reply
	w.nodes[at].node.Submit(&messages.Call{Id: 1, Kind: "counter", Key: key, Method: method, Payload: payload, Request: id, Query: method == "Get"},
		func(r *messages.Reply) { reply = r })
	w.settle()
	w.until("a reply", func() bool { return reply != nil })
	return reply
}

func (w *world) count(at, key string) int64 {
	w.t.Helper()
	return w.value(w.call(at, key, "Get", &counterpb.GetRequest{}, nil))
}

func (w *world) value(r *messages.Reply) int64 {
	w.t.Helper()
	c := &counterpb.Count{}
	if err := proto.Unmarshal(r.GetPayload(), c); err != nil || r.GetCode() != messages.Code_CODE_OK {
		w.t.Fatalf("reply %v, %v", r, err)
	}
	return c.GetValue()
}

func (w *world) mastered() bool {
	for _, id := range w.order {
		r := w.nodes[id].node.Route()
		if !w.nodes[id].down && (len(r.GetMasters()) != int(w.parts)+1 || slices.Contains(r.GetMasters(), "")) {
			return false
		}
	}
	return true
}

func TestThreeNodes(t *testing.T) {
	w := newWorld(t, 3, replica.Limits{})
	w.until("a formed cluster with a master for each partition", w.mastered)
	for i := range 30 {
		key := fmt.Sprintf("k%d", i%10)
		if got, want := w.value(w.call(w.order[i%3], key, "Add", &counterpb.AddRequest{Delta: 1}, nil)), int64(i/10+1); got != want {
			t.Fatalf("add %d to %s: %d, want %d", i, key, got, want)
		}
	}
	if got := w.count("N2", "k3"); got != 3 {
		t.Errorf("k3 is %d, want 3", got)
	}

	id := &messages.RequestID{Client: []byte("0123456789abcdef"), Sequence: 1, LowWater: 1}
	first := w.call("N1", "k3", "Add", &counterpb.AddRequest{Delta: 5}, id)
	again := w.call("N3", "k3", "Add", &counterpb.AddRequest{Delta: 5}, proto.CloneOf(id))
	if w.value(first) != 8 || w.value(again) != 8 || !again.GetReplayed() {
		t.Errorf("first %v, again %v", first, again)
	}
	if r := w.call("N1", "k3", "Add", &counterpb.AddRequest{Delta: 666}, nil); r.GetCode() != messages.Code_CODE_FAILED {
		t.Errorf("a panic gave %v", r)
	}
	if got := w.count("N1", "k3"); got != 8 {
		t.Errorf("k3 is %d after a panic, want 8", got)
	}

	// One dies with all it masters; the others go on, and it comes back.
	w.down("N1")
	if got := w.value(w.call("N2", "k3", "Add", &counterpb.AddRequest{Delta: 1}, nil)); got != 9 {
		t.Errorf("k3 is %d after the death of a node, want 9", got)
	}
	w.ticks(60)
	w.start("N1", 3)
	w.up("N1")
	w.until("masters everywhere", w.mastered)
	w.until("an even spread of masters", func() bool {
		return slices.Contains(w.nodes["N2"].node.Route().GetMasters(), "N1")
	})

	// All of them at once.
	for _, n := range w.order {
		w.nodes[n].disk.queue = nil
		w.start(n, 3)
	}
	for _, n := range w.order {
		for _, other := range w.order {
			if n != other {
				w.nodes[n].node.PeerEvent(other, true)
			}
		}
	}
	w.until("masters everywhere", w.mastered)
	if got := w.count("N3", "k3"); got != 9 {
		t.Errorf("k3 is %d after the restart of all, want 9", got)
	}
	drained := false
	w.nodes["N2"].node.Drain(func() { drained = true })
	w.until("a drained node", func() bool { return drained })
	stopped := false
	w.nodes["N2"].node.Stop(func() { stopped = true })
	w.until("a stopped node", func() bool { return stopped })
}

// TestSnapshot lets a slave be away for so long that the log it needs is gone.
func TestSnapshot(t *testing.T) {
	w := newWorld(t, 3, replica.Limits{LogBytes: 2000, LogBytesMax: 4000, FlushTicks: 2, SnapshotChunkBytes: 300, SnapshotWindow: 2})
	w.until("a formed cluster with a master for each partition", w.mastered)
	w.down("N1")
	for i := range 400 {
		w.call("N2", fmt.Sprintf("k%d", i%40), "Add", &counterpb.AddRequest{Delta: 1}, nil)
	}
	w.ticks(40)
	w.start("N1", 3)
	w.nodes["N1"].events = nil
	w.up("N1")
	installed := map[uint64]bool{}
	w.until("a snapshot of each partition on N1", func() bool {
		for _, e := range w.nodes["N1"].events {
			if e.Name == replica.EventSnapshot {
				installed[e.Partition] = true
			}
		}
		return len(installed) == 4
	})
	w.ticks(100)
	w.down("N2")
	for i := range 40 {
		if got := w.count("N1", fmt.Sprintf("k%d", i)); got != 10 {
			t.Errorf("k%d is %d on what a snapshot brought, want 10", i, got)
		}
	}
}

// down kills a node; the others notice at once.
func (w *world) down(id string) {
	w.nodes[id].down = true
	w.nodes[id].disk.queue = nil
	for _, other := range w.order {
		if other != id {
			w.nodes[other].node.PeerEvent(id, false)
		}
	}
}

// up links a node with the others.
func (w *world) up(id string) {
	for _, other := range w.order {
		if other != id {
			w.nodes[other].node.PeerEvent(id, true)
			w.nodes[id].node.PeerEvent(other, true)
		}
	}
}

// TestNoMajority asks a node that is the only one left: it says so at once, about
// calls that did not run.
func TestNoMajority(t *testing.T) {
	w := newWorld(t, 3, replica.Limits{})
	w.until("a formed cluster with a master for each partition", w.mastered)
	w.ticks(20)
	w.down("N2")
	w.down("N3")
	for i := range 8 {
		before := w.now
		r := w.call("N1", fmt.Sprintf("fresh%d", i), "Add", &counterpb.AddRequest{Delta: 1}, nil)
		if took := w.now - before; r.GetCode() != messages.Code_CODE_UNAVAILABLE || took > 2e9 || len(r.GetMissing()) != 2 {
			t.Errorf("after %d ms: %v", took/1e6, r)
		}
	}
	w.start("N2", 3)
	w.up("N2")
	w.nodes["N1"].node.PeerEvent("N3", false)
	w.nodes["N2"].node.PeerEvent("N3", false)
	w.until("service", func() bool {
		return w.call("N1", "fresh1", "Add", &counterpb.AddRequest{Delta: 1}, nil).GetCode() == messages.Code_CODE_OK
	})
	if got := w.count("N2", "fresh1"); got != 1 {
		t.Errorf("fresh1 is %d; one add was acknowledged, and the one before did not run", got)
	}
}

// TestOldSessionsGo lets sessions end: their rows do not stay for ever.
func TestOldSessionsGo(t *testing.T) {
	w := newWorld(t, 3, replica.Limits{FlushTicks: 2, SessionTTL: 60e9})
	w.until("a formed cluster with a master for each partition", w.mastered)
	add := func(client string, sequence uint64) *messages.Reply {
		return w.call("N1", "alice", "Add", &counterpb.AddRequest{Delta: 1}, &messages.RequestID{Client: []byte(client), Sequence: sequence, LowWater: 1})
	}
	rows := func() (n int) {
		for key := range w.nodes["N2"].disk.rows {
			if key[0] == 0x04 && key[9] == 'd' && strings.HasSuffix(key, "0123456789abcde") {
				n++
			}
		}
		return n
	}
	for _, c := range []string{"a", "b", "c"} {
		add(c+"0123456789abcde", 1)
	}
	w.ticks(20)
	if got := rows(); got != 3 {
		t.Fatalf("%d sessions have rows, want 3", got)
	}
	w.now += 50e9
	if r := add("a0123456789abcde", 1); !r.GetReplayed() || w.value(r) != 1 {
		t.Errorf("a retry within the session's time gave %v", r)
	}
	w.now += 1300e9
	add("d0123456789abcde", 1)
	w.ticks(20)
	if got := rows(); got != 1 {
		t.Errorf("%d sessions have rows after the others ended, want 1", got)
	}
	if got := w.count("N3", "alice"); got != 4 {
		t.Errorf("alice is %d, want 4", got)
	}
}
