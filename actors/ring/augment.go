package ring

// hop is one step of an augmenting path: item leaves bin from.
type hop struct {
	from, item int
}

// augment finds a cheapest path of items that each move one bin further, from one
// of the sources to a bin that is a goal, and moves them: the source loses one,
// the goal gains one, the bins between stay as they are. With start >= 0 that
// item comes into the source first, so that the source stays as it is too.
// It reports whether there was such a path.
//
// A hop costs what price says, and a path at most limit. The search is breadth
// first over costs 0 and 1, so the path found makes the fewest moves.
func (m *matching) augment(sources []int, goal func(bin int) bool, start, limit int) bool {
	s := &search{m: m, via: make([]hop, len(m.want)), cost: make([]int, len(m.want)), done: make([]bool, len(m.want))}
	for bin := range s.cost {
		s.cost[bin] = -1
	}
	level := []int{}
	for _, bin := range sources {
		s.cost[bin] = 0
		s.via[bin] = hop{-1, start}
		level = append(level, bin)
	}
	for cost := 0; len(level) > 0 && cost <= limit; cost++ {
		var next []int
		for i := 0; i < len(level); i++ {
			bin := level[i]
			if s.done[bin] || s.cost[bin] != cost {
				continue
			}
			s.done[bin] = true
			if goal(bin) && (start >= 0 || s.via[bin].from >= 0) {
				m.follow(s.via, bin)
				return true
			}
			same, later := s.expand(bin)
			level = append(level, same...)
			next = append(next, later...)
		}
		level = next
	}
	return false
}

// search is the state of one search for a path.
type search struct {
	m *matching
	// via is how each bin was reached, cost at which cost; -1 is not yet.
	via  []hop
	cost []int
	done []bool
}

// expand reaches bins from one bin; same cost no more than the bin itself.
func (s *search) expand(from int) (same, later []int) {
	m := s.m
	for _, item := range m.items[from] {
		if !m.holds(item, from) {
			continue
		}
		for _, to := range m.allowed(item) {
			if s.done[to] || s.cost[to] >= 0 && s.cost[to] <= s.cost[from] || m.holds(item, to) {
				continue
			}
			cost := s.cost[from] + m.price(item, from, to)
			if s.cost[to] >= 0 && s.cost[to] <= cost {
				continue
			}
			s.cost[to] = cost
			s.via[to] = hop{from, item}
			if cost == s.cost[from] {
				same = append(same, to)
			} else {
				later = append(later, to)
			}
		}
	}
	return same, later
}

// follow makes the moves of the path that ends in a bin.
func (m *matching) follow(via []hop, bin int) {
	for {
		step := via[bin]
		if step.from < 0 {
			if step.item >= 0 {
				m.put(step.item, bin)
			}
			return
		}
		m.take(step.item, step.from)
		m.put(step.item, bin)
		bin = step.from
	}
}
