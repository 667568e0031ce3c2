package ring

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// NewTable is the first table of a cluster, at epoch 1: members, in the order of
// their node ids, and a plan for partitions slices and the system partition with
// replication copies of each (see PlanInput).
func NewTable(clusterID string, members []*messages.Member, partitions, replication uint32) *messages.Table {
	plan := Plan(PlanInput{Members: members, Partitions: partitions, Replication: replication, NextReplicaID: 1})
	table := &messages.Table{
		ClusterId:         clusterID,
		Epoch:             1,
		PartitionCount:    partitions,
		ReplicationFactor: max(replication, 1),
		Assignments:       plan.Assignments,
		NextReplicaId:     plan.NextReplicaID,
	}
	for _, m := range members {
		table.Members = append(table.Members, proto.CloneOf(m))
	}
	slices.SortStableFunc(table.Members, func(a, b *messages.Member) int {
		return cmp.Compare(a.GetNodeId(), b.GetNodeId())
	})
	return table
}

// PlanOf is the plan for a table as it is now, with some of its members only: all
// of them, or those that are to hold replicas.
func PlanOf(table *messages.Table, members []*messages.Member) PlanResult {
	return Plan(PlanInput{
		Members:       members,
		Present:       table.GetAssignments(),
		Partitions:    table.GetPartitionCount(),
		Replication:   table.GetReplicationFactor(),
		NextReplicaID: table.GetNextReplicaId(),
	})
}
