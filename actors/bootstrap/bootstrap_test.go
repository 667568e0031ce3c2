package bootstrap

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// wantOneCluster checks that all nodes belong to one cluster, whose plan has the
// members with these names.
func (w *world) wantOneCluster(members ...string) {
	w.t.Helper()
	clusters := w.clusters()
	if len(clusters) != 1 {
		w.t.Fatalf("clusters %v, want one\n%s", clusters, strings.Join(w.events, "\n"))
	}
	for _, n := range w.nodes {
		if n.disk.ClusterId != clusters[0] {
			w.t.Fatalf("%s belongs to %q, want %q\n%s", n.member.Name, n.disk.ClusterId, clusters[0], strings.Join(w.events, "\n"))
		}
		if plan := n.disk.Plan; plan != nil && members != nil {
			var got []string
			for _, m := range plan.Table.Members {
				got = append(got, m.Name)
			}
			if !slices.Equal(got, members) {
				w.t.Fatalf("the cluster has members %v, want %v", got, members)
			}
		}
	}
}

func (w *world) wantEvent(text string) {
	w.t.Helper()
	if !slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, text) }) {
		w.t.Errorf("no event %q in\n%s", text, strings.Join(w.events, "\n"))
	}
}

func TestOneNodeFormsAtOnce(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	n := w.add(1)
	n.start()
	n.tick()
	n.finish() // accepted
	n.finish() // formed
	w.wantOneCluster("n0")
	if table := n.disk.Plan.Table; table.Epoch != 1 || len(table.Assignments) != 65 {
		t.Errorf("table at epoch %d with %d assignments, want 1 and 65", table.Epoch, len(table.Assignments))
	}
}

func TestThreeNodesAgree(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 3 {
		w.add(3).start()
	}
	w.settle(2 * time.Second)
	w.wantOneCluster("n0", "n1", "n2")
	if !proto.Equal(w.nodes[0].disk.Plan, w.nodes[2].disk.Plan) {
		t.Error("the nodes keep different plans")
	}
}

func TestTwoOfThreeWait(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 3 {
		w.add(3)
	}
	w.nodes[0].start()
	w.nodes[2].start()
	w.settle(time.Minute)
	if len(w.clusters()) != 0 || w.nodes[0].disk.Plan != nil {
		t.Fatalf("two of three nodes went ahead: %v", w.events)
	}
	w.nodes[1].start()
	w.settle(2 * time.Second)
	w.wantOneCluster("n0", "n1", "n2")
}

func TestLaterNodesJoin(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 3 {
		w.add(3).start()
	}
	w.settle(2 * time.Second)
	w.add(3).start()
	w.add(0).start()
	w.settle(2 * time.Second)
	w.wantOneCluster("n0", "n1", "n2")
	w.wantEvent("n3 joined")
	w.wantEvent("n4 joined")
}

// TestExpectDiffers: nobody forms a cluster, and both sides say what to do.
func TestExpectDiffers(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	w.add(3).start()
	w.add(3).start()
	w.add(2).start()
	w.settle(time.Minute)
	if len(w.clusters()) != 0 {
		t.Fatalf("nodes that expect different numbers formed %v", w.clusters())
	}
	reason := "node n2 was started with --expect 2, the proposer with --expect 3; start all first nodes with the same number"
	w.wantEvent("n0 refused id-2 " + reason)
	w.wantEvent("n2 refused id-0 " + reason)
	n := w.nodes[2]
	n.crash(len(n.writes))
	n.expect = 3
	n.start()
	w.settle(10 * time.Second)
	w.wantOneCluster("n0", "n1", "n2")
}

// TestProposerChangesItsMind: the proposer is started again with another number
// after others accepted its plan.
func TestProposerChangesItsMind(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	w.add(3).start()
	w.add(3).start()
	w.add(2).start()
	w.settle(5 * time.Second)
	if w.nodes[1].disk.Plan == nil {
		t.Fatal("n1 should hold the plan of n0")
	}
	for _, n := range w.nodes {
		n.crash(len(n.writes))
		n.expect = 2
		n.start()
	}
	w.settle(20 * time.Second)
	w.wantEvent("n0 released id-0 this node was started again with --expect 2")
	w.wantEvent("n1 released id-0 its proposer gave it up")
	w.wantOneCluster("n0", "n1")
}

