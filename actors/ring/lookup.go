package ring

import "github.com/seed-49de4af9/ringmaster/messages"

// MemberByID returns the member with a node id; nil if the table has none.
func MemberByID(table *messages.Table, nodeID string) *messages.Member {
	for _, m := range table.GetMembers() {
		if m.GetNodeId() == nodeID {
			return m
		}
	}
	return nil
}

// MemberByName returns the member with a name; nil if the table has none.
func MemberByName(table *messages.Table, name string) *messages.Member {
	for _, m := range table.GetMembers() {
		if m.GetName() == name {
			return m
		}
	}
	return nil
}

// NameOf returns a node's name for people: its name in the table, or the node id
// of a node that the table does not know.
func NameOf(table *messages.Table, nodeID string) string {
	if name := MemberByID(table, nodeID).GetName(); name != "" {
		return name
	}
	return nodeID
}

// AssignmentOf returns the assignment of a partition; nil if the table has none.
func AssignmentOf(table *messages.Table, partition uint64) *messages.Assignment {
	assignments := table.GetAssignments()
	if partition < uint64(len(assignments)) && assignments[partition].GetPartition() == partition {
		return assignments[partition]
	}
	for _, a := range assignments {
		if a.GetPartition() == partition {
			return a
		}
	}
	return nil
}

// ReplicasOf returns where the copies of a partition are; the first one is where
// its master should be. It is empty for an unknown partition.
func ReplicasOf(table *messages.Table, partition uint64) []*messages.ReplicaAddress {
	return AssignmentOf(table, partition).GetReplicas()
}

// ReplicaOn returns the id of a partition's replica on a node.
func ReplicaOn(table *messages.Table, partition uint64, nodeID string) (replicaID uint64, ok bool) {
	for _, r := range ReplicasOf(table, partition) {
		if r.GetNodeId() == nodeID {
			return r.GetReplicaId(), true
		}
	}
	return 0, false
}

// NodeOf returns the node that holds a replica of a partition.
func NodeOf(table *messages.Table, partition, replicaID uint64) (nodeID string, ok bool) {
	for _, r := range ReplicasOf(table, partition) {
		if r.GetReplicaId() == replicaID {
			return r.GetNodeId(), true
		}
	}
	return "", false
}

// PreferredMaster returns the replica that should be a partition's master while
// all are well; nil for a partition without replicas.
func PreferredMaster(table *messages.Table, partition uint64) *messages.ReplicaAddress {
	replicas := ReplicasOf(table, partition)
	if len(replicas) == 0 {
		return nil
	}
	return replicas[0]
}

// PartitionsOn returns the partitions of which a node holds a replica, in the
// order of the table.
func PartitionsOn(table *messages.Table, nodeID string) []uint64 {
	var partitions []uint64
	for _, a := range table.GetAssignments() {
		for _, r := range a.GetReplicas() {
			if r.GetNodeId() == nodeID {
				partitions = append(partitions, a.GetPartition())
				break
			}
		}
	}
	return partitions
}
