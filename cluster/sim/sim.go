package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// Result is what came of a run.
type Result struct {
	Seed uint64
	// Ops counts the operations of clients; each is acknowledged, refused or of
	// unknown outcome.
	Ops, Acked, Refused, Unknown int
	// Faults counts the faults of each class.
	Faults map[string]int
	// Schedule lists them in order.
	Schedule []FaultRecord
	// Points counts how often each fault point was passed.
	Points map[string]int
	// Probes counts how often states were reached that matter: two masters at a
	// time, stored answers to retries, and the like.
	Probes map[string]int
	// Trace is a hash over every event. Two runs of a seed must agree in it.
	Trace uint64
	// Events counts the events delivered.
	Events int
	// Virtual and Wall are how long the run took, in its own time and in ours.
	Virtual, Wall time.Duration
	// Violations says which promises were broken; empty is what should be.
	Violations []string
	// Repeat is the command that repeats the run.
	Repeat string
	// Log holds the newest lines about what happened.
	Log []string
	// History holds the operations.
	History *History
	// Masterships lists who became master of what, in order.
	Masterships []Mastership

	verdicts []Verdict
}

// Mastership is the moment at which a replica began to serve as a master.
type Mastership struct {
	At        time.Duration
	Node      int
	Partition uint64
	Term      uint64
}

// OK reports whether every promise was kept.
func (r *Result) OK() bool { return len(r.Violations) == 0 }

// String sums the run up on one line.
func (r *Result) String() string {
	verdict := "ok"
	if !r.OK() {
		verdict = "FAILED: " + strings.Join(r.Violations, "; ")
	}
	faults := 0
	for _, n := range r.Faults {
		faults += n
	}
	return fmt.Sprintf("seed %d: %d ops (%d acked, %d refused, %d unknown), %d faults, %v virtual in %v, %d events, trace %016x: %s",
		r.Seed, r.Ops, r.Acked, r.Refused, r.Unknown, faults, r.Virtual.Round(time.Second), r.Wall.Round(time.Millisecond),
		r.Events, r.Trace, verdict)
}

// virtualMax bounds a run beyond its first phase: what has not ended by then
// hangs.
const virtualMax = 30 * time.Minute

// run is Run for any program.
func run(cfg Config, body func(w *World), launch launcher) *Result {
	cfg = cfg.withDefaults()
	start := time.Now()
	w := newWorld(cfg, launch)
	release := seizeEntropy(w.rng.entropy)
	defer release()
	for _, h := range w.hosts {
		w.after(between(w.rng.clocks, 0, 200*time.Millisecond), h.start)
	}
	if body == nil {
		body = (*World).byDefault
	}
	w.director = w.spawn(func(*process) {
		w.faults.begin()
		body(w)
		w.conclude()
	})
	w.run(func() bool { return w.director.done }, cfg.Duration+virtualMax)
	for _, p := range w.procs {
		p.stop()
	}
	for _, h := range w.hosts {
		if err := h.disk.close(); err != nil {
			w.violate("a disk closes", "node %d: %v", h.index, err)
		}
	}
	w.judge()
	r := w.result()
	r.Wall = time.Since(start)
	return r
}

// byDefault is the first phase of a test without a body of its own.
func (w *World) byDefault() {
	for range w.cfg.Clients {
		w.Go(w.cfg.Workload)
	}
	w.Sleep(w.cfg.Duration)
}

// result gathers the figures of the run.
func (w *World) result() *Result {
	r := &Result{
		Seed: w.cfg.Seed, Faults: w.faults.counts, Schedule: w.faults.records, Points: w.points, Probes: w.probes,
		Trace: w.trace.Sum64(), Events: w.events, Virtual: time.Duration(w.now), Violations: w.violations,
		Repeat: w.repeat(), Log: w.lastLines(), History: &w.history, Masterships: w.masterships, verdicts: w.verdicts,
	}
	for _, op := range w.history.ops {
		r.Ops++
		switch op.Outcome {
		case Acked:
			r.Acked++
		case Refused:
			r.Refused++
		default:
			r.Unknown++
		}
	}
	return r
}

// repeat gives the flags that repeat the run.
func (w *World) repeat() string {
	flags := fmt.Sprintf("-sim.seed=%d", w.cfg.Seed)
	if len(w.cfg.Plant) > 0 {
		flags += " -sim.plant=" + strings.Join(w.cfg.Plant, ",")
	}
	return flags
}

// Sleep lets virtual time pass; for the body of a test.
func (w *World) Sleep(d time.Duration) { w.director.sleep(d) }

// AtEnd has f run at the end of the second phase, when the cluster is whole, and
// before histories are judged.
func (w *World) AtEnd(f func(c *Client)) { w.atEnd = append(w.atEnd, f) }

// History gives the operations so far.
func (w *World) History() *History { return &w.history }

// Client returns a client for the body of a test.
func (w *World) Client() *Client { return w.newClient(w.director) }

// Crash kills a node; it stays down until Start.
func (w *World) Crash(node int) { w.hosts[node].crash("the test says so") }

// Lose ends a node as the loss of its machine does: no connection is closed, the
// others only hear nothing any more. It stays down until Start.
func (w *World) Lose(node int) {
	w.hosts[node].silent = true
	w.hosts[node].crash("the test takes its machine")
}

// Start starts a node that is down.
func (w *World) Start(node int) { w.hosts[node].start() }

// Retire stops a node in good order, as SIGTERM does: it hands its masterships over
// first. It stays down until Start.
func (w *World) Retire(node int) { w.hosts[node].retire(func() {}) }

// Running reports whether a node runs.
func (w *World) Running(node int) bool { return w.hosts[node].running() }

// Masters gives the partitions that a node believes to master, sorted.
func (w *World) Masters(node int) []uint64 {
	return slices.Sorted(maps.Keys(w.hosts[node].masters))
}

// Pause stops a node as SIGSTOP does, Resume lets it go on.
func (w *World) Pause(node int) { w.hosts[node].pause() }

// Resume lets a paused node go on.
func (w *World) Resume(node int) { w.hosts[node].resume() }

// Slow makes a node's processor and disk so many times slower; 1 is healthy.
func (w *World) Slow(node int, processor int64, disk float64) {
	w.hosts[node].slowness, w.hosts[node].disk.slowness = processor, disk
}

// Cut cuts the link from one node to another, in this direction only.
func (w *World) Cut(from, to int) { w.net.setCut(from, to, 1) }

// Isolate cuts a node off from all others, both ways. Clients still reach it.
func (w *World) Isolate(node int) {
	for other := range w.hosts {
		if other != node {
			w.net.setCut(node, other, 1)
			w.net.setCut(other, node, 1)
		}
	}
}

// Heal opens every link and ends bad weather.
func (w *World) Heal() { w.net.heal() }

// NodeID gives the id of a node.
func (w *World) NodeID(node int) string { return w.hosts[node].id }

// NodeIndex finds a node by its id; -1 if there is none.
func (w *World) NodeIndex(id string) int {
	return slices.IndexFunc(w.hosts, func(h *host) bool { return h.id == id })
}

// behavior finds a behavior of the run by its kind; nil if there is none.
func (w *World) behavior(kind string) *actors.Behavior {
	for _, b := range w.cfg.Behaviors {
		if b.Kind() == kind {
			return b
		}
	}
	return nil
}
