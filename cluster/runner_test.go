package cluster

import (
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/loop"
)

// patience bounds how long a test waits for something that must happen.
const patience = 20 * time.Second

func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing happened within %v", what, patience)
		panic("not reached")
	}
}

func TestAHandlerThatOverstaysLosesTheLoop(t *testing.T) {
	l := loop.New()
	ticks, stuck := make(chan struct{}, 1000), make(chan time.Duration, 10)
	r := &runner{
		loop:     l,
		interval: time.Millisecond,
		tick: func() {
			select {
			case ticks <- struct{}{}:
			default:
			}
		},
		overstay: func(held time.Duration) { stuck <- held },
	}
	r.start()
	await(t, "the first tick", ticks)

	release, owned := make(chan struct{}), make(chan bool, 1)
	l.Schedule(func() {
		stay := l.EnterUser()
		<-release
		owned <- l.LeaveUser(stay)
	})
	await(t, "the watchdog", stuck)
	other := make(chan struct{})
	l.Schedule(func() { close(other) })
	await(t, "another actor while the first one is stuck", other)
	close(release)
	if await(t, "the end of the handler", owned) {
		t.Errorf("the handler believes that it still has the loop")
	}
	again := make(chan struct{})
	l.Schedule(func() { close(again) })
	await(t, "an actor after the handler returned", again)
	r.close(patience)
	await(t, "the end of the loop", r.ended)
}

func TestCloseDoesNotWaitForAStuckHandler(t *testing.T) {
	l := loop.New()
	r := &runner{loop: l, interval: time.Hour, tick: func() {}, overstay: func(time.Duration) {}}
	r.start()
	entered, release := make(chan struct{}), make(chan struct{})
	l.Schedule(func() {
		stay := l.EnterUser()
		close(entered)
		<-release
		l.LeaveUser(stay)
	})
	await(t, "the handler", entered)
	r.close(time.Millisecond)
	select {
	case <-r.ended:
		t.Error("the loop ended under the handler")
	default:
	}
	close(release)
	await(t, "the end of the loop", r.ended)
}
