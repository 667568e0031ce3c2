package sim

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// toy is a cluster without replication: one memory that every node works on. It is
// correct unless broken on purpose, and serves to test the simulator itself.
type toy struct {
	w       *World
	states  map[actors.ActorID][]byte
	old     map[actors.ActorID][]byte
	answers map[string]*messages.Reply
	// broken says what it does wrong.
	broken string
	count  int
}

// launch is the launcher of its nodes.
func (t *toy) launch(h *host, _ *life) (program, error) {
	t.w = h.w
	return &toyNode{toy: t, host: h}, nil
}

// toyNode is one node of a toy.
type toyNode struct {
	toy  *toy
	host *host
}

func (*toyNode) Tick()                  {}
func (*toyNode) PeerEvent(string, bool) {}
func (*toyNode) Drain(done func())      { done() }
func (*toyNode) Stop(done func())       { done() }

// Submit runs the call on the shared memory, and sometimes says that it is not the
// master without doing so.
func (n *toyNode) Submit(c *messages.Call, done func(*messages.Reply)) {
	n.toy.count++
	if n.toy.count%5 == 0 {
		done(&messages.Reply{Code: messages.Code_CODE_NOT_MASTER, MasterNode: n.toy.w.hosts[0].id})
		return
	}
	boot := n.host.boot
	reply := n.toy.run(c)
	n.host.w.schedule(event{at: n.host.w.now + int64(time.Millisecond), kind: evDone, node: n.host.index, boot: boot, run: func() { done(reply) }})
}

func (t *toy) run(c *messages.Call) *messages.Reply {
	id := actors.ActorID{Kind: c.GetKind(), Key: c.GetKey()}
	partition := ring.Partition(id.Kind, id.Key, uint32(t.w.cfg.Partitions))
	number := fmt.Sprintf("%x/%d/%d", c.GetRequest().GetClient(), partition, c.GetRequest().GetSequence())
	if before := t.answers[number]; before != nil && c.GetRequest() != nil && t.broken != "twice" {
		return before
	}
	b := t.w.behavior(id.Kind)
	m, _ := b.Method(c.GetMethod())
	state := t.states[id]
	if m.Query && t.broken == "stale" && t.count%50 == 1 {
		state = t.old[id]
	}
	s := runStep(b, id, string(state), &Op{Actor: id, Method: m, Payload: c.GetPayload()})
	if t.broken != "forgets" || t.count%100 != 1 {
		t.old[id], t.states[id] = t.states[id], []byte(s.state)
	}
	reply := &messages.Reply{Code: messages.Code_CODE_OK, Payload: s.reply, Partition: partition}
	t.answers[number] = reply
	return reply
}

func runToy(seed uint64, broken string, faults Faults) *Result {
	t := &toy{broken: broken, states: map[actors.ActorID][]byte{}, old: map[actors.ActorID][]byte{}, answers: map[string]*messages.Reply{}}
	cfg := Config{
		Seed: seed, Duration: 30 * time.Second, Faults: faults,
		Behaviors: []*actors.Behavior{counter.Behavior(), register.Behavior()},
	}
	return run(cfg, nil, t.launch)
}

func TestToyIsSound(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		r := runToy(seed, "", Swarm())
		if !r.OK() {
			t.Errorf("%v\n%s", r, strings.Join(r.Log, "\n"))
		}
		if r.Acked < 200 || len(r.Faults) == 0 {
			t.Errorf("nothing much happened: %v", r)
		}
	}
}

func TestBrokenToysAreCaught(t *testing.T) {
	for _, broken := range []string{"twice", "stale", "forgets"} {
		t.Run(broken, func(t *testing.T) {
			for seed := uint64(1); seed <= 10; seed++ {
				if r := runToy(seed, broken, Swarm()); !r.OK() {
					return
				}
			}
			t.Error("10 seeds found nothing")
		})
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		a, b := runToy(seed, "", Swarm()), runToy(seed, "", Swarm())
		if a.Trace != b.Trace || a.Events != b.Events {
			t.Errorf("seed %d: %d events with hash %x, then %d with %x", seed, a.Events, a.Trace, b.Events, b.Trace)
		}
	}
	if a, b := runToy(1, "", Swarm()), runToy(2, "", Swarm()); a.Trace == b.Trace {
		t.Error("two seeds give the same trace")
	}
}

func TestShrinkLeavesOutWhatIsNotNeeded(t *testing.T) {
	broken := &toy{broken: "forgets", states: map[actors.ActorID][]byte{}, old: map[actors.ActorID][]byte{}, answers: map[string]*messages.Reply{}}
	launch := func(h *host, l *life) (program, error) {
		if h.lives == 1 && h.index == 0 { // a new run
			clear(broken.states)
			clear(broken.old)
			clear(broken.answers)
		}
		return broken.launch(h, l)
	}
	cfg := Config{Seed: 3, Duration: 30 * time.Second, Faults: Swarm(), Behaviors: []*actors.Behavior{counter.Behavior()}}
	small, r := shrink(cfg, nil, 40, launch)
	if r.OK() || len(r.Faults) > 0 || small.Duration > 20*time.Second {
		t.Errorf("shrunk to %v with faults %v: %v", small.Duration, r.Faults, r)
	}
}
