package ring

import "math/bits"

// checkZones tells when the zones cannot hold the copies as they should.
func (p *planner) checkZones(most []int) {
	if len(p.zones) < 2 || p.copies < 2 {
		return
	}
	for z, n := range most {
		if n > p.copies/2 && p.copies > 2 {
			p.problem("%s over %s: losing zone %q alone may take a majority of some partition's copies; add nodes in another zone",
				plural(p.copies, "copy", "copies"), plural(len(p.zones), "zone", "zones"), p.zones[z])
		}
	}
}

// checkLoads tells which weights could not be followed, and which nodes carry
// more than loadLimit of the mean by the weights that could.
func (p *planner) checkLoads() {
	load := make([]int, len(p.nodes))
	total, weight := 0, uint64(0)
	for _, on := range p.on {
		total += len(on)
		for _, n := range on {
			load[n]++
		}
	}
	for _, n := range p.nodes {
		weight += n.fair
	}
	for i, n := range p.nodes {
		if n.capped {
			p.problem("node %s: weight %d asks for more than one copy of each partition, it gets one; give weight to other nodes",
				n.name, n.weight)
		}
		if limit := loadBound(total, n.fair, weight); load[i] > limit {
			p.problem("node %s holds %s, above the bound of %d: the zones and weights of the %s leave no room elsewhere; "+
				"add nodes in its zone or lower the weights of others less", n.name, plural(load[i], "replica", "replicas"),
				limit, plural(len(p.nodes), "node", "nodes"))
		}
	}
}

// loadBound is loadLimit hundredths of a node's mean load by weight, rounded up.
func loadBound(total int, weight, sum uint64) int {
	hi, lo := bits.Mul64(uint64(total)*loadLimit, weight)
	quotient, remainder := bits.Div64(hi, lo, sum*100)
	if remainder > 0 {
		quotient++
	}
	return int(quotient)
}

// checkMasters tells which nodes cannot have their share of masters.
func (p *planner) checkMasters(m *matching) {
	for n, s := range m.want {
		if m.load[n] > s.high || m.load[n] < s.low {
			p.problem("node %s masters %s where %d would be even: the copies it holds allow no other choice; "+
				"make zones and weights more alike", p.nodes[n].name, plural(m.load[n], "partition", "partitions"), s.low)
		}
	}
}
