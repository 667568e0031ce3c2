package ring

import "slices"

// placeZones decides how many copies of each partition each zone has.
//
// With the zones filled evenly to some level, a zone of n nodes has between
// min(level-1, n) and min(level, n) copies of a partition. Which zones have the
// one more is spread over the zones by weight.
func (p *planner) placeZones() {
	least, most := p.zoneBounds()
	partitions := len(p.on)
	slots := p.copies
	lower, upper := make([]int, len(p.zones)), make([]int, len(p.zones))
	for z := range p.zones {
		slots -= least[z]
		lower[z], upper[z] = least[z]*partitions, most[z]*partitions
	}
	weights := make([]uint64, len(p.zones))
	for _, n := range p.nodes {
		weights[n.zone] += n.fair
	}
	m := &matching{want: make([]share, len(p.zones)), on: make([][]int, partitions), slots: make([]int, partitions)}
	for z, s := range fairShares(p.copies*partitions, weights, lower, upper) {
		m.want[z] = share{s.low - lower[z], s.high - lower[z]}
		p.zoneCopies = append(p.zoneCopies, slices.Repeat([]int{least[z]}, partitions))
	}
	for partition, on := range p.on {
		m.slots[partition] = slots
		for z := range p.zones {
			if most[z] > least[z] && p.countIn(on, z) > least[z] {
				m.on[partition] = append(m.on[partition], z)
			}
		}
	}
	m.walker = newWalker(newCircle(p.zones, weights), len(p.zones))
	m.position = p.positions
	p.shedFromFullNodes(m)
	m.run()
	for partition, zones := range m.on {
		for _, z := range zones {
			p.zoneCopies[z][partition]++
		}
	}
	p.checkZones(most)
}

// zoneBounds returns the fewest and the most copies that a partition has in each
// zone when its copies are spread as evenly as the zones' sizes allow.
func (p *planner) zoneBounds() (least, most []int) {
	for level := 1; ; level++ {
		least, most = nil, nil
		room := 0
		for _, size := range p.zoneSize {
			least, most = append(least, min(level-1, size)), append(most, min(level, size))
			room += min(level, size)
		}
		if room >= p.copies {
			return least, most
		}
	}
}

// countIn is the number of nodes that are in a zone.
func (p *planner) countIn(nodes []int, zone int) int {
	count := 0
	for _, n := range nodes {
		if p.nodes[n].zone == zone {
			count++
		}
	}
	return count
}

// shedFromFullNodes makes a zone give away copies of its fullest nodes first, so
// that one move serves the balance of zones and of nodes.
func (p *planner) shedFromFullNodes(m *matching) {
	partitions := len(p.on)
	weights, lower, upper := p.nodeBounds(nil)
	shares := fairShares(p.copies*partitions, weights, lower, upper)
	load := make([]int, len(p.nodes))
	for _, on := range p.on {
		for _, n := range on {
			load[n]++
		}
	}
	fullest := func(partition, zone int) int {
		best := -1
		for _, n := range p.on[partition] {
			if p.nodes[n].zone == zone && (best < 0 || load[n]-shares[n].high > load[best]-shares[best].high) {
				best = n
			}
		}
		return best
	}
	m.shed = func(partition, zone int) bool {
		n := fullest(partition, zone)
		return n >= 0 && load[n] > shares[n].high
	}
	m.moved = func(partition, zone int) {
		if n := fullest(partition, zone); n >= 0 {
			load[n]--
		}
	}
}

// nodeBounds returns the weights of some nodes, all if nil, and that each holds
// between none and all of the partitions.
func (p *planner) nodeBounds(nodes []int) (weights []uint64, lower, upper []int) {
	for i, n := range p.nodes {
		if nodes == nil || slices.Contains(nodes, i) {
			weights = append(weights, n.fair)
			lower = append(lower, 0)
			upper = append(upper, len(p.on))
		}
	}
	return weights, lower, upper
}

// placeNodes chooses the nodes within each zone.
func (p *planner) placeNodes() {
	chosen := make([][]int, len(p.on))
	for z := range p.zones {
		var members []int
		var ids []string
		for i, n := range p.nodes {
			if n.zone == z {
				members, ids = append(members, i), append(ids, n.id)
			}
		}
		m := p.matchZone(z, members, ids)
		m.run()
		for partition, bins := range m.on {
			for _, bin := range bins {
				chosen[partition] = append(chosen[partition], members[bin])
			}
		}
	}
	for partition, nodes := range chosen {
		kept := slices.DeleteFunc(p.on[partition], func(n int) bool { return !slices.Contains(nodes, n) })
		added := slices.DeleteFunc(nodes, func(n int) bool { return slices.Contains(kept, n) })
		p.on[partition] = append(kept, added...)
	}
}

// matchZone is the matching of partitions with the nodes of one zone.
func (p *planner) matchZone(zone int, members []int, ids []string) *matching {
	weights, lower, upper := p.nodeBounds(members)
	total := 0
	for _, n := range p.zoneCopies[zone] {
		total += n
	}
	m := &matching{
		walker:   newWalker(newCircle(ids, weights), len(members)),
		want:     fairShares(total, weights, lower, upper),
		position: p.positions,
		slots:    p.zoneCopies[zone],
		on:       make([][]int, len(p.on)),
	}
	local := make(map[int]int, len(members))
	for bin, n := range members {
		local[n] = bin
	}
	for partition, on := range p.on {
		for _, n := range on {
			if bin, ok := local[n]; ok {
				m.on[partition] = append(m.on[partition], bin)
			}
		}
	}
	return m
}
