package supervisor

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBudget(t *testing.T) {
	const second = int64(time.Second)
	tests := []struct {
		name   string
		policy Policy
		at     []int64 // seconds
		want   []Verdict
	}{
		{
			"a burst within the intensity, then one too many",
			Policy{Intensity: 3, Period: 10 * time.Second},
			[]int64{0, 0, 1, 2},
			[]Verdict{Allowed, Allowed, Allowed, Exhausted},
		},
		{
			"slow failures go on for ever",
			Policy{Intensity: 1, Period: 10 * time.Second},
			[]int64{0, 10, 20, 30},
			[]Verdict{Allowed, Allowed, Allowed, Allowed},
		},
		{
			"the window slides",
			Policy{Intensity: 2, Period: 10 * time.Second},
			[]int64{0, 5, 10, 14, 15},
			[]Verdict{Allowed, Allowed, Allowed, Exhausted, Exhausted},
		},
		{"no restarts at all", Policy{Intensity: -1}, []int64{0}, []Verdict{Exhausted}},
		{
			"a clock that goes back stands still",
			Policy{Intensity: 1, Period: 10 * time.Second},
			[]int64{100, 0},
			[]Verdict{Allowed, Exhausted},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := tt.policy.NewBudget()
			for i, at := range tt.at {
				if got := b.Record(at * second); got != tt.want[i] {
					t.Fatalf("failure %d at %d s: got verdict %d, want %d", i+1, at, got, tt.want[i])
				}
			}
		})
	}
}

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	p := Policy{BackoffMin: 50 * time.Millisecond, BackoffMax: 300 * time.Millisecond}
	for i, want := range []time.Duration{50, 100, 200, 300, 300, 300} {
		if got := p.Backoff(i+1, nil); got != want*time.Millisecond {
			t.Errorf("attempt %d waits %v, want %v", i+1, got, want*time.Millisecond)
		}
	}
	if got := p.Backoff(1<<30, nil); got != p.BackoffMax {
		t.Errorf("attempt 2^30 waits %v, want %v", got, p.BackoffMax)
	}
}

func TestBackoffJitterStaysWithinItsFraction(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			BackoffMin: time.Duration(rapid.IntRange(1, 1e9).Draw(t, "min")),
			BackoffMax: time.Duration(rapid.IntRange(1, 1e10).Draw(t, "max")),
			Jitter:     rapid.Float64Range(0.01, 1).Draw(t, "jitter"),
		}
		attempt := rapid.IntRange(1, 100).Draw(t, "attempt")
		drawn := rapid.Float64Range(0, 0.999).Draw(t, "drawn")
		plain := p.Backoff(attempt, nil)
		got := p.Backoff(attempt, func() float64 { return drawn })
		spread := time.Duration(float64(plain)*p.Jitter) + 1
		if got < plain-spread || got > plain+spread || got > p.BackoffMax || got < 0 {
			t.Fatalf("attempt %d waits %v with jitter and %v without; the spread is %v, the cap %v", attempt, got, plain, spread, p.BackoffMax)
		}
	})
}
