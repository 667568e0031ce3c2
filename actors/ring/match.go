package ring

import (
	"math"
	"slices"
)

// matching spreads items over bins: every item lies in as many different bins as
// it has slots, every bin holds between low and high items, and as few items as
// possible move. The bins are zones in Plan's first step and the nodes of one
// zone in its second.
//
// It is a flow problem. Greedy steps do nearly all of it: each puts an item where
// it has to go anyway. What they leave over is settled by shortest augmenting
// paths, which find a way wherever there is one.
type matching struct {
	walker *walker
	want   []share
	// position and slots of each item.
	position []uint64
	slots    []int
	// on is the bins that hold each item.
	on [][]int
	// was is where each item lay at the start; going back there is no move.
	was [][]int
	// choices, if set, is the bins each item may lie in, best first; else it may
	// lie in all, in the walker's order.
	choices [][]int
	// shed, if set, says that an item should leave a bin before others do.
	shed func(item, bin int) bool
	// moved, if set, hears of every item that leaves a bin.
	moved func(item, bin int)

	// trimmed: items lost bins that they may go back to at no cost.
	trimmed bool
	// bins is all bins.
	bins []int
	load []int
	// items lists for each bin what it holds, and also some of what it held.
	items [][]int
}

// anyCost is no limit on the cost of an augmenting path.
const anyCost = math.MaxInt

// run changes m.on to a matching. A bin exceeds its share only if there is no
// other way to give an item its slots.
func (m *matching) run() {
	for bin := range m.want {
		m.bins = append(m.bins, bin)
	}
	m.load = make([]int, len(m.want))
	m.items = make([][]int, len(m.want))
	m.was = make([][]int, len(m.on))
	for item, bins := range m.on {
		m.was[item] = slices.Clone(bins)
		for _, bin := range bins {
			m.load[bin]++
			m.items[bin] = append(m.items[bin], item)
		}
	}
	m.trim()
	m.fill()
	m.relieve()
	m.supply()
	m.force()
}

// trim takes items with more bins than slots from the fullest of their bins.
func (m *matching) trim() {
	for item := range m.on {
		for len(m.on[item]) > m.slots[item] {
			worst := m.on[item][0]
			for _, bin := range m.on[item][1:] {
				if m.excess(bin) > m.excess(worst) {
					worst = bin
				}
			}
			m.take(item, worst)
			m.trimmed = true
		}
	}
}

// excess is how far a bin is above its share.
func (m *matching) excess(bin int) int { return m.load[bin] - m.want[bin].high }

// needs and fits say that a bin is below its share, or can take one more.
func (m *matching) needs(bin int) bool { return m.load[bin] < m.want[bin].low }
func (m *matching) fits(bin int) bool  { return m.load[bin] < m.want[bin].high }

// spare says that a bin can give one away.
func (m *matching) spare(bin int) bool { return m.load[bin] > m.want[bin].low }

// fill gives items without enough bins the next bin on the circle with room.
func (m *matching) fill() {
	for item := range m.on {
		for len(m.on[item]) < m.slots[item] {
			bin, ok := m.next(item)
			if !ok {
				break
			}
			m.put(item, bin)
		}
	}
	for item := range m.on {
		for len(m.on[item]) < m.slots[item] && m.augment(m.others(item), m.fits, item, anyCost) {
		}
	}
}

// next is the bin for one more copy of an item: the first on the circle that is
// below its share, else the first with room.
func (m *matching) next(item int) (bin int, ok bool) {
	best := -1
	m.visit(item, func(bin int) bool {
		if m.holds(item, bin) || !m.fits(bin) {
			return true
		}
		if m.needs(bin) {
			best = bin
			return false
		}
		if best < 0 {
			best = bin
		}
		return true
	})
	return best, best >= 0
}

// visit shows the bins an item may lie in, best first, until it returns false.
func (m *matching) visit(item int, visit func(bin int) bool) {
	if m.choices == nil {
		m.walker.from(m.position[item], visit)
		return
	}
	for _, bin := range m.choices[item] {
		if !visit(bin) {
			return
		}
	}
}

// allowed lists the bins an item may lie in.
func (m *matching) allowed(item int) []int {
	if m.choices == nil {
		return m.bins
	}
	return m.choices[item]
}

