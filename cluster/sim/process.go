package sim

import (
	"iter"
	"time"
)

// process is a body of code written in the blocking style that runs as part of
// the world: a client, or the test itself. Processes are coroutines: one runs
// until it waits for virtual time or for an answer, so nothing about them is left
// to the scheduler of the machine.
type process struct {
	w     *World
	yield func(struct{}) bool
	next  func() (struct{}, bool)
	stop  func()
	// wait numbers the waits, so that only the newest one's alarm wakes.
	wait   uint64
	parked bool
	done   bool
}

// ended is what a process that still waits at the end of the run panics with; it
// unwinds the body and goes no further.
type ended struct{}

// spawn adds a process; it starts when virtual time goes on.
func (w *World) spawn(body func(p *process)) *process {
	p := &process{w: w}
	p.next, p.stop = iter.Pull(func(yield func(struct{}) bool) {
		p.yield = yield
		defer func() {
			p.done = true
			if r := recover(); r != nil {
				if _, over := r.(ended); !over {
					panic(r)
				}
			}
		}()
		body(p)
	})
	w.procs = append(w.procs, p)
	w.schedule(event{at: w.now, kind: evWake, node: -1, run: p.resume})
	return p
}

// resume runs the process until it waits again. It must not be called from a
// process.
func (p *process) resume() {
	p.wait++
	p.parked = false
	p.next()
}

// await waits until something calls wake, or for the given time if it is not
// negative. It reports whether it was woken before.
func (p *process) await(limit time.Duration) (woken bool) {
	p.wait++
	wait := p.wait
	expired := false
	if limit >= 0 {
		p.w.schedule(event{at: p.w.now + int64(limit), kind: evWake, node: -1, run: func() {
			if p.parked && p.wait == wait {
				expired = true
				p.resume()
			}
		}})
	}
	p.parked = true
	if !p.yield(struct{}{}) {
		panic(ended{})
	}
	return !expired
}

// wake lets a waiting process go on, as an event of its own.
func (p *process) wake() {
	if !p.parked {
		return
	}
	wait := p.wait
	p.w.schedule(event{at: p.w.now, kind: evWake, node: -1, run: func() {
		if p.parked && p.wait == wait {
			p.resume()
		}
	}})
}

// sleep waits for virtual time to pass.
func (p *process) sleep(d time.Duration) { p.await(max(d, 0)) }
