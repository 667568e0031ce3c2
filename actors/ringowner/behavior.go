package ringowner

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// tableBytesMax bounds the encoded table: 16 MiB hold some 100,000 replicas. The
// table is shipped whole by each change, so it should stay far below.
const tableBytesMax = 16 << 20

// The contract of the ring's own actor, ring/table on the system partition.
var (
	// Register records a node, or its new name, addresses, boot or version.
	Register = actors.NewCommand[*messages.RegisterMemberRequest, *messages.RingChange](ring.SystemKind, "Register")
	// Assign replaces assignments, if the table is still the one that was planned on.
	Assign = actors.NewCommand[*messages.AssignRequest, *messages.RingChange](ring.SystemKind, "Assign")
	// GetTable reads the table.
	GetTable = actors.NewQuery[*messages.GetTableRequest, *messages.Table](ring.SystemKind, "GetTable")
)

// The codes with which the ring says no.
const (
	// RejectNotFormed: the table has no cluster yet; bootstrap writes the first.
	RejectNotFormed = "not_formed"
	// RejectInvalid: the request makes no sense.
	RejectInvalid = "invalid"
	// RejectNameTaken: another node has the name; it keeps it.
	RejectNameTaken = "name_taken"
	// RejectStaleEpoch: the table changed since the request was made.
	RejectStaleEpoch = "stale_epoch"
)

// Behavior is what the ring's table does. Every change adds 1 to the epoch.
func Behavior() *actors.Behavior {
	return actors.Define(ring.SystemKind,
		actors.On(Register, register),
		actors.On(Assign, assign),
		actors.Read(GetTable, getTable),
		actors.MaxState(tableBytesMax),
		actors.MaxReply(tableBytesMax),
	)
}

func getTable(v actors.View[*messages.Table], _ *messages.GetTableRequest) (*messages.Table, error) {
	return v.State, nil
}

// register adds or replaces the entry of one node. An entry that is as it was,
// and one of an older boot than the table's, changes nothing.
func register(tx *actors.Tx[*messages.Table], m *messages.RegisterMemberRequest) (*messages.RingChange, error) {
	table, member := tx.State, m.GetMember()
	if err := formed(table); err != nil {
		return nil, err
	}
	if member.GetNodeId() == "" || member.GetName() == "" {
		return nil, actors.Reject(RejectInvalid, "a member needs a node id and a name; node id %q, name %q",
			member.GetNodeId(), member.GetName())
	}
	if other := ring.MemberByName(table, member.GetName()); other != nil && other.GetNodeId() != member.GetNodeId() {
		return nil, actors.Reject(RejectNameTaken,
			"node %s cannot be called %q: node %s has that name; start it with another --name",
			member.GetNodeId(), member.GetName(), other.GetNodeId())
	}
	at, known := slices.BinarySearchFunc(table.GetMembers(), member.GetNodeId(), func(m *messages.Member, id string) int {
		return strings.Compare(m.GetNodeId(), id)
	})
	switch {
	case !known:
		table.Members = slices.Insert(table.Members, at, member)
	case proto.Equal(table.Members[at], member) || member.GetBoot() < table.Members[at].GetBoot():
		return &messages.RingChange{Epoch: table.GetEpoch()}, nil
	default:
		table.Members[at] = member
	}
	return advance(table), nil
}

// assign replaces the assignments it names and leaves the others.
func assign(tx *actors.Tx[*messages.Table], m *messages.AssignRequest) (*messages.RingChange, error) {
	table := tx.State
	if err := formed(table); err != nil {
		return nil, err
	}
	if m.GetEpoch() != table.GetEpoch() {
		return nil, actors.Reject(RejectStaleEpoch, "the table is at epoch %d, the plan was made on %d; plan again",
			table.GetEpoch(), m.GetEpoch())
	}
	if err := checkAssignments(table, m); err != nil {
		return nil, err
	}
	changed := table.GetNextReplicaId() != m.GetNextReplicaId()
	for _, a := range m.GetAssignments() {
		if old := table.GetAssignments()[a.GetPartition()]; !proto.Equal(old, a) {
			table.Assignments[a.GetPartition()] = a
			changed = true
		}
	}
	table.NextReplicaId = m.GetNextReplicaId()
	if !changed {
		return &messages.RingChange{Epoch: table.GetEpoch()}, nil
	}
	return advance(table), nil
}

// checkAssignments refuses what would break the table's invariants: replicas are
// on members, on different ones within a partition, and an id that is new to its
// partition was never given away before.
func checkAssignments(table *messages.Table, m *messages.AssignRequest) error {
	if m.GetNextReplicaId() < table.GetNextReplicaId() {
		return actors.Reject(RejectInvalid, "next replica id %d is below the table's %d: ids would be used twice",
			m.GetNextReplicaId(), table.GetNextReplicaId())
	}
	fresh := map[uint64]bool{}
	for _, a := range m.GetAssignments() {
		p := a.GetPartition()
		if p >= uint64(len(table.GetAssignments())) {
			return actors.Reject(RejectInvalid, "there is no partition %d; they are 0 to %d", p, len(table.GetAssignments())-1)
		}
		if len(a.GetReplicas()) == 0 {
			return actors.Reject(RejectInvalid, "partition %d would have no replica", p)
		}
		nodes := map[string]bool{}
		for _, r := range a.GetReplicas() {
			id, node := r.GetReplicaId(), r.GetNodeId()
			if ring.MemberByID(table, node) == nil || nodes[node] {
				return actors.Reject(RejectInvalid, "partition %d: node %q is no member or is named twice", p, node)
			}
			nodes[node] = true
			if old, ok := ring.ReplicaOn(table, p, node); ok && old == id {
				continue
			}
			if id < table.GetNextReplicaId() || id >= m.GetNextReplicaId() || fresh[id] {
				return actors.Reject(RejectInvalid, "partition %d: replica id %d on node %s is not a fresh one of %d to %d",
					p, id, node, table.GetNextReplicaId(), m.GetNextReplicaId()-1)
			}
			fresh[id] = true
		}
	}
	return nil
}

func formed(table *messages.Table) error {
	if table.GetClusterId() == "" || table.GetEpoch() == 0 {
		return actors.Reject(RejectNotFormed, "there is no cluster yet; start its first nodes with --expect")
	}
	return nil
}

func advance(table *messages.Table) *messages.RingChange {
	table.Epoch++
	return &messages.RingChange{Epoch: table.GetEpoch()}
}
