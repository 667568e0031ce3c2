package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// steady is a client that adds to one counter of its own, all the time.
func steady(c *Client) {
	key := fmt.Sprintf("steady%d", c.Index())
	for c.Running() {
		// The history has it, whatever comes of it.
		_, _ = counter.Add.Call(c.Context(), c, key, &counterpb.AddRequest{Delta: 1})
		c.Sleep(10 * time.Millisecond)
	}
}

// scenario runs a script under steady load on a healthy network.
func scenario(t *testing.T, seed uint64, script func(w *World)) *Result {
	t.Helper()
	cfg := Config{Seed: seed, Behaviors: []*actors.Behavior{counter.Behavior()}, OpsMax: 1 << 30}
	r := Test(t, flags.Apply(cfg), func(w *World) {
		w.Sleep(5 * time.Second)
		for range 4 {
			w.Go(steady)
		}
		w.Sleep(3 * time.Second)
		script(w)
	})
	t.Log(r)
	return r
}

// gap is the longest time between two acknowledgements of one actor.
func gap(r *Result) time.Duration {
	longest := time.Duration(0)
	for _, ops := range r.History.ByActor() {
		last := int64(-1)
		for _, op := range ops {
			if op.Outcome != Acked || op.Method.Query {
				continue
			}
			if last >= 0 {
				longest = max(longest, time.Duration(op.ReturnTime-last))
			}
			last = op.ReturnTime
		}
	}
	return longest
}

// TestFailover takes away the node with the most masterships and measures how long
// its partitions have none. The end of a process is heard at once, since its
// connections close; that of a machine only by its silence.
func TestFailover(t *testing.T) {
	tests := []struct {
		name            string
		end             func(w *World, node int)
		median, longest time.Duration
	}{
		{"process", (*World).Crash, 600 * time.Millisecond, 1500 * time.Millisecond},
		{"machine", (*World).Lose, 1500 * time.Millisecond, 3 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var gaps []time.Duration
			for _, seed := range seeds(6) {
				gaps = append(gaps, failover(t, seed, test.end)...)
			}
			slices.Sort(gaps)
			median, longest := gaps[len(gaps)/2], gaps[len(gaps)-1]
			t.Logf("%d fail-overs: median %v, longest %v", len(gaps), median, longest)
			if median > test.median || longest > test.longest {
				t.Errorf("a new master took %v in the median and %v at most", median, longest)
			}
		})
	}
}

// failover gives how long each partition of a lost node was without a master.
func failover(t *testing.T, seed uint64, end func(w *World, node int)) []time.Duration {
	t.Helper()
	var at time.Duration
	var lost []uint64
	r := scenario(t, seed, func(w *World) {
		victim := 0
		for i := range w.Nodes() {
			if len(w.Masters(i)) > len(w.Masters(victim)) {
				victim = i
			}
		}
		at, lost = w.Now(), w.Masters(victim)
		end(w, victim)
		w.Sleep(10 * time.Second)
	})
	var gaps []time.Duration
	for _, p := range lost {
		i := slices.IndexFunc(r.Masterships, func(m Mastership) bool { return m.Partition == p && m.At > at })
		if i < 0 {
			t.Errorf("seed %d: partition %d has no master after its node's death", seed, p)
			continue
		}
		gaps = append(gaps, r.Masterships[i].At-at)
	}
	return gaps
}

// TestRollingRestart retires every node, one after the other, under load: no
// operation fails, and no actor is away for long.
func TestRollingRestart(t *testing.T) {
	for _, seed := range seeds(5) {
		r := scenario(t, seed, func(w *World) {
			for i := range w.Nodes() {
				w.Retire(i)
				for w.Running(i) {
					w.Sleep(10 * time.Millisecond)
				}
				w.Start(i)
				w.Sleep(5 * time.Second)
			}
		})
		if r.Unknown+r.Refused > 0 {
			t.Errorf("seed %d: %d operations failed and %d are of unknown outcome", seed, r.Refused, r.Unknown)
		}
		t.Logf("seed %d: longest gap %v of %d operations", seed, gap(r), r.Acked)
		if gap(r) > 700*time.Millisecond {
			t.Errorf("seed %d: an actor was away for %v", seed, gap(r))
		}
	}
}