// TestCompetingProposers: each of two nodes sees itself as the lowest, and their
// plans overlap so that neither can be completed.
func TestCompetingProposers(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 4 {
		w.add(3).start()
	}
	for _, pair := range [][2]int{{0, 2}, {0, 3}, {2, 0}, {2, 3}, {3, 0}, {3, 2}, {1, 2}, {1, 3}, {2, 1}, {3, 1}} {
		w.nodes[pair[0]].sees(w.nodes[pair[1]])
	}
	for range 6 {
		w.now += int64(100 * time.Millisecond)
		w.nodes[0].tick()
		w.nodes[1].tick()
	}
	w.nodes[0].finish()
	w.nodes[1].finish()
	// n2 accepts the plan of n0, n3 that of n1.
	for _, want := range []struct{ to, proposer string }{{"id-2", "id-0"}, {"id-3", "id-1"}} {
		i := slices.IndexFunc(w.packets, func(p packet) bool {
			offer, ok := p.m.(*messages.BootstrapOffer)
			return ok && p.to == want.to && offer.Plan.Proposer == want.proposer
		})
		if i < 0 {
			t.Fatalf("no offer of %s to %s", want.proposer, want.to)
		}
		w.deliver(i, false)
	}
	w.nodes[2].finish()
	w.nodes[3].finish()
	if w.nodes[2].disk.Plan.GetProposer() != "id-0" || w.nodes[3].disk.Plan.GetProposer() != "id-1" {
		t.Fatalf("the plans should overlap: %v", w.events)
	}
	w.settle(20 * time.Second)
	w.wantEvent("n1 released id-1 node id-0, with a lower id, proposes too")
	w.wantOneCluster()
}

// TestCrashAtEachStep crashes a node, or all, after each single step of a
// bootstrap, with the writes under way lost or kept.
func TestCrashAtEachStep(t *testing.T) {
	e := newEngine()
	for who := range 4 {
		for _, keep := range []bool{false, true} {
			for step := range 60 {
				t.Run(fmt.Sprintf("node %d keep %v step %d", who, keep, step), func(t *testing.T) {
					w := e.newWorld(t, uint64(step))
					for range 3 {
						w.add(3).start()
					}
					w.someSteps(step)
					for i, n := range w.nodes {
						if who == i || who == 3 {
							survive := 0
							if keep {
								survive = len(n.writes)
							}
							n.crash(survive)
							n.start()
						}
					}
					w.settle(20 * time.Second)
					w.wantOneCluster("n0", "n1", "n2")
				})
			}
		}
	}
}

// someSteps runs a bootstrap step by step: a tick, a packet or a write at a time.
func (w *world) someSteps(steps int) {
	for _, n := range w.nodes {
		for _, other := range w.nodes {
			if n != other {
				n.sees(other)
			}
		}
	}
	for i := range steps {
		writing := slices.IndexFunc(w.nodes, func(n *simNode) bool { return len(n.writes) > 0 })
		switch {
		case len(w.packets) > 0:
			w.deliver(0, false)
		case writing >= 0:
			w.nodes[writing].finish()
		default:
			w.now += int64(100 * time.Millisecond)
			w.nodes[i%len(w.nodes)].tick()
		}
	}
}

// TestActorRestartsWhileWriting: the actor panics after its write was queued; the
// new incarnation must wait for what the disk will say.
func TestActorRestartsWhileWriting(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 3 {
		w.add(3).start()
	}
	w.nodes[0].panics, w.nodes[1].panics = true, true
	w.settle(20 * time.Second)
	if w.nodes[0].panics || w.nodes[1].panics {
		t.Fatal("the nodes should have panicked")
	}
	w.wantOneCluster("n0", "n1", "n2")
}

// TestOfferToAClusterIsRefused: a node of a living cluster answers with its id,
// and the proposer joins instead.
func TestOfferToAClusterIsRefused(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	for range 3 {
		w.add(3).start()
	}
	w.settle(2 * time.Second)
	n := w.nodes[1]
	n.tell(&messages.BootstrapOffer{Plan: &messages.BootstrapPlan{
		ClusterId: "other", Proposer: "id-9",
		Table: &messages.Table{Members: []*messages.Member{n.member, w.nodes[0].member, w.nodes[2].member}},
	}})
	answer, ok := w.packets[len(w.packets)-1].m.(*messages.BootstrapAnswer)
	if !ok || answer.Accepted || answer.ClusterId != n.disk.ClusterId || !strings.Contains(answer.Reason, "belongs to cluster") {
		t.Errorf("answer %v, want a refusal with the cluster's id", answer)
	}
}

