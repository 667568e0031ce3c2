package replica

import (
	"errors"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// logTail is the log of one replica in memory, all of it that was not cut off;
// the store holds the same. It is raft's Storage. Keeping the whole tail in
// memory lets raft read without waiting for the disk; Limits.LogBytes bounds it.
type logTail struct {
	*raft.MemoryStorage

	// term and vote are what the store holds, or soon will.
	term, vote uint64
	bytes      int
	// meta is what a snapshot would be now: the rows that are written.
	meta *pb.SnapshotMetadata
}

// Snapshot implements raft.Storage. The data travels on its own way; raft only
// sees what the snapshot is of.
func (l *logTail) Snapshot() (*pb.Snapshot, error) {
	return &pb.Snapshot{Metadata: proto.CloneOf(l.meta)}, nil
}

func (l *logTail) append(entries []*pb.Entry) {
	for _, e := range entries {
		l.bytes += entrySize(e)
	}
	err := l.Append(entries)
	invariant(err == nil, "append to the tail of the log: %v", err)
}

// cut removes the entries up to and including index.
func (l *logTail) cut(index uint64) {
	err := l.Compact(index)
	invariant(err == nil || errors.Is(err, raft.ErrCompacted), "cut the log at %d: %v", index, err)
	l.measure()
}

func (l *logTail) measure() {
	l.bytes = 0
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	if last < first {
		return
	}
	entries, err := l.Entries(first, last+1, 1<<62)
	invariant(err == nil, "read the tail of the log: %v", err)
	for _, e := range entries {
		l.bytes += entrySize(e)
	}
}

// cutFor returns the newest entry whose removal leaves about keep bytes, but none
// after limit; 0 if there is nothing to cut.
func (l *logTail) cutFor(keep int, limit uint64) uint64 {
	first, _ := l.FirstIndex()
	last, _ := l.LastIndex()
	limit = min(limit, last)
	if limit < first {
		return 0
	}
	entries, err := l.Entries(first, limit+1, 1<<62)
	invariant(err == nil, "read the tail of the log: %v", err)
	over, cut := l.bytes-keep, uint64(0)
	for _, e := range entries {
		if over <= 0 {
			break
		}
		over -= entrySize(e)
		cut = e.GetIndex()
	}
	return cut
}

// entrySize is what an entry costs in memory: its data and raft's message.
func entrySize(e *pb.Entry) int { return len(e.GetData()) + 120 }

func hardState(term, vote, commit uint64) *pb.HardState {
	return &pb.HardState{Term: &term, Vote: &vote, Commit: &commit}
}

func confStateOf(a *messages.AppliedRow) *pb.ConfState {
	autoLeave := a.GetAutoLeave()
	return &pb.ConfState{
		Voters: a.GetVoters(), Learners: a.GetLearners(), VotersOutgoing: a.GetVotersOutgoing(),
		LearnersNext: a.GetLearnersNext(), AutoLeave: &autoLeave,
	}
}

func withConfState(a *messages.AppliedRow, cs *pb.ConfState) *messages.AppliedRow {
	a.Voters, a.Learners = cs.GetVoters(), cs.GetLearners()
	a.VotersOutgoing, a.LearnersNext, a.AutoLeave = cs.GetVotersOutgoing(), cs.GetLearnersNext(), cs.GetAutoLeave()
	return a
}

func decodeConfChange(e *pb.Entry) (pb.ConfChangeI, error) {
	if e.GetType() == pb.EntryConfChange {
		cc := &pb.ConfChange{}
		return cc, proto.Unmarshal(e.GetData(), cc)
	}
	cc := &pb.ConfChangeV2{}
	return cc, proto.Unmarshal(e.GetData(), cc)
}

func sortedKeys[V any](m map[uint64]V) []uint64 { return slices.Sorted(maps.Keys(m)) }
