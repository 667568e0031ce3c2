package cluster

// flight holds the calls that one lane has under way, by the id they bear there.
// Whoever embeds it guards it.
type flight struct {
	slots []slot
	free  []uint32
	count int
}

// slot is one place of a flight.
type slot struct {
	op *operation
	// due is when the attempt is given up.
	due int64
	// uses makes the ids of one slot differ, so that a late reply finds nothing.
	uses uint32
}

// put takes a call in and gives it an id, never 0.
func (f *flight) put(op *operation, due int64) uint64 {
	var at uint32
	if n := len(f.free); n > 0 {
		at = f.free[n-1]
		f.free = f.free[:n-1]
	} else {
		at = uint32(len(f.slots))
		f.slots = append(f.slots, slot{})
	}
	s := &f.slots[at]
	s.op, s.due = op, due
	s.uses++
	f.count++
	return uint64(s.uses)<<32 | uint64(at)
}

// take lets the call with an id go; nil if there is none.
func (f *flight) take(id uint64) *operation {
	at := uint32(id)
	if int(at) >= len(f.slots) || f.slots[at].uses != uint32(id>>32) {
		return nil
	}
	op := f.slots[at].op
	if op != nil {
		f.release(at)
	}
	return op
}

func (f *flight) release(at uint32) {
	f.slots[at].op = nil
	f.free = append(f.free, at)
	f.count--
}

// overdue lets the calls go whose attempt took too long, and those that ended.
func (f *flight) overdue(now int64) []*operation {
	if f.count == 0 {
		return nil
	}
	var late []*operation
	for at := range f.slots {
		s := &f.slots[at]
		if s.op == nil || s.due > now && s.op.deadline > now && !s.op.finished.Load() {
			continue
		}
		late = append(late, s.op)
		f.release(uint32(at))
	}
	return late
}

// all lets every call go.
func (f *flight) all() []*operation {
	var ops []*operation
	for at := range f.slots {
		if op := f.slots[at].op; op != nil {
			ops = append(ops, op)
			f.release(uint32(at))
		}
	}
	return ops
}