func TestMalformedPlansAreRefused(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	n := w.add(2)
	n.start()
	n.tick()
	other := &messages.Member{NodeId: "id-9"}
	for name, plan := range map[string]*messages.BootstrapPlan{
		"empty":           {},
		"no table":        {ClusterId: "c", Proposer: "id-9"},
		"without us":      {ClusterId: "c", Proposer: "id-9", Table: &messages.Table{Members: []*messages.Member{other, other}}},
		"no cluster":      {Proposer: "id-9", Table: &messages.Table{Members: []*messages.Member{other, n.member}}},
		"not the lowest":  {ClusterId: "c", Proposer: "id-9", Table: &messages.Table{Members: []*messages.Member{n.member, other}}},
		"only one of two": {ClusterId: "c", Proposer: "id-9", Table: &messages.Table{Members: []*messages.Member{n.member}}},
	} {
		n.tell(&messages.BootstrapOffer{Plan: plan})
		if len(n.writes) != 0 {
			t.Errorf("plan %s was accepted", name)
		}
	}
	n.tell(&messages.BootstrapOffer{})
	n.tell(&messages.BootstrapDone{})
	n.tell(&messages.BootstrapRelease{})
	n.tell(&messages.BootstrapAsk{})
	n.tell(&messages.BootstrapAnswer{})
	if len(n.writes) != 0 {
		t.Error("an empty message led to a write")
	}
}

// TestRandomSchedules lets loss, repetition, delay, crashes and partial gossip do
// what they like; at most one cluster may come of it, and one must in the end.
func TestRandomSchedules(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	e := newEngine()
	released, joined := 0, 0
	for seed := range seeds {
		w := e.newWorld(t, seed)
		w.chaos()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, event := range w.events {
			if strings.Contains(event, "lower id") {
				released++
			}
			if strings.Contains(event, string(Joined)) {
				joined++
			}
		}
		w.close()
	}
	t.Logf("%d plans given up for another, %d nodes joined", released, joined)
	if released == 0 || joined == 0 {
		t.Error("the schedules never reach competing proposers, or never a late node")
	}
}

// chaos runs one schedule. There are too few nodes for two plans without a common
// member, so that two clusters would be a mistake.
func (w *world) chaos() {
	expect := 1 + w.rng.IntN(4)
	count := expect + w.rng.IntN(expect)
	for range count {
		w.add(uint32(expect)).start()
	}
	for range 100 + w.rng.IntN(500) {
		n := w.nodes[w.rng.IntN(count)]
		switch dice := w.rng.IntN(100); {
		case dice < 30:
			w.now += int64(w.rng.IntN(300)) * int64(time.Millisecond)
			n.tick()
		case dice < 60 && len(w.packets) > 0:
			i := w.rng.IntN(len(w.packets))
			if fate := w.rng.IntN(10); fate == 0 {
				w.packets = slices.Delete(w.packets, i, i+1)
			} else {
				w.deliver(i, fate < 3)
			}
		case dice < 80:
			n.finish()
		case dice < 96:
			n.sees(w.nodes[w.rng.IntN(count)])
		case dice < 97:
			n.panics = true
		case n.up():
			n.crash(w.rng.IntN(len(n.writes) + 1))
		default:
			// Now and then an operator tries another number.
			n.expect = uint32(count/2 + 1 + w.rng.IntN(count-count/2))
			n.start()
		}
	}
	for _, n := range w.nodes {
		if n.up() {
			n.crash(len(n.writes))
		}
		n.expect, n.panics = uint32(expect), false
		n.start()
	}
	w.settle(time.Minute)
	w.wantOneCluster()
}

// TestLateAnswerDoesNotCount: an answer about an earlier plan says nothing about
// the present one.
func TestLateAnswerDoesNotCount(t *testing.T) {
	w := newEngine().newWorld(t, 1)
	a, b := w.add(2), w.add(2)
	a.start()
	b.start()
	a.sees(b)
	a.tick()
	w.now += int64(time.Second)
	a.tick()
	a.finish()
	if a.disk.Plan == nil {
		t.Fatal("n0 should have proposed")
	}
	answer := &messages.BootstrapAnswer{NodeId: "id-1", Accepted: true, Plan: "an earlier plan"}
	a.tell(answer)
	a.tick()
	if len(a.writes) != 0 {
		t.Error("a late answer was counted")
	}
	answer.Plan = a.disk.Plan.ClusterId
	a.tell(answer)
	if len(a.writes) != 1 {
		t.Error("the right answer was not counted")
	}
}
