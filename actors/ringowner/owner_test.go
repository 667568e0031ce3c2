package ringowner

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func threeNodes() *messages.Table {
	return ring.NewTable("cluster", nodes("a", "b", "c"), 64, 3)
}

func TestOwnerSleepsUntilItsNodeIsMaster(t *testing.T) {
	w := newWorld(t, threeNodes())
	m := preferred(w.ring.table()).without(w.ring.table(), "c")
	w.activate("b")
	w.tell(&call.MasterChanged{Partition: 7, Node: "a"})
	for range 5 {
		w.second(m)
	}
	if len(w.events) != 0 || w.nodes["a"].tables != 0 {
		t.Errorf("an owner on another node's behalf did %v", w.events)
	}
}

func TestOwnerPublishesTheTable(t *testing.T) {
	w := newWorld(t, threeNodes())
	w.nodes["b"].epoch = 1
	m := preferred(w.ring.table())
	w.activate("a")
	w.answerCalls(messages.Code_CODE_OK)
	for id, n := range w.nodes {
		if n.tables != 1 || n.epoch != 1 {
			t.Errorf("node %s got %d tables and is at epoch %d, want one table", id, n.tables, n.epoch)
		}
	}
	for range 5 {
		w.second(m)
	}
	if n := w.nodes["b"].tables; n != 1 {
		t.Errorf("a node that is up to date got %d tables", n)
	}
	// A node that lost the news gets it again with its report.
	w.nodes["c"].epoch = 0
	w.second(m)
	if w.nodes["c"].epoch != 1 {
		t.Error("a node with an older table was not brought up to date")
	}
}

func TestOwnerTriesAgainToRead(t *testing.T) {
	w := newWorld(t, threeNodes())
	w.activate("a")
	w.answerCalls(messages.Code_CODE_UNAVAILABLE)
	w.now += int64(time.Second)
	w.tell(&call.Tick{Now: w.now})
	if len(w.calls) != 1 {
		t.Fatalf("%d calls under way, want one", len(w.calls))
	}
	// This one is never answered; after twice its time it counts as lost.
	w.calls = nil
	for range 6 {
		w.now += int64(time.Second)
		w.tell(&call.Tick{Now: w.now})
	}
	w.answerCalls(messages.Code_CODE_OK)
	if w.count(TableLoaded) != 1 {
		t.Errorf("the table was not loaded: %v", w.events)
	}
}

func TestOwnerIgnoresAnswersOfAnEarlierStay(t *testing.T) {
	w := newWorld(t, threeNodes())
	w.activate("a")
	late := w.calls[0]
	w.calls = nil
	w.activate("b")
	w.activate("a")
	stale := threeNodes()
	stale.ClusterId = "of the earlier stay"
	late.done(&messages.Reply{Code: messages.Code_CODE_OK, Payload: encode(t, stale)})
	w.loop.Drain(nil)
	if w.count(TableLoaded) != 0 {
		t.Error("an answer to an earlier stay was taken")
	}
	w.answerCalls(messages.Code_CODE_OK)
	if w.count(TableLoaded) != 1 {
		t.Error("the answer to this stay was not taken")
	}
}

func TestOwnerRegistersMembers(t *testing.T) {
	w := newWorld(t, threeNodes())
	m := preferred(w.ring.table())
	w.activate("a")
	w.second(m)
	// One comes back at another address, one is new.
	w.nodes["b"].member = &messages.Member{NodeId: "b", Name: "name-b", PeerAddress: "new:1", Boot: 2}
	w.nodes["d"] = &peer{member: nodes("d")[0]}
	for range 3 {
		w.second(m)
	}
	table := w.ring.table()
	for _, id := range []string{"b", "d"} {
		if diff := cmp.Diff(w.nodes[id].member, ring.MemberByID(table, id), protocmp.Transform()); diff != "" {
			t.Errorf("member %s (-reported +table):\n%s", id, diff)
		}
		if w.nodes[id].epoch != 3 {
			t.Errorf("node %s is at epoch %d, want 3", id, w.nodes[id].epoch)
		}
	}
	if table.Epoch != 3 || w.count(Registered) != 2 {
		t.Errorf("epoch %d after %d registrations, want 3 after 2", table.Epoch, w.count(Registered))
	}
	for range 5 {
		w.second(m)
	}
	if got := w.ring.table().Epoch; got != 3 {
		t.Errorf("unchanged members moved the epoch to %d", got)
	}
}

func TestOwnerDoesNotInsistOnARefusedName(t *testing.T) {
	w := newWorld(t, threeNodes())
	m := preferred(w.ring.table())
	w.activate("a")
	w.nodes["d"] = &peer{member: &messages.Member{NodeId: "d", Name: "name-a"}}
	for range 10 {
		w.second(m)
	}
	if w.count(RegisterRefused) != 1 {
		t.Errorf("refused %d times, want once", w.count(RegisterRefused))
	}
	w.nodes["d"].member.Name = "name-d"
	for range 3 {
		w.second(m)
	}
	if ring.MemberByID(w.ring.table(), "d") == nil {
		t.Error("the node has another name now and should be registered")
	}
}

