package ring

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// loadLimit bounds a node's load, in hundredths of the mean by weight, rounded
// up. Plan does better where it can: within one replica of the mean.
const loadLimit = 110

// PlanInput is what a plan is made of.
type PlanInput struct {
	// Members are the nodes that may hold replicas, in any order. A member that
	// should be emptied is left out.
	Members []*messages.Member
	// Present is where the replicas are; empty for a new ring. Replicas on nodes
	// that are not in Members are lost, or to be.
	Present []*messages.Assignment
	// Partitions is the number of slices of the ring; the system partition comes
	// on top.
	Partitions uint32
	// Replication is R, the wanted number of copies of each partition; 0 means 1.
	Replication uint32
	// NextReplicaID is the first replica id that was never given away; ids are
	// given away from max(NextReplicaID, 1, highest present id + 1) upward.
	NextReplicaID uint64
}

// PlanResult is where the replicas should be.
type PlanResult struct {
	// Assignments has one element per partition, the system partition first. A
	// partition that stays where it is, master included, is as it was, order of
	// replicas included.
	Assignments []*messages.Assignment
	// NextReplicaID is the first replica id that was not given away.
	NextReplicaID uint64
	// Added counts the new replicas, Dropped those to be removed. A replica that
	// moves from one node to another counts in both.
	Added, Dropped int
	// Problems are the wishes that the members make impossible, for people. The
	// plan is as near to each wish as the members allow.
	Problems []string
}

// Plan places every partition on nodes, by consistent hashing with bounded load:
//
//  1. Every partition has min(R, nodes) replicas, on different nodes.
//  2. They are spread over the zones as evenly as the zones' sizes allow. Members
//     without a zone count as one zone of their own.
//  3. Every node's load is within one of its fair share by weight, hence at most
//     1.1 times the mean, rounded up. A share is bounded: a node holds no
//     partition twice, and rule 2 goes first.
//  4. Replicas stay where they are unless a rule above makes them move; then as
//     few move as can be, to the next node clockwise that has room. "As few" is
//     exact but for rare tangles, where one or two more may move.
//  5. Masters, the first replicas, are spread evenly by weight, within one.
//
// Where the members make rule 1 with R, an even spread or the bound on load
// impossible, the result says so. The order of the input's lists does not matter.
func Plan(in PlanInput) PlanResult {
	p := newPlanner(in)
	if len(p.nodes) == 0 {
		p.problem("no nodes: nothing can be placed; add a node")
		return p.result()
	}
	p.placeZones()
	p.placeNodes()
	p.chooseMasters()
	p.checkLoads()
	return p.result()
}

// node is one member in a plan.
type node struct {
	id, name string
	zone     int
	weight   uint64
	// fair is the weight that counts: a node cannot hold a partition twice, so a
	// very heavy one is capped. Of all nodes' in proportion, not in weight's unit.
	fair   uint64
	capped bool
}

// planner holds one plan in the making. Nodes are known by their index in order
// of node id, zones in order of name, partitions by number.
type planner struct {
	in       PlanInput
	copies   int
	nodes    []node
	index    map[string]int
	zones    []string
	zoneSize []int
	present  []*messages.Assignment
	// on is the nodes that hold each partition.
	on [][]int
	// zoneCopies is for each zone how many copies of each partition it should have.
	zoneCopies [][]int
	// positions is where each partition lies on the circle.
	positions []uint64
	nextID    uint64
	problems  []string
}

