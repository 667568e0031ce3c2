package ring

import "github.com/seed-49de4af9/ringmaster/messages"

// TableFigures are the measures of a table, as `ringmaster status` and `ringmaster
// ring` show them. They count the slices of the ring; the system partition,
// which holds no data of users, is left out.
type TableFigures struct {
	// Copies is N, the number of stored copies of partitions (replicas).
	Copies int
	// Partitions is M, the number of partitions.
	Partitions int
	// Balance is the largest load of a node divided by the mean, both per unit
	// of weight; 1 is perfect. 0 when nothing is stored.
	Balance float64
	// Nodes has one element per member, in the order of the table. A node that
	// holds replicas but is no member is not in it.
	Nodes []NodeFigures
}

// NodeFigures are the measures of one node.
type NodeFigures struct {
	NodeID string
	Name   string
	Zone   string
	Weight uint32
	// Copies is the number of replicas the node should hold.
	Copies int
	// Masters is the number of partitions whose master should be on the node.
	Masters int
}

// ReplicationFactor is R = N / M; 0 for an empty ring.
func (f TableFigures) ReplicationFactor() float64 {
	if f.Partitions == 0 {
		return 0
	}
	return float64(f.Copies) / float64(f.Partitions)
}

// PartitionSize is P = D / N, the mean size of a partition, in the unit of D.
// stored is D, the size of the data in all copies together.
func (f TableFigures) PartitionSize(stored float64) float64 {
	if f.Copies == 0 {
		return 0
	}
	return stored / float64(f.Copies)
}

// Figures measures a table.
func Figures(table *messages.Table) TableFigures {
	figures := TableFigures{Nodes: make([]NodeFigures, 0, len(table.GetMembers()))}
	at := make(map[string]int, len(table.GetMembers()))
	for i, m := range table.GetMembers() {
		at[m.GetNodeId()] = i
		figures.Nodes = append(figures.Nodes, NodeFigures{
			NodeID: m.GetNodeId(), Name: m.GetName(), Zone: m.GetZone(), Weight: weightOf(m),
		})
	}
	for _, a := range table.GetAssignments() {
		if a.GetPartition() == SystemPartition {
			continue
		}
		figures.Partitions++
		figures.Copies += len(a.GetReplicas())
		for i, r := range a.GetReplicas() {
			node, known := at[r.GetNodeId()]
			if !known {
				continue
			}
			figures.Nodes[node].Copies++
			if i == 0 {
				figures.Nodes[node].Masters++
			}
		}
	}
	figures.Balance = balance(figures)
	return figures
}

func balance(f TableFigures) float64 {
	weight := 0.0
	for _, n := range f.Nodes {
		weight += float64(n.Weight)
	}
	if f.Copies == 0 || weight == 0 {
		return 0
	}
	mean := float64(f.Copies) / weight
	largest := 0.0
	for _, n := range f.Nodes {
		largest = max(largest, float64(n.Copies)/float64(n.Weight))
	}
	return largest / mean
}

// weightOf is a member's relative capacity; 0 in the table means 1.
func weightOf(m *messages.Member) uint32 {
	return max(m.GetWeight(), 1)
}
