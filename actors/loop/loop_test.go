package loop

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHooksRunOncePerPass(t *testing.T) {
	l := New()
	var order []string
	l.AtPassEnd(func() { order = append(order, "end") })
	l.Schedule(func() {
		order = append(order, "a")
		l.Schedule(func() { order = append(order, "c") })
	})
	l.Schedule(func() { order = append(order, "b") })
	l.Drain(nil)
	if want := []string{"a", "b", "c", "end"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestPickedOrderRepeats(t *testing.T) {
	run := func(seed uint64) []int {
		l, rng := New(), rand.New(rand.NewPCG(seed, 0))
		var order []int
		for i := range 50 {
			l.Schedule(func() { order = append(order, i) })
		}
		l.Drain(rng.IntN)
		return order
	}
	if !slices.Equal(run(1), run(1)) {
		t.Error("one seed gave two orders")
	}
	if slices.Equal(run(1), run(2)) {
		t.Error("two seeds gave one order")
	}
	got := run(3)
	slices.Sort(got)
	for i, v := range got {
		if i != v {
			t.Fatalf("ran %v: each must run once", got)
		}
	}
}

// TestHandOff shows that a handler that overstays keeps only its own goroutine.
func TestHandOff(t *testing.T) {
	l := New()
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan bool)
	l.Schedule(func() {
		stay := l.EnterUser()
		close(entered)
		<-leave
		left <- l.LeaveUser(stay)
	})
	first, second := make(chan bool), make(chan bool)
	go func() { first <- l.Run() }()
	<-entered
	other := make(chan struct{})
	l.Schedule(func() { close(other) })
	if !l.HandOff(l.Visit()) {
		t.Fatal("the stuck loop could not be handed off")
	}
	go func() { second <- l.Run() }()
	<-other
	close(leave)
	if <-left {
		t.Error("the stuck handler was told that it still owns the loop")
	}
	if <-first {
		t.Error("the first goroutine reported a closed loop")
	}
	l.Close()
	if !<-second {
		t.Error("the second goroutine did not report the close")
	}
	if l.HandOff(l.Visit()) {
		t.Error("a loop without user code was handed off")
	}
}
