package cluster

import (
	"sync"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/loop"
)

// runner gives a node's loop a goroutine and its engine a clock.
//
// User code runs on the loop. A handler that overstays a tick has the loop taken
// away from it: another goroutine goes on with it, and the handler's leaves when
// it returns.
type runner struct {
	loop *loop.Loop
	// tick is called at each tick; overstay with how long a handler has held the
	// loop when it is taken away.
	tick     func()
	interval time.Duration
	overstay func(held time.Duration)

	stop    chan struct{}
	stopped sync.Once
	ticking sync.WaitGroup
	// ended is closed by the goroutine that runs the loop to its end.
	ended chan struct{}
}

// start begins to run the loop and to tick.
func (r *runner) start() {
	r.stop, r.ended = make(chan struct{}), make(chan struct{})
	r.loop.Pace((&pacer{interval: paceInterval, busy: paceBusy, began: time.Now()}).between)
	r.run()
	r.ticking.Go(r.ticks)
}

// run gives the loop a goroutine.
func (r *runner) run() {
	go func() {
		if r.loop.Run() {
			close(r.ended)
		} // else the loop was taken away, and another goroutine has it
	}()
}

func (r *runner) ticks() {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	var seen uint64 // the visit of user code at the last tick
	for {
		select {
		case <-r.stop:
			return
		case <-ticker.C:
		}
		visit := r.loop.Visit()
		if visit != 0 && visit == seen && r.loop.HandOff(visit) {
			r.overstay(r.interval)
			r.run()
		}
		seen = visit
		r.tick()
	}
}

// quiet ends the ticks.
func (r *runner) quiet() {
	r.stopped.Do(func() { close(r.stop) })
	r.ticking.Wait()
}

// close ends the loop after its pass under way, and the ticks. It does not wait
// longer than patience for a handler that is stuck.
func (r *runner) close(patience time.Duration) {
	r.quiet()
	r.loop.Close()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-r.ended:
	case <-timer.C:
	}
}