// TestMajorityLost takes two of three nodes away: callers hear within two seconds
// that nobody can serve them. When one comes back, it goes on.
func TestMajorityLost(t *testing.T) {
	scenario(t, 1, func(w *World) {
		c := w.Client()
		w.Crash(0)
		w.Crash(1)
		w.Sleep(3 * time.Second)
		began := w.Now()
		c.Only(2)
		c.Patience(time.Second)
		_, err := counter.Add.Call(c.Context(), c, "alice", &counterpb.AddRequest{Delta: 1})
		if code, took := actors.CodeOf(err), w.Now()-began; code != messages.Code_CODE_UNAVAILABLE || took > 2*time.Second {
			t.Errorf("without a majority a call took %v and ended with %v", took, err)
		}
		w.Start(1)
		began = w.Now()
		c.Patience(10 * time.Second)
		_, err = counter.Add.Call(c.Context(), c, "alice", &counterpb.AddRequest{Delta: 1})
		if took := w.Now() - began; err != nil || took > 4*time.Second {
			t.Errorf("with a majority again a call took %v: %v", took, err)
		}
	})
}

// TestPowerLossOfAll takes the power from every node under load, three times:
// every counter then holds what was acknowledged.
func TestPowerLossOfAll(t *testing.T) {
	for _, seed := range seeds(5) {
		var finals map[actors.ActorID]int64
		r := scenario(t, seed, func(w *World) {
			w.AtEnd(func(c *Client) { finals = finalCounts(t, w, c) })
			for range 3 {
				for i := range w.Nodes() {
					w.Crash(i)
				}
				w.Sleep(time.Second)
				for i := range w.Nodes() {
					w.Start(i)
				}
				w.Sleep(6 * time.Second)
			}
		})
		for actor, sum := range r.History.Sum("counter", "Add", delta) {
			if got := finals[actor]; got < sum.Least || got > sum.Most {
				t.Errorf("seed %d: %s is %d; %d was acknowledged, %d is unknown", seed, actor, got, sum.Least, sum.Most-sum.Least)
			}
		}
	}
}

// TestIsolatedMaster cuts a master off from the others while clients still reach
// it. It must not answer from what it remembers once another one writes.
func TestIsolatedMaster(t *testing.T) {
	two := 0
	for _, seed := range seeds(10) {
		cfg := flags.Apply(Config{Seed: seed, Behaviors: both()})
		r := Test(t, cfg, func(w *World) {
			for range 6 {
				w.Go(Anything)
			}
			w.Sleep(5 * time.Second)
			for i := range w.Nodes() {
				w.Isolate(i)
				w.Sleep(4 * time.Second)
				w.Heal()
				w.Sleep(3 * time.Second)
			}
		})
		two += r.Probes[probeTwoMasters]
	}
	if two == 0 {
		t.Error("two masters never met; the test shows nothing")
	}
}

// TestSnapshotToANodeThatDies ends a slave again and again while snapshots are on
// their way to it, also when all is sent and nothing acknowledged. In the end it
// must hold what the others hold.
func TestSnapshotToANodeThatDies(t *testing.T) {
	installed := 0
	for _, seed := range seeds(4) {
		cfg := flags.Apply(Config{
			Seed: seed, Behaviors: both(), Partitions: 3,
			Limits: replica.Limits{LogBytes: 1000, LogBytesMax: 1000, SnapshotChunkBytes: 2000, FlushTicks: 4},
		})
		r := Test(t, cfg, func(w *World) {
			r := w.Client().Rand()
			for range 6 {
				w.Go(Anything)
			}
			w.Sleep(5 * time.Second)
			w.Slow(1, 300, 1)
			for range 15 {
				w.Crash(1)
				w.Sleep(2 * time.Second)
				w.Start(1)
				w.Sleep(time.Duration(r.Int64N(int64(800 * time.Millisecond))))
			}
			w.Slow(1, 1, 1)
		})
		installed += r.Probes["replica: "+replica.EventSnapshot]
	}
	t.Logf("%d snapshots were installed", installed)
	if installed < 10 {
		t.Error("too few snapshots; the test shows nothing")
	}
}
