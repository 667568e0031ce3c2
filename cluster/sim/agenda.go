package sim

// An eventKind says what an event is; it goes into the trace.
type eventKind uint8

const (
	evWorld   eventKind = iota // a change of the world: a fault, an end of one
	evRun                      // a node's actors get the processor
	evTick                     // a node's clock ticks
	evMessage                  // a message of another node arrives
	evPeer                     // a link to another node came up or went down
	evMember                   // gossip says something
	evTimer                    // a timer of a node ends
	evDisk                     // a disk finishes a batch
	evDone                     // a node hears of it
	evCall                     // a client's call arrives at a node
	evReply                    // a reply arrives at a client
	evWake                     // a client goes on
)

// event is something that happens at one instant of virtual time.
type event struct {
	at int64 // nanoseconds of virtual time
	// tie orders events of one instant; it is drawn from the seed. order breaks
	// the ties that remain.
	tie, order uint64
	kind       eventKind
	// node is the index of the node that it happens to; -1 for the world.
	node int
	// boot is the life of the node that it belongs to; it is void in another one.
	boot uint64
	// size and digest describe the contents for the trace.
	size   int
	digest uint64
	run    func()
}

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	if e.tie != o.tie {
		return e.tie < o.tie
	}
	return e.order < o.order
}

// agenda is the heap of what will happen. The zero value is empty.
type agenda struct {
	heap  []event
	order uint64
}

func (a *agenda) len() int { return len(a.heap) }

// push adds an event.
func (a *agenda) push(e event) {
	a.order++
	e.order = a.order
	a.heap = append(a.heap, e)
	h := a.heap
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 4
		if !h[i].before(&h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// pop removes and returns the next event; the agenda must not be empty.
func (a *agenda) pop() event {
	h := a.heap
	next := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	a.heap = h[:last]
	a.sink(0)
	return next
}

// sink moves the event at i down to where it belongs in the heap of four children
// a node.
func (a *agenda) sink(i int) {
	h := a.heap
	for {
		first := 4*i + 1
		if first >= len(h) {
			return
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if !h[least].before(&h[i]) {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
