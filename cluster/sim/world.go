package sim

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// startOfTime is when virtual time begins: 2026-01-01 00:00 UTC, in nanoseconds
// since 1970.
const startOfTime = int64(1767225600e9)

// World is one simulated cluster and everything around it. It is used by one
// goroutine; the bodies of clients and of the test run on that goroutine too, one
// at a time.
type World struct {
	cfg    Config
	rng    streams
	agenda agenda
	// now is the virtual time since the start of the run, in nanoseconds.
	now     int64
	hosts   []*host
	net     *network
	gossip  *gossip
	history History
	clients []*Client
	procs   []*process
	faults  *nemesis
	// director is the test's own body, and after it the second phase.
	director *process
	verdicts []Verdict
	atEnd    []func(c *Client)
	trace    *xxhash.Digest
	scratch  [40]byte
	events   int
	// burst counts the events of this virtual second, burstBytes their size.
	burst, burstBytes int
	// tail is a ring of the last events, for the report of a failure.
	tail       [200]string
	tailNext   int
	violations []string
	points     map[string]int
	// probes counts how often a state was reached that a run should reach now
	// and then; a suite that never gets there proves little.
	probes map[string]int
	// claims holds, for each partition and term, the node seen to be its master.
	claims      map[[2]uint64]string
	masterships []Mastership
	// draining says that clients are to finish.
	draining bool
	// callID numbers the calls of all clients.
	callID uint64
	keys   map[string]*keyring
}

func newWorld(cfg Config, launch launcher) *World {
	w := &World{
		cfg: cfg, rng: newStreams(cfg.Seed), trace: xxhash.New(),
		points: map[string]int{}, probes: map[string]int{}, claims: map[[2]uint64]string{}, keys: map[string]*keyring{},
	}
	for i := range cfg.Nodes {
		w.hosts = append(w.hosts, newHost(w, i, launch))
	}
	w.net = newNetwork(w, cfg.Nodes)
	w.gossip = newGossip(w, cfg.Nodes)
	w.faults = newNemesis(w, cfg.Faults)
	return w
}

// Now is the virtual time since the start of the run.
func (w *World) Now() time.Duration { return time.Duration(w.now) }

// Nodes is the number of nodes.
func (w *World) Nodes() int { return len(w.hosts) }

// schedule puts an event on the agenda.
func (w *World) schedule(e event) {
	e.at = max(e.at, w.now)
	e.tie = w.rng.schedule.Uint64()
	w.agenda.push(e)
}

// after schedules a change of the world.
func (w *World) after(d time.Duration, f func()) {
	w.schedule(event{at: w.now + int64(d), kind: evWorld, node: -1, run: f})
}

// The load of one virtual second, at most. A busy cluster of five nodes has a few
// thousand events and a megabyte of messages; far more means that nodes answer
// each other without end.
const (
	eventsMax = 200_000
	bytesMax  = 48 << 20
)

// run delivers events until done says so or virtual time runs out.
func (w *World) run(done func() bool, until time.Duration) {
	for !done() && w.agenda.len() > 0 {
		e := w.agenda.pop()
		if e.at > int64(until) {
			w.violate("end of the run", "it did not end within %v of virtual time", until)
			return
		}
		if second := e.at / int64(time.Second); second != w.now/int64(time.Second) {
			w.burst, w.burstBytes = 0, 0
		}
		w.now = e.at
		w.deliver(&e)
		w.burst, w.burstBytes = w.burst+1, w.burstBytes+e.size
		if w.burst > eventsMax || w.burstBytes > bytesMax {
			w.violate("a bounded load", "%d events with %d bytes in one second: something goes round in circles", w.burst, w.burstBytes)
			return
		}
	}
}

// deliver lets one event happen, and then the actors of its node run.
func (w *World) deliver(e *event) {
	if e.node < 0 {
		w.note(e)
		e.run()
		return
	}
	h := w.hosts[e.node]
	if !h.running() || e.boot != h.boot {
		return // it was meant for an earlier life
	}
	if h.paused {
		h.held = append(h.held, *e)
		return
	}
	w.note(e)
	e.run()
	if e.kind != evRun {
		h.wakeUp()
	}
}

// note adds an event to the trace: same seed, same hash.
func (w *World) note(e *event) {
	w.events++
	b := w.scratch[:0]
	b = binary.LittleEndian.AppendUint64(b, uint64(e.at))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.node)<<8|uint64(e.kind))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.size))
	b = binary.LittleEndian.AppendUint64(b, e.digest)
	_, _ = w.trace.Write(b)
	if w.cfg.Trace != nil {
		w.cfg.Trace(fmt.Sprintf("%d %s node %d size %d digest %x", e.at, e.kind, e.node, e.size, e.digest))
	}
}

// log keeps a line for the report of a failure.
func (w *World) log(format string, args ...any) {
	line := fmt.Sprintf("%12.6f ", time.Duration(w.now).Seconds()) + fmt.Sprintf(format, args...)
	w.tail[w.tailNext%len(w.tail)] = line
	w.tailNext++
	if w.cfg.Trace != nil {
		w.cfg.Trace(line)
	}
}

// lastLines gives the newest lines of the log, oldest first.
func (w *World) lastLines() []string {
	first := max(0, w.tailNext-len(w.tail))
	var lines []string
	for i := first; i < w.tailNext; i++ {
		lines = append(lines, w.tail[i%len(w.tail)])
	}
	return lines
}

// violationsMax bounds what is kept of a run that fails everywhere.
const violationsMax = 50

// violate records that a promise was broken.
func (w *World) violate(promise, format string, args ...any) {
	line := fmt.Sprintf("%s: ", promise) + fmt.Sprintf(format, args...)
	w.log("VIOLATION %s", line)
	if len(w.violations) < violationsMax {
		w.violations = append(w.violations, fmt.Sprintf("at %v: %s", time.Duration(w.now), line))
	}
}

// Fail records a broken promise that the test itself found.
func (w *World) Fail(format string, args ...any) { w.violate("test", format, args...) }

// claim records that a node acted as master of a partition in a term; two in one
// term are a violation.
func (w *World) claim(partition, term uint64, node string) {
	key := [2]uint64{partition, term}
	switch before, known := w.claims[key]; {
	case !known:
		w.claims[key] = node
	case before != node:
		w.violate("one master in a term", "partition %d has two masters in term %d: %s and %s", partition, term, before, node)
	}
}

// probe counts that a state was reached.
func (w *World) probe(state string) { w.probes[state]++ }

// byID finds a node by its id; nil if there is none.
func (w *World) byID(id string) *host {
	for _, h := range w.hosts {
		if h.id == id {
			return h
		}
	}
	return nil
}

// planted reports whether a defect is switched on.
func (w *World) planted(defect string) bool { return slices.Contains(w.cfg.Plant, defect) }

// String names the event's kind.
func (k eventKind) String() string {
	return [...]string{"world", "run", "tick", "message", "peer", "member", "timer", "disk", "done", "call", "reply", "wake"}[k]
}
