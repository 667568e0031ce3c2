package sim

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// ear is a program with one actor, "ear", that remembers what it hears.
type ear struct {
	program
	host   *host
	system *actor.ActorSystem
	heard  []uint64
	from   []string
	links  map[string]bool
}

func (*ear) Tick()                          {}
func (e *ear) PeerEvent(id string, up bool) { e.links[id] = up }

// newEars makes a world of nodes that listen.
func newEars(t *testing.T, seed uint64, nodes int) (*World, []*ear) {
	t.Helper()
	ears := make([]*ear, nodes)
	w := newWorld(Config{Seed: seed, Nodes: nodes}.withDefaults(), func(h *host, l *life) (program, error) {
		e := &ear{host: h, links: map[string]bool{}}
		e.system = newSystem(h, l)
		_, err := e.system.Root.SpawnNamed(actor.PropsFromFunc(e.receive, actor.WithDispatcher(l.loop)), "ear")
		ears[h.index] = e
		return e, err
	})
	for _, h := range w.hosts {
		h.start()
	}
	return w, ears
}

func (e *ear) receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*messages.TableRequest); ok {
		e.heard = append(e.heard, m.GetEpoch())
		if ctx.Sender() != nil {
			e.from = append(e.from, ctx.Sender().Address)
		}
	}
}

// say sends n numbered messages to another node, one each millisecond.
func (e *ear) say(to *ear, n int) {
	self := e.system.NewLocalPID("ear")
	for i := range n {
		e.host.w.after(time.Duration(i)*time.Millisecond, func() {
			e.system.Root.RequestWithCustomSender(actor.NewPID(to.host.id, "ear"), &messages.TableRequest{Epoch: uint64(i + 1)}, self)
		})
	}
}

// pass lets virtual time pass.
func pass(w *World, d time.Duration) {
	until := w.now + int64(d)
	w.after(d, func() {})
	w.run(func() bool { return w.now >= until }, time.Hour)
}

func TestLinksKeepOrder(t *testing.T) {
	w, ears := newEars(t, 1, 2)
	ears[0].say(ears[1], 500)
	pass(w, time.Second)
	if len(ears[1].heard) != 500 {
		t.Fatalf("%d of 500 messages arrived", len(ears[1].heard))
	}
	for i, id := range ears[1].heard {
		if id != uint64(i+1) || ears[1].from[i] != w.hosts[0].id {
			t.Fatalf("message %d is number %d from %s", i+1, id, ears[1].from[i])
		}
	}
}

func TestBadWeather(t *testing.T) {
	w, ears := newEars(t, 1, 2)
	w.net.weather = weather{loss: 0.2, duplicate: 0.2, reorder: 0.3, delayMin: time.Millisecond, delayMax: 20 * time.Millisecond}
	ears[0].say(ears[1], 1000)
	pass(w, 2*time.Second)
	seen, back, last := map[uint64]int{}, 0, uint64(0)
	for _, id := range ears[1].heard {
		seen[id]++
		if id < last {
			back++
		}
		last = id
	}
	twice := len(ears[1].heard) - len(seen)
	if len(seen) < 700 || len(seen) > 900 {
		t.Errorf("%d of 1000 messages arrived with a loss of 20 %%", len(seen))
	}
	if twice < 100 || twice > 300 {
		t.Errorf("%d messages were repeated", twice)
	}
	if back == 0 {
		t.Error("no message overtook another")
	}
}

func TestCutsAreNoticed(t *testing.T) {
	w, ears := newEars(t, 1, 3)
	pass(w, time.Second)
	for i, e := range ears {
		if len(e.links) != 2 {
			t.Fatalf("node %d knows of %d links", i, len(e.links))
		}
	}
	w.Cut(0, 1)
	ears[0].say(ears[1], 10)
	ears[1].say(ears[0], 10)
	pass(w, 200*time.Millisecond)
	if !ears[0].links[w.hosts[1].id] {
		t.Error("a cut was noticed before a heartbeat can be missed")
	}
	pass(w, 2*time.Second)
	if ears[0].links[w.hosts[1].id] || ears[1].links[w.hosts[0].id] || !ears[2].links[w.hosts[0].id] {
		t.Errorf("links after the cut: %v %v %v", ears[0].links, ears[1].links, ears[2].links)
	}
	if len(ears[1].heard) != 0 || len(ears[0].heard) != 10 {
		t.Errorf("%d messages came through a cut link, %d of 10 the other way", len(ears[1].heard), len(ears[0].heard))
	}
	w.Heal()
	pass(w, time.Second)
	if !ears[0].links[w.hosts[1].id] || !ears[1].links[w.hosts[0].id] {
		t.Error("the healed link did not come up")
	}
}

func TestPausedNodeHearsLater(t *testing.T) {
	w, ears := newEars(t, 1, 2)
	w.Pause(1)
	ears[0].say(ears[1], 20)
	pass(w, time.Second)
	if len(ears[1].heard) != 0 {
		t.Fatalf("a paused node heard %d messages", len(ears[1].heard))
	}
	w.Resume(1)
	pass(w, 100*time.Millisecond)
	if len(ears[1].heard) != 20 {
		t.Errorf("after its pause the node heard %d of 20 messages", len(ears[1].heard))
	}
}

func TestCrashedNodeSaysNothing(t *testing.T) {
	w, ears := newEars(t, 1, 2)
	before := ears[1]
	w.Crash(1)
	before.say(ears[0], 5)
	ears[0].say(before, 5)
	w.Start(1)
	pass(w, time.Second)
	if len(ears[0].heard) != 0 || len(before.heard) != 0 {
		t.Errorf("a crashed node sent %d messages and heard %d", len(ears[0].heard), len(before.heard))
	}
}

func TestEnvelopeShares(t *testing.T) {
	call := &messages.Call{Id: 7, Kind: "counter", Payload: []byte{1, 2}, Request: &messages.RequestID{Client: []byte("c"), Sequence: 3}}
	b, err := seal("calls", &actor.MessageEnvelope{Message: call, Sender: actor.NewPID("n1", "coordinator/1")})
	if err != nil {
		t.Fatal(err)
	}
	want := proto.Clone(call)
	call.Payload[0], call.Request.Sequence = 9, 9
	l, err := open(b)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(l.body, want) || l.target != "calls" || l.sender.Address != "n1" || l.sender.Id != "coordinator/1" {
		t.Errorf("got %v for %s from %v", l.body, l.target, l.sender)
	}
	if _, err := seal("x", "not a protobuf message"); err == nil {
		t.Error("a string went out as a message")
	}
	for i := range b {
		if l, err := open(b[:i]); err == nil && proto.Equal(l.body, want) {
			t.Errorf("%d of %d bytes are the whole message", i, len(b))
		}
	}
}
