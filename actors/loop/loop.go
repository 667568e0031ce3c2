// Package loop runs the actors of one node on one goroutine.
//
// A Loop is a protoactor dispatcher: a mailbox that wakes up is queued, and the
// loop drains the queued mailboxes one after the other. A pass ends when nothing
// is runnable (or after a bounded number of wake-ups); then the end-of-pass hooks
// run, which hand over what the actors gathered, once for all of them: one write
// to disk, one frame for each peer. That hand-over in batches is worth more than
// half of the processor time of a replicated write.
//
// The actors of a loop never run at the same time, so they may share node-local
// state without locks. In production one goroutine calls Run; a simulation calls
// Drain and chooses the order in which runnable mailboxes are taken.
//
// User code runs on the loop too. Should a handler overstay, the world calls
// HandOff and starts another goroutine with Run: the loop goes on there, and the
// goroutine that was stuck leaves when the handler returns.
package loop

import (
	"sync"
	"sync/atomic"
)

// wakeupsMax bounds a pass, so that a busy loop still hands over regularly.
const wakeupsMax = 2048

// Loop queues runnable mailboxes and runs them. Schedule and Close may be called
// from any goroutine; Run by one goroutine at a time, but for HandOff.
type Loop struct {
	mu     sync.Mutex
	wake   *sync.Cond
	queue  []func()
	head   int
	closed bool

	// owner counts the goroutines that ever owned the loop. Whoever finds
	// another number than its own has lost the loop.
	owner atomic.Uint64
	// user is odd while user code runs on the loop; it grows at each entry and
	// exit.
	user  atomic.Uint64
	hooks []func()
	pace  func(wakeups int)
}

// New returns a loop that nobody runs yet.
func New() *Loop {
	l := &Loop{}
	l.wake = sync.NewCond(&l.mu)
	return l
}

// AtPassEnd adds a hook that runs at the end of each pass, on the loop. Hooks are
// added before the loop runs.
func (l *Loop) AtPassEnd(hook func()) { l.hooks = append(l.hooks, hook) }

// Pace sets what Run calls between two passes, with the number of wake-ups of the
// one before. It may wait, so that more work meets in the next pass. It is set
// before the loop runs.
func (l *Loop) Pace(pace func(wakeups int)) { l.pace = pace }

// Schedule queues a runnable mailbox. It implements actor.Dispatcher.
func (l *Loop) Schedule(run func()) {
	l.mu.Lock()
	l.queue = append(l.queue, run)
	if len(l.queue)-l.head == 1 {
		l.wake.Signal()
	}
	l.mu.Unlock()
}

// Throughput implements actor.Dispatcher: a mailbox never yields within a pass.
func (*Loop) Throughput() int { return 1 << 30 }

// Run runs passes until Close, or until the loop was handed off to another
// goroutine. It reports whether the loop was closed.
func (l *Loop) Run() (closed bool) {
	me := l.owner.Load()
	for l.await(me) {
		wakeups, mine := l.pass(me, nil)
		if !mine {
			return false
		}
		if l.pace != nil {
			l.pace(wakeups)
		}
	}
	return l.owner.Load() == me
}

// Drain runs passes on the caller's goroutine until nothing is runnable. pick
// chooses which of the n runnable mailboxes is next; nil takes the oldest.
func (l *Loop) Drain(pick func(n int) int) {
	me := l.owner.Load()
	for l.pending() > 0 {
		_, _ = l.pass(me, pick)
	}
}

// Close ends Run after the pass under way.
func (l *Loop) Close() {
	l.mu.Lock()
	l.closed = true
	l.wake.Broadcast()
	l.mu.Unlock()
}

func (l *Loop) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) - l.head
}

// await blocks until a mailbox is runnable; false means closed or handed off.
func (l *Loop) await(me uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == l.head && !l.closed && l.owner.Load() == me {
		l.wake.Wait()
	}
	return !l.closed && l.owner.Load() == me
}

// pass runs runnable mailboxes, then the hooks. It returns how many it ran, and
// false if the loop was handed off meanwhile.
func (l *Loop) pass(me uint64, pick func(n int) int) (wakeups int, mine bool) {
	for wakeups < wakeupsMax {
		run := l.next(me, pick)
		if run == nil {
			break
		}
		run()
		wakeups++
		if l.owner.Load() != me {
			return wakeups, false
		}
	}
	for _, hook := range l.hooks {
		hook()
	}
	return wakeups, true
}

func (l *Loop) next(me uint64, pick func(n int) int) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.queue) - l.head
	if n == 0 || l.owner.Load() != me {
		return nil
	}
	if pick != nil && n > 1 {
		i := l.head + pick(n)
		l.queue[l.head], l.queue[i] = l.queue[i], l.queue[l.head]
	}
	run := l.queue[l.head]
	l.queue[l.head] = nil
	l.head++
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	} else if l.head >= 4096 && l.head*2 >= len(l.queue) {
		n := copy(l.queue, l.queue[l.head:])
		clear(l.queue[n:])
		l.queue, l.head = l.queue[:n], 0
	}
	return run
}

// Stay is what EnterUser returns and LeaveUser wants back.
type Stay struct{ owner uint64 }

// EnterUser marks that user code starts on the loop.
func (l *Loop) EnterUser() Stay {
	l.user.Add(1)
	return Stay{owner: l.owner.Load()}
}

// LeaveUser marks that user code returned. It reports whether the goroutine still
// owns the loop; if not, the caller may only send messages and must return.
func (l *Loop) LeaveUser(s Stay) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner.Load() != s.owner {
		return false
	}
	l.user.Add(1)
	return true
}

// Visit identifies the stay of user code on the loop; zero while there is none.
// A watchdog that sees the same visit twice knows that a handler overstays.
func (l *Loop) Visit() uint64 {
	if v := l.user.Load(); v%2 == 1 {
		return v
	}
	return 0
}

// HandOff takes the loop away from a goroutine that is stuck in the given visit
// of user code. If it returns true the caller must have another goroutine call
// Run. It is safe to call when the visit has just ended: then nothing happens.
func (l *Loop) HandOff(visit uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if visit == 0 || l.user.Load() != visit || l.closed {
		return false
	}
	l.user.Add(1)
	l.owner.Add(1)
	return true
}