// relieve moves items out of bins that are above their share: those that should
// be shed first, then those of which nothing moved yet, so that no item loses
// several of its bins while it can be helped.
func (m *matching) relieve() {
	for bin := range m.want {
		for m.trimmed && m.excess(bin) > 0 && m.augment([]int{bin}, m.fits, -1, 0) {
		}
		m.relieveBin(bin, func(item int) bool { return m.shed != nil && m.shed(item, bin) && m.settled(item) })
		m.relieveBin(bin, m.settled)
		m.relieveBin(bin, func(int) bool { return true })
		for m.excess(bin) > 0 && m.augment([]int{bin}, m.fits, -1, anyCost) {
		}
	}
}

// relieveBin makes direct moves of some items out of one bin.
func (m *matching) relieveBin(bin int, some func(item int) bool) {
	for _, item := range m.items[bin] {
		if m.excess(bin) <= 0 {
			return
		}
		if !m.holds(item, bin) || !some(item) {
			continue
		}
		if to, ok := m.next(item); ok {
			m.take(item, bin)
			m.put(item, to)
		}
	}
}

// settled says that no copy of an item moved so far.
func (m *matching) settled(item int) bool {
	for _, bin := range m.on[item] {
		if !slices.Contains(m.was[item], bin) {
			return false
		}
	}
	return true
}

// supply moves items into bins that are below their share.
func (m *matching) supply() {
	for bin := range m.want {
		for m.trimmed && m.needs(bin) && m.augment(m.givers(), func(b int) bool { return b == bin }, -1, 0) {
		}
		m.supplyBin(bin, func(item, giver int) bool { return m.price(item, giver, bin) == 0 })
		m.supplyBin(bin, func(item, _ int) bool { return m.settled(item) })
		m.supplyBin(bin, func(int, int) bool { return true })
		for m.needs(bin) && m.augment(m.givers(), func(b int) bool { return b == bin }, -1, anyCost) {
		}
	}
}

// givers is the bins that can give an item away.
func (m *matching) givers() []int {
	var bins []int
	for bin := range m.want {
		if m.spare(bin) {
			bins = append(bins, bin)
		}
	}
	return bins
}

// supplyBin makes direct moves of some items into one bin.
func (m *matching) supplyBin(bin int, some func(item, giver int) bool) {
	for giver := range m.want {
		for _, item := range m.items[giver] {
			if !m.needs(bin) {
				return
			}
			if !m.spare(giver) {
				break
			}
			if m.holds(item, giver) && m.takes(item, bin) && some(item, giver) {
				m.take(item, giver)
				m.put(item, bin)
			}
		}
	}
}

// price is what it costs to move an item from one bin to another: 1 if it leaves
// where it was at the start for a new bin, 0 if it moved already or goes back.
func (m *matching) price(item, from, to int) int {
	if slices.Contains(m.was[item], from) && !slices.Contains(m.was[item], to) {
		return 1
	}
	return 0
}

// force gives items the least loaded bins where the shares leave no room.
func (m *matching) force() {
	for item := range m.on {
		for len(m.on[item]) < m.slots[item] {
			others := m.others(item)
			if len(others) == 0 {
				break
			}
			best := others[0]
			for _, bin := range others[1:] {
				if m.excess(bin) < m.excess(best) {
					best = bin
				}
			}
			m.put(item, best)
		}
	}
}

// others is the bins that may hold an item and do not.
func (m *matching) others(item int) []int {
	var bins []int
	for _, bin := range m.allowed(item) {
		if !m.holds(item, bin) {
			bins = append(bins, bin)
		}
	}
	return bins
}

func (m *matching) holds(item, bin int) bool { return slices.Contains(m.on[item], bin) }

// takes says that a bin may hold an item and does not.
func (m *matching) takes(item, bin int) bool {
	return !m.holds(item, bin) && (m.choices == nil || slices.Contains(m.choices[item], bin))
}

func (m *matching) put(item, bin int) {
	m.on[item] = append(m.on[item], bin)
	m.items[bin] = append(m.items[bin], item)
	m.load[bin]++
}

func (m *matching) take(item, bin int) {
	m.on[item] = slices.DeleteFunc(m.on[item], func(b int) bool { return b == bin })
	m.load[bin]--
	if m.moved != nil {
		m.moved(item, bin)
	}
}
