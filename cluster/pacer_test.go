package cluster

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// passes makes n passes of some wake-ups, each of which takes work, and
		// returns how long they took together.
		p := &pacer{interval: paceInterval, busy: paceBusy, began: time.Now()}
		passes := func(n, wakeups int, work time.Duration) time.Duration {
			start := time.Now()
			for range n {
				time.Sleep(work)
				p.between(wakeups)
			}
			return time.Since(start)
		}
		if got, want := passes(1000, 2, 200*time.Microsecond), 200*time.Millisecond; got != want {
			t.Errorf("a quiet loop took %v for what takes %v", got, want)
		}
		passes(2000, 20, 50*time.Microsecond)
		if got, want := passes(100, 20, 50*time.Microsecond), 100*paceInterval; got != want {
			t.Errorf("a loaded loop made 100 passes in %v, want %v", got, want)
		}
		if got, want := passes(100, 200, time.Millisecond), 100*time.Millisecond; got != want {
			t.Errorf("long passes took %v, want %v: they need no company", got, want)
		}
	})
}
