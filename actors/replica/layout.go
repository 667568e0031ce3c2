package replica

import (
	"encoding/binary"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// The rows of a node's store, by their first byte. All numbers are big-endian, so
// that byte order is numeric order.
//
//	0x01 ...                      the node's own rows; not the replicas' business
//	0x02 partition 'r'            messages.ReplicaRow: this replica exists
//	0x02 partition 'h'            raft HardState
//	0x02 partition 'a'            messages.AppliedRow: the rows below are complete up to here
//	0x02 partition 't'            messages.TruncatedRow: the log starts after this entry
//	0x03 partition index          one log entry: uvarint term, type byte, data
//	0x04 partition 's' kind 0 key messages.ActorRow
//	0x04 partition 'd' client     messages.SessionRow
//
// The log stands apart from the state because its rows are deleted by ranges and
// mostly die in memory. Everything under 0x04 is replicated and goes into
// snapshots.
const (
	prefixReplica = 0x02
	prefixLog     = 0x03
	prefixRows    = 0x04

	rowReplica   = 'r'
	rowHardState = 'h'
	rowApplied   = 'a'
	rowTruncated = 't'

	rowActor   = 's'
	rowSession = 'd'
)

func metaKey(partition uint64, row byte) []byte {
	return append(partitionKey(prefixReplica, partition), row)
}

func logKey(partition, index uint64) []byte {
	return binary.BigEndian.AppendUint64(partitionKey(prefixLog, partition), index)
}

func actorKey(partition uint64, id actorID) []byte {
	k := append(partitionKey(prefixRows, partition), rowActor)
	k = append(k, id.kind...)
	k = append(k, 0)
	return append(k, id.key...)
}

func sessionKey(partition uint64, client string) []byte {
	return append(append(partitionKey(prefixRows, partition), rowSession), client...)
}

func partitionKey(prefix byte, partition uint64) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 48), prefix), partition)
}

// span returns the bounds of all rows of a partition under one prefix.
func span(prefix byte, partition uint64) (from, to []byte) {
	return partitionKey(prefix, partition), partitionKey(prefix, partition+1)
}

func put(key []byte, m proto.Message) Op {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	invariant(err == nil, "marshal %T: %v", m, err)
	return Op{Kind: Put, Key: key, Value: value}
}

// Create returns the write that brings a replica into being at the start of a
// cluster: an empty log that begins after one synthetic entry, which every first
// replica shares. rows are the state the partition starts with.
func Create(row *messages.ReplicaRow, rows []*messages.Row) *Write {
	p := row.GetPartition()
	voters := make([]uint64, 0, len(row.GetPeers()))
	for _, peer := range row.GetPeers() {
		voters = append(voters, peer.GetReplicaId())
	}
	w := &Write{Sync: true, Ops: []Op{
		put(metaKey(p, rowReplica), row),
		put(metaKey(p, rowHardState), hardState(originTerm, 0, originIndex)),
		put(metaKey(p, rowApplied), &messages.AppliedRow{Index: originIndex, Term: originTerm, Voters: voters}),
		put(metaKey(p, rowTruncated), &messages.TruncatedRow{Index: originIndex, Term: originTerm}),
	}}
	for _, r := range rows {
		w.Ops = append(w.Ops, Op{Kind: Put, Key: append(partitionKey(prefixRows, p), r.GetKey()...), Value: r.GetValue()})
	}
	return w
}

// ActorStateRow returns the row, relative to its partition, of an actor's state;
// for Create.
func ActorStateRow(kind, key string, state []byte) *messages.Row {
	value, err := proto.Marshal(&messages.ActorRow{State: state, Version: 1})
	invariant(err == nil, "marshal actor row: %v", err)
	k := append([]byte{rowActor}, kind...)
	return &messages.Row{Key: append(append(k, 0), key...), Value: value}
}

// The first replicas of a partition start after this entry.
const (
	originIndex = 10
	originTerm  = 1
)

// List returns the replicas that exist in a store, by partition.
func List(s Store) ([]*messages.ReplicaRow, error) {
	var rows []*messages.ReplicaRow
	err := s.Scan([]byte{prefixReplica}, []byte{prefixReplica + 1}, func(key, value []byte) error {
		if key[len(key)-1] != rowReplica {
			return nil
		}
		row := &messages.ReplicaRow{}
		if err := proto.Unmarshal(value, row); err != nil {
			return corrupt("replica row", key, err)
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}
