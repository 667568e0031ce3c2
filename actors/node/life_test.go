package node

import (
	"slices"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// TestLifeOfARequest holds ARCHITECTURE.md's page about the life of a request
// true: one call leaves exactly these traces, in this order.
func TestLifeOfARequest(t *testing.T) {
	w := newWorld(t, 3, replica.Limits{})
	w.until("a formed cluster with a master for each partition", w.mastered)
	w.ticks(30)
	p := ring.Partition("counter", "alice", 4)
	master := w.nodes["N1"].node.Route().GetMasters()[p]
	for _, id := range w.order {
		w.nodes[id].events = nil
	}
	if got := w.value(w.call(master, "alice", "Add", &counterpb.AddRequest{Delta: 1}, nil)); got != 1 {
		t.Fatalf("alice is %d, want 1", got)
	}
	for _, id := range w.order {
		var got []string
		for _, e := range w.nodes[id].events {
			if e.Partition == p {
				got = append(got, e.Name)
			}
		}
		want := []string{replica.EventAppend, replica.EventDurable}
		if id == master {
			want = []string{
				replica.EventRequest, replica.EventTurn, replica.EventPropose, replica.EventAppend,
				replica.EventDurable, replica.EventCommit, replica.EventReply,
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("on %s (master %s): %v, want %v", id, master, got, want)
		}
	}
}
