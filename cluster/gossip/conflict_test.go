package gossip

import (
	"errors"
	"strings"
	"testing"
)

func TestNameTakenByEstablishedNode(t *testing.T) {
	n1 := startNode(t, "n1")
	startNode(t, "n2", n1.Address())
	n1.awaitKind(t, Joined, "n2")
	// The newcomer has the lower node id and no cluster yet; it must yield anyhow.
	c, late := newConfig("n1", n1.Address())
	c.NodeID = "a-lower-id"
	late.cluster.Store("")
	late.start(t, c)
	e := late.awaitKind(t, Trouble, "n1")
	if !errors.Is(e.Err, ErrNameTaken) || !strings.Contains(e.Err.Error(), "--name") || e.Member.NodeID != "id-of-n1" {
		t.Errorf("event %+v", e)
	}
	late.Close()
	n1.await(t, "the other n1 is gone", func(e Event) bool {
		if e.Kind == Trouble {
			t.Errorf("the first one is in trouble: %v", e.Err)
		}
		return e.Kind == MemberFailed && e.Member.NodeID == "a-lower-id"
	})
}

func TestNameTakenBothNew(t *testing.T) {
	high, a := newConfig("same")
	low, b := newConfig("same")
	high.NodeID, low.NodeID = "z", "y"
	a.start(t, high)
	low.Join = []string{a.Address()}
	b.start(t, low)
	if e := a.awaitKind(t, Trouble, "same"); !errors.Is(e.Err, ErrNameTaken) {
		t.Errorf("event %+v", e)
	}
	for len(b.events) > 0 {
		if e := <-b.events; e.Kind == Trouble {
			t.Errorf("the lower node id yields as well: %v", e.Err)
		}
	}
}

// A replacement under the name of a node that just died starts while gossip still
// believes in the dead.
func TestNameOfADeadNodeIsFree(t *testing.T) {
	n1, n2 := startNode(t, "n1"), startNode(t, "n2")
	n1.Join(n2.Address())
	n2.awaitKind(t, Joined, "n1")
	n1.Close()
	c, next := newConfig("n1", n2.Address())
	c.NodeID = "z-new"
	next.start(t, c)
	n2.await(t, "the old n1 failed", func(e Event) bool { return e.Kind == MemberFailed && e.Member.NodeID == "id-of-n1" })
	until(t, "the new one knows it, too", func() bool {
		for _, m := range next.Members() {
			if m.NodeID == "id-of-n1" && m.State == Alive {
				return false
			}
		}
		return next.sees("n1", "n2")
	})
	for len(next.events) > 0 {
		if e := <-next.events; e.Kind == Trouble {
			t.Errorf("the replacement is in trouble: %v", e.Err)
		}
	}
}

func TestCopiedDataDirectory(t *testing.T) {
	n1 := startNode(t, "n1")
	original := startNode(t, "n2", n1.Address())
	n1.awaitKind(t, Joined, "n2")
	c, copied := newConfig("n2", n1.Address())
	c.Boot = 2
	copied.start(t, c)
	// The older boot cannot know that it is the original; it stops.
	e := original.awaitKind(t, Trouble, "n2")
	if !errors.Is(e.Err, ErrNodeIDTaken) || !strings.Contains(e.Err.Error(), "copy") {
		t.Errorf("event %+v", e)
	}
	for len(copied.events) > 0 {
		if e := <-copied.events; e.Kind == Trouble {
			t.Errorf("the newer boot is in trouble, too: %v", e.Err)
		}
	}
}
