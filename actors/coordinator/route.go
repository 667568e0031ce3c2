package coordinator

import "slices"

// The waits of a coordinator, in ticks.
const (
	// patienceTicks is how long a node that holds a copy waits for its own
	// replica to name the master before it asks around.
	patienceTicks = 8
	// downTicks is how long the target may be unreachable before another node is
	// asked.
	downTicks = 2
	// probeTicks is how long a probe may stay without a reply before another
	// node is asked.
	probeTicks = 10
	// backoffTicksMax caps the wait after refusals that taught nothing: 1, 2, 4,
	// 4, ... ticks.
	backoffTicksMax = 4
)

// route is what is known about where a partition's master is. It is pure: no
// messages, no clock but the number of the tick.
//
// There are three sorts of knowledge. A belief comes from a replica or a master
// itself (call.MasterChanged) and has a term; beliefs of lower terms are ignored.
// A hint comes with a refusal. A guess is one of the nodes that hold a copy
// according to the ring's table. Target is the node that gets the requests.
type route struct {
	self string
	// target is where requests go; empty while there is nobody to send them to.
	target string
	// believed is the newest belief, empty for "nobody"; term is its term.
	believed string
	term     uint64
	// copies are the nodes that hold the partition, in the table's order.
	copies []string
	// down holds the nodes that cannot be reached. Looked up, never iterated.
	down map[string]bool
	// refused are the nodes that refused since the last back-off ended or the
	// last belief came.
	refused []string
	// misses counts refusals in a row that taught nothing new.
	misses uint
	// tryAt is the tick from which another node may be asked.
	tryAt uint64
	// guess counts guesses, so that they go around.
	guess int
}

func newRoute(self string) route { return route{self: self, down: make(map[string]bool)} }

// open reports whether requests can be sent to the target.
func (t *route) open() bool { return t.target != "" && t.reachable(t.target) }

func (t *route) reachable(node string) bool { return node == t.self || !t.down[node] }

// believe takes a belief. It reports whether the target changed or may be tried
// at once although it refused before.
func (t *route) believe(node string, term, tick uint64) bool {
	if term < t.term {
		return false
	}
	fresh := term > t.term || node != t.believed
	t.believed, t.term = node, term
	if !fresh && node == t.target {
		return false
	}
	t.refused, t.misses = t.refused[:0], 0
	t.target = node
	switch {
	case node == "":
		t.wait(tick, patienceTicks)
	case !t.reachable(node):
		t.wait(tick, downTicks)
	}
	return true
}

// refuse takes a refusal from a node that was taken for the master, with the
// master that it hints at (or none) in the term it is in (or 0).
func (t *route) refuse(from, hint string, term, tick uint64) {
	if !slices.Contains(t.refused, from) {
		t.refused = append(t.refused, from)
	}
	if t.target != from && t.open() {
		return // the requests go elsewhere already
	}
	if t.target == from {
		t.target = ""
	}
	outdated := term != 0 && term < t.term
	if hint != "" && !outdated && !slices.Contains(t.refused, hint) {
		if t.reachable(hint) {
			t.target = hint
			return
		}
		if t.target == "" {
			t.target = hint // at least it can be named
		}
	}
	t.wait(tick, min(uint64(1)<<min(t.misses, 8), backoffTicksMax))
	t.misses++
}

// served takes the news that a node answered as the master in a term (or 0). It
// reports whether that made it the target.
func (t *route) served(node string, term uint64) bool {
	t.misses, t.refused = 0, t.refused[:0]
	if t.open() || term != 0 && term < t.term {
		return false
	}
	t.target = node
	return true
}

// lost takes the news that the target cannot take requests for now.
func (t *route) lost(tick uint64) {
	t.target = ""
	t.wait(tick, patienceTicks)
}

// peer takes the news that a node became reachable or unreachable.
func (t *route) peer(node string, up bool, tick uint64) {
	if up {
		delete(t.down, node)
		if t.target == "" {
			t.tryAt = tick
		}
		return
	}
	t.down[node] = true
	if node == t.target {
		t.wait(tick, downTicks)
	}
}

// place takes the nodes that hold a copy according to the table.
func (t *route) place(copies []string, tick uint64) {
	if slices.Equal(t.copies, copies) {
		return
	}
	t.copies = copies
	if t.target != "" {
		return
	}
	t.tryAt = tick
	if slices.Contains(copies, t.self) {
		t.wait(tick, patienceTicks)
	}
}

func (t *route) wait(tick, ticks uint64) { t.tryAt = tick + ticks }

// next names the node to ask while the target is not open: the believed master
// first, then the holders of copies in turn. Empty: it is too early, or there is
// nobody.
func (t *route) next(tick uint64) string {
	if tick < t.tryAt {
		return ""
	}
	t.refused = t.refused[:0]
	if t.believed != "" && t.reachable(t.believed) && t.misses%2 == 1 {
		return t.believed
	}
	for range t.copies {
		node := t.copies[t.guess%len(t.copies)]
		t.guess++
		if node != t.self && t.reachable(node) {
			return node
		}
	}
	if t.believed != "" && t.reachable(t.believed) {
		return t.believed
	}
	return ""
}
