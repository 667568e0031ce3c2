package replica

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// load brings the replica to where the store says it was.
func (r *Replica) load() error {
	applied, truncated, hs := &messages.AppliedRow{}, &messages.TruncatedRow{}, &pb.HardState{}
	for _, row := range []struct {
		kind byte
		name string
		into proto.Message
	}{{rowApplied, "applied row", applied}, {rowTruncated, "truncated row", truncated}, {rowHardState, "raft state", hs}} {
		if err := r.read(row.kind, row.name, row.into); err != nil {
			return err
		}
	}
	r.log = &logTail{MemoryStorage: raft.NewMemoryStorage(), term: hs.GetTerm(), vote: hs.GetVote()}
	r.setWritten(applied.GetIndex(), applied.GetTerm(), confStateOf(applied))
	if err := r.loadLog(truncated); err != nil {
		return err
	}
	// The commit index is not written on its own; what was applied was committed.
	commit := max(hs.GetCommit(), applied.GetIndex())
	if fault.Planted(r.host.cfg.Faults, "commit-not-raised") {
		commit = hs.GetCommit()
	}
	commit = min(commit, r.lastIndex)
	if err := r.log.SetHardState(hardState(hs.GetTerm(), hs.GetVote(), commit)); err != nil {
		return fmt.Errorf("partition %d: %w", r.partition, err)
	}
	r.term, r.applied = hs.GetTerm(), applied.GetIndex()
	r.rows = newRowWriter(r, applied)
	return r.startRaft()
}

func (r *Replica) startRaft() error {
	limits := r.host.cfg.Limits
	rn, err := raft.NewRawNode(&raft.Config{
		ID: r.id, ElectionTick: limits.ElectionTicks, HeartbeatTick: limits.HeartbeatTicks,
		Storage: r.log, Applied: r.applied, AsyncStorageWrites: true,
		MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 4 << 20,
		MaxInflightMsgs: 256, MaxInflightBytes: 16 << 20,
		CheckQuorum: true, PreVote: true, StepDownOnRemoval: true,
		// Effects may be proposed only where they were computed.
		DisableProposalForwarding: true,
		ReadOnlyOption:            raft.ReadOnlySafe,
		Logger:                    raftLogger{r.logger},
	})
	if err != nil {
		return fmt.Errorf("partition %d: start raft: %w", r.partition, err)
	}
	r.rn = rn
	return nil
}

func (r *Replica) read(row byte, name string, into proto.Message) error {
	key := metaKey(r.partition, row)
	value, found, err := r.host.cfg.Store.Get(key)
	if err != nil {
		return fmt.Errorf("partition %d: read the %s: %w", r.partition, name, err)
	}
	if !found {
		return fmt.Errorf("partition %d: the %s is missing; the store is damaged: remove this node's data directory and let it come back as a new one", r.partition, name)
	}
	if err := proto.Unmarshal(value, into); err != nil {
		return corrupt(name, key, err)
	}
	return nil
}

// loadLog reads the entries behind the truncated one.
func (r *Replica) loadLog(truncated *messages.TruncatedRow) error {
	err := r.log.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: &truncated.Index, Term: &truncated.Term, ConfState: r.confState,
	}})
	if err != nil {
		return fmt.Errorf("partition %d: %w", r.partition, err)
	}
	r.lastIndex = truncated.GetIndex()
	var entries []*pb.Entry
	_, end := span(prefixLog, r.partition)
	err = r.host.cfg.Store.Scan(logKey(r.partition, truncated.GetIndex()+1), end, func(key, value []byte) error {
		index := binary.BigEndian.Uint64(key[len(key)-8:])
		if index != r.lastIndex+1 {
			return corrupt("log", key, fmt.Errorf("entry %d follows entry %d", index, r.lastIndex))
		}
		e, err := decodeEntry(index, value)
		if err != nil {
			return corrupt("log entry", key, err)
		}
		entries = append(entries, e)
		r.lastIndex = index
		return nil
	})
	if err != nil {
		return fmt.Errorf("partition %d: read the log: %w", r.partition, err)
	}
	if len(entries) > 0 {
		r.log.append(entries)
	}
	return nil
}

// setWritten remembers up to where the rows are in the store.
func (r *Replica) setWritten(index, term uint64, cs *pb.ConfState) {
	r.confState = cs
	r.log.meta = &pb.SnapshotMetadata{Index: &index, Term: &term, ConfState: cs}
}
