package ring

import "slices"

// chooseMasters puts the replica that should be master first in each partition.
// The masters of the slices are spread by weight, within one where the replicas
// allow it, and the system partition's master keeps the sum within one too. A
// partition keeps its master unless that would break the balance.
func (p *planner) chooseMasters() {
	old := make([]int, len(p.on))
	for partition := range p.on {
		old[partition] = p.oldMaster(partition)
	}
	m := p.matchMasters(old[1:])
	m.run()
	p.lead(SystemPartition, p.systemMaster(m, old[SystemPartition]))
	for i, bins := range m.on {
		p.lead(i+1, bins[0])
	}
	p.checkMasters(m)
}

// oldMaster is the node of a partition's first replica, if that stays; else -1.
func (p *planner) oldMaster(partition int) int {
	replicas := p.present[partition].GetReplicas()
	if len(replicas) == 0 {
		return -1
	}
	if n, ok := p.index[replicas[0].GetNodeId()]; ok && slices.Contains(p.on[partition], n) {
		return n
	}
	return -1
}

// matchMasters is the matching of slices with nodes where each slice may only go
// to a node that holds a copy of it.
func (p *planner) matchMasters(old []int) *matching {
	slicesOf := p.on[1:]
	m := &matching{
		want:    p.masterShares(len(slicesOf)),
		slots:   slices.Repeat([]int{1}, len(slicesOf)),
		on:      make([][]int, len(slicesOf)),
		choices: make([][]int, len(slicesOf)),
	}
	for i, on := range slicesOf {
		m.choices[i] = slices.Clone(on)
		if old[i] >= 0 {
			m.on[i] = []int{old[i]}
		}
	}
	return m
}

// masterShares cuts a number of masterships into fair shares.
func (p *planner) masterShares(total int) []share {
	weights, lower, _ := p.nodeBounds(nil)
	upper := make([]int, len(p.nodes))
	for _, on := range p.on {
		for _, n := range on {
			upper[n]++
		}
	}
	return fairShares(total, weights, lower, upper)
}

// systemMaster chooses among the nodes of the system partition, once the others
// have their masters: the old one if the sum allows it, else one with room, else
// one that can hand a slice's mastership on.
func (p *planner) systemMaster(m *matching, old int) int {
	want := p.masterShares(len(p.on))
	candidates := slices.Clone(p.on[SystemPartition])
	if old >= 0 {
		candidates = append([]int{old}, candidates...)
	}
	for range 2 {
		for _, n := range candidates {
			if m.load[n] < want[n].high {
				return n
			}
		}
		if !m.augment(candidates, m.fits, -1, anyCost) {
			break
		}
	}
	return slices.MinFunc(candidates, func(a, b int) int { return m.load[a] - m.load[b] })
}

// lead moves a node to the front of a partition's replicas.
func (p *planner) lead(partition, master int) {
	on := p.on[partition]
	if at := slices.Index(on, master); at > 0 {
		copy(on[1:at+1], on[:at])
		on[0] = master
	}
}