// TestMastersReturn: a node comes back, and a few seconds later the masters are
// where the table wants them, that is even within one.
func TestMastersReturn(t *testing.T) {
	w := newWorld(t, threeNodes())
	table := w.ring.table()
	back := table.Assignments[0].Replicas[0].NodeId
	m := preferred(table).without(table, back)
	w.nodes[back].down = true
	w.activate("a")
	for range 10 {
		w.second(m)
	}
	if w.count(TransferAsked) != 0 {
		t.Fatal("masterships moved while a node was down")
	}
	w.nodes[back].down = false
	seconds := 0
	for ; m.misplaced(table) > 0 && seconds < 30; seconds++ {
		w.second(m)
	}
	if seconds > 10 {
		t.Errorf("masters were in place after %d seconds, %d are not", seconds, m.misplaced(table))
	}
	if w.most > 4 {
		t.Errorf("%d transfers were under way at once, want at most 4", w.most)
	}
	w.second(m)
	if w.count(TransferDone) != w.count(TransferAsked) || w.count(TransferFailed) != 0 {
		t.Errorf("%d asked, %d done, %d failed", w.count(TransferAsked), w.count(TransferDone), w.count(TransferFailed))
	}
	asked := slices.DeleteFunc(slices.Clone(w.events), func(e Event) bool { return e.Kind != TransferAsked })
	if asked[len(asked)-1].Partition != ring.SystemPartition {
		t.Errorf("the system partition should move last: %v", asked)
	}
}

func TestTransfersUnderWayAreBounded(t *testing.T) {
	w := newWorld(t, threeNodes())
	m := preferred(w.ring.table()).without(w.ring.table(), "b")
	w.deaf = true
	w.activate("a")
	for range 30 {
		w.second(m)
	}
	if w.most != 4 || w.count(TransferAsked) < 20 {
		t.Errorf("%d transfers were under way at once, of %d; want 4, and others tried when some failed", w.most, w.count(TransferAsked))
	}
}

// TestNothingMovesUnlessAllIsCalm puts one thing out of order at a time.
func TestNothingMovesUnlessAllIsCalm(t *testing.T) {
	for name, disturb := range map[string]func(*peer){
		"a node is silent":        func(n *peer) { n.down = true },
		"a node is draining":      func(n *peer) { n.draining = true },
		"a replica failed":        func(n *peer) { n.failure = "checksum" },
		"the new master lags":     func(n *peer) { n.lagging = true },
		"nothing is out of order": func(*peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, threeNodes())
			table := w.ring.table()
			m := preferred(table).without(table, "b")
			disturb(w.nodes["b"])
			w.activate("a")
			for range 6 {
				w.second(m)
			}
			if moved := w.count(TransferAsked) > 0; moved != (name == "nothing is out of order") {
				t.Errorf("%d transfers", w.count(TransferAsked))
			}
		})
	}
}

func TestFailedTransfersAreTriedAgainLater(t *testing.T) {
	w := newWorld(t, threeNodes())
	table := w.ring.table()
	m := preferred(table)
	for _, r := range table.Assignments[5].Replicas[1:] {
		m[5] = r.ReplicaId
	}
	w.deaf = true
	w.activate("a")
	var asked []int
	for i := range 120 {
		before := w.count(TransferAsked)
		w.second(m)
		if w.count(TransferAsked) > before {
			asked = append(asked, i)
		}
	}
	if len(asked) < 4 || len(asked) > 8 {
		t.Fatalf("asked at seconds %v, want some tries with growing pauses", asked)
	}
	for i := 2; i < len(asked); i++ {
		if asked[i]-asked[i-1] <= asked[i-1]-asked[i-2] && asked[i]-asked[i-1] < 60 {
			t.Errorf("asked at seconds %v: the pauses should grow", asked)
		}
	}
	w.deaf = false
	for range 70 {
		w.second(m)
	}
	if m.misplaced(table) != 0 {
		t.Error("the mastership should have been handed over in the end")
	}
}

// TestClaimOfTheNewestTermCounts: a master that was cut off still claims to be
// one, on whichever node it is.
func TestClaimOfTheNewestTermCounts(t *testing.T) {
	table := threeNodes()
	for _, a := range table.Assignments {
		wanted, other := a.Replicas[0], a.Replicas[1]
		w := newWorld(t, table)
		m := preferred(table)
		w.activate("a")
		w.second(m)
		for _, id := range []string{"a", "b", "c"} {
			report := w.report(id, m)
			for _, r := range report.Replicas {
				if r.Partition == a.Partition && r.ReplicaId == other.ReplicaId {
					r.Master, r.Term, r.CaughtUp = other.ReplicaId, 2, []uint64{wanted.ReplicaId}
				}
			}
			w.tell(report)
		}
		w.now += int64(time.Second)
		w.tell(&call.Tick{Now: w.now})
		if w.count(TransferAsked) != 0 {
			t.Errorf("an old claim of node %s led to a transfer of partition %d", other.NodeId, a.Partition)
		}
	}
}

func TestOldBootsAreNotRegistered(t *testing.T) {
	table := threeNodes()
	table.Members[1].Boot = 5
	w := newWorld(t, table)
	w.nodes["b"].member = &messages.Member{NodeId: "b", Name: "name-b", PeerAddress: "old:1", Boot: 4}
	w.activate("a")
	for range 5 {
		w.second(preferred(table))
	}
	if w.count(Registered) != 0 {
		t.Error("a report of an old boot led to a command")
	}
}

func TestStrangeReportsDoNoHarm(t *testing.T) {
	w := newWorld(t, threeNodes())
	w.activate("a")
	w.tell(&messages.NodeReport{})
	w.tell(&messages.NodeReport{Member: nodes("b")[0], Replicas: []*messages.ReplicaReport{
		{Partition: 5000, Master: 9, ReplicaId: 9}, {Partition: 5}, nil,
	}})
	w.second(preferred(w.ring.table()))
	if w.count(TableLoaded) != 1 || w.count(TransferAsked) != 0 {
		t.Errorf("events %v", w.events)
	}
}
