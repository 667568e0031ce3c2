package cluster

import "time"

// pacer makes a loaded loop wait a moment between two passes. Most of what a pass
// costs - system calls, wake-ups, a round of every group that has something to
// say - does not depend on how much work meets in it, so under load few large
// passes do more than many small ones, as interrupt coalescing does in network
// drivers. A loop that is not loaded never waits.
type pacer struct {
	interval time.Duration
	// busy is the number of wake-ups per second from which the loop is loaded.
	busy  float64
	rate  float64 // of late, wake-ups per second
	began time.Time
}

// The defaults: at 20,000 wake-ups a second a third of a core is busy with the
// loop; 400 microseconds are short beside a commit.
const (
	paceInterval = 400 * time.Microsecond
	paceBusy     = 20_000
)

// between is called after each pass, on the loop's goroutine.
func (p *pacer) between(wakeups int) {
	now := time.Now()
	took := now.Sub(p.began)
	if p.rate > p.busy && took < p.interval {
		time.Sleep(p.interval - took)
		now = time.Now()
		took = now.Sub(p.began)
	}
	p.began = now
	// An exponential mean over about 20 ms.
	share := min(1, took.Seconds()*50)
	p.rate += share * (float64(wakeups)/max(took.Seconds(), 1e-6) - p.rate)
}