func newPlanner(in PlanInput) *planner {
	p := &planner{in: in, index: map[string]int{}, nextID: max(in.NextReplicaID, 1)}
	p.addNodes()
	p.copies = int(min(max(in.Replication, 1), uint32(len(p.nodes))))
	if want := int(max(in.Replication, 1)); len(p.nodes) > 0 && p.copies < want {
		p.problem("%s wanted, %s: every partition has %s; add %s", plural(want, "copy", "copies"),
			plural(len(p.nodes), "node", "nodes"), plural(p.copies, "copy", "copies"), plural(want-p.copies, "node", "nodes"))
	}
	p.capWeights()
	p.present = make([]*messages.Assignment, int(in.Partitions)+1)
	p.on = make([][]int, len(p.present))
	for _, a := range in.Present {
		for _, r := range a.GetReplicas() {
			p.nextID = max(p.nextID, r.GetReplicaId()+1)
		}
		if at := a.GetPartition(); at < uint64(len(p.present)) && p.present[at] == nil {
			p.present[at] = a
		}
	}
	for partition, a := range p.present {
		for _, r := range a.GetReplicas() {
			if n, ok := p.index[r.GetNodeId()]; ok && !slices.Contains(p.on[partition], n) {
				p.on[partition] = append(p.on[partition], n)
			}
		}
		from, _ := Slice(uint64(partition), in.Partitions)
		p.positions = append(p.positions, from)
	}
	return p
}

// addNodes sorts members and zones; the first of two entries of one node counts.
func (p *planner) addNodes() {
	members := slices.Clone(p.in.Members)
	slices.SortStableFunc(members, func(a, b *messages.Member) int { return cmp.Compare(a.GetNodeId(), b.GetNodeId()) })
	members = slices.CompactFunc(members, func(a, b *messages.Member) bool { return a.GetNodeId() == b.GetNodeId() })
	for _, m := range members {
		p.zones = append(p.zones, m.GetZone())
	}
	slices.Sort(p.zones)
	p.zones = slices.Compact(p.zones)
	p.zoneSize = make([]int, len(p.zones))
	for i, m := range members {
		zone, _ := slices.BinarySearch(p.zones, m.GetZone())
		p.zoneSize[zone]++
		p.index[m.GetNodeId()] = i
		p.nodes = append(p.nodes, node{
			id: m.GetNodeId(), name: cmp.Or(m.GetName(), m.GetNodeId()), zone: zone, weight: uint64(weightOf(m)),
		})
	}
}

// capWeights caps the weight of nodes whose share would be more than one copy of
// each partition, to exactly one. Scaling all weights keeps it exact.
func (p *planner) capWeights() {
	order := make([]int, len(p.nodes))
	rest := uint64(0)
	for i, n := range p.nodes {
		order[i] = i
		rest += n.weight
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.nodes[b].weight, p.nodes[a].weight) })
	heavy := 0
	for heavy < p.copies && p.nodes[order[heavy]].weight*uint64(p.copies-heavy) > rest {
		rest -= p.nodes[order[heavy]].weight
		p.nodes[order[heavy]].capped = true
		heavy++
	}
	scale := uint64(max(p.copies-heavy, 1))
	for i := range p.nodes {
		p.nodes[i].fair = p.nodes[i].weight * scale
		if p.nodes[i].capped {
			p.nodes[i].fair = rest
		}
	}
}

// result gives ids to the new replicas. A partition's order is its master, then
// the replicas that were there in their order, then the new ones.
func (p *planner) result() PlanResult {
	res := PlanResult{Assignments: make([]*messages.Assignment, 0, len(p.on)), Problems: p.problems}
	for partition, on := range p.on {
		old := p.present[partition].GetReplicas()
		ids := make(map[int]uint64, len(old))
		for _, r := range old {
			if n, ok := p.index[r.GetNodeId()]; ok && slices.Contains(on, n) && ids[n] == 0 {
				ids[n] = r.GetReplicaId()
			}
		}
		res.Dropped += len(old) - len(ids)
		a := &messages.Assignment{Partition: uint64(partition)}
		for _, n := range on {
			id := ids[n]
			if id == 0 {
				id = p.nextID
				p.nextID++
				res.Added++
			}
			a.Replicas = append(a.Replicas, &messages.ReplicaAddress{ReplicaId: id, NodeId: p.nodes[n].id})
		}
		res.Assignments = append(res.Assignments, a)
	}
	res.NextReplicaID = p.nextID
	return res
}

func (p *planner) problem(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// plural is "1 node" or "2 nodes".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
