package sim

import (
	"testing"
)

func TestAgendaKeepsOrder(t *testing.T) {
	r := stream(1, "agenda")
	var a agenda
	for range 5000 {
		a.push(event{at: r.Int64N(50), tie: uint64(r.IntN(3))})
		if r.IntN(3) == 0 {
			a.pop()
		}
	}
	last := a.pop()
	for a.len() > 0 {
		next := a.pop()
		if next.before(&last) {
			t.Fatalf("event at %d/%d/%d came after %d/%d/%d", next.at, next.tie, next.order, last.at, last.tie, last.order)
		}
		last = next
	}
}

func TestStreamsAreIndependent(t *testing.T) {
	a, b := newStreams(7), newStreams(7)
	for range 100 {
		a.disk.Uint64()
	}
	if got, want := a.network.Uint64(), b.network.Uint64(); got != want {
		t.Errorf("draws for the disk changed the network's: got %d, want %d", got, want)
	}
	if a.schedule.Uint64() == a.crash.Uint64() {
		t.Error("two streams of one seed give the same number")
	}
}
