package replica

import (
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
)

// ready hands over what raft wants done, until it wants nothing more.
func (r *Replica) ready() {
	for r.rn.HasReady() {
		rd := r.rn.Ready()
		r.roleChanged(rd.SoftState, rd.HardState)
		for _, s := range rd.ReadStates {
			if r.master != nil {
				r.master.readConfirmed(string(s.RequestCtx))
			}
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				r.append(m)
			case raft.LocalApplyThread:
				r.apply(m.GetEntries())
				for _, resp := range m.GetResponses() {
					r.step(resp)
				}
			default:
				r.send(m)
			}
		}
	}
}

// roleChanged keeps up with raft's role and term. A master serves one term: when
// that changes, all its speculation goes.
func (r *Replica) roleChanged(soft *raft.SoftState, hard *pb.HardState) {
	if soft == nil && hard == nil {
		return
	}
	if soft != nil {
		r.lead, r.role = soft.Lead, soft.RaftState
	}
	if hard != nil {
		r.term = hard.GetTerm()
	}
	if m := r.master; m != nil && (r.role != raft.StateLeader || m.term != r.term) {
		r.dropMaster()
	}
	if r.role == raft.StateLeader && r.master == nil {
		r.master = newMaster(r)
		r.campaign = 0
	}
	if soft != nil {
		r.announce()
	}
}

// announce tells the node where the master is. A new master is named once it is
// able to serve.
func (r *Replica) announce() {
	m := &call.MasterChanged{Partition: r.partition, Term: r.term}
	if r.role == raft.StateLeader {
		if r.master != nil && r.master.ready {
			m.Node = r.host.cfg.NodeID
		}
	} else if r.lead != 0 {
		m.Node = r.peers[r.lead]
	}
	if p := r.host.cfg.Parent; p != nil {
		r.host.cfg.System.Root.Send(p, m)
	}
}

// send gives a message to the node of the replica it is for.
func (r *Replica) send(m *pb.Message) {
	node, known := r.peers[m.GetTo()]
	if !known {
		return
	}
	switch {
	case m.GetType() == pb.MsgSnap:
		r.startSnapshot(m)
		return
	case m.GetType() == pb.MsgApp && len(m.GetEntries()) == 0:
		// An empty append carries only the commit index, which heartbeats and the
		// next append carry too; one for each tick is enough.
		if last, sent := r.sentEmpty[m.GetTo()]; sent && last == r.tick {
			return
		}
		r.sentEmpty[m.GetTo()] = r.tick
	}
	r.host.send(r.partition, node, m)
}

// append writes entries, votes and snapshots, and remembers what to deliver when
// they are durable.
func (r *Replica) append(m *pb.Message) {
	done := &appended{r: r, responses: m.GetResponses()}
	var ops []Op
	sync := false
	if s := m.GetSnapshot(); s != nil && !raft.IsEmptySnap(s) {
		ops, sync = r.installSnapshot(ops, s), true
	}
	if m.Term != nil && (m.GetTerm() != r.log.term || m.GetVote() != r.log.vote) {
		r.log.term, r.log.vote = m.GetTerm(), m.GetVote()
		ops = append(ops, put(metaKey(r.partition, rowHardState), hardState(m.GetTerm(), m.GetVote(), m.GetCommit())))
		sync = true
	}
	if entries := m.GetEntries(); len(entries) > 0 {
		ops, sync = r.appendEntries(ops, entries), true
		done.entries = r.lastIndex
	}
	fault.Here(r.host.cfg.Faults, "replica.append")
	if fault.Planted(r.host.cfg.Faults, "send-before-persist") {
		for _, resp := range done.responses {
			if resp.GetTo() != r.id {
				r.send(resp)
			}
		}
		done.responses = localOnly(done.responses, r.id)
	}
	if len(ops) == 0 && len(done.responses) == 0 {
		return // a new commit index alone need not be kept
	}
	r.host.add(ops, sync, done)
}

func (r *Replica) appendEntries(ops []Op, entries []*pb.Entry) []Op {
	last := entries[len(entries)-1].GetIndex()
	if last < r.lastIndex {
		// Entries of a dead term stand behind the new ones: away with them, or a
		// restart would find them.
		ops = append(ops, Op{Kind: DeleteRange, Key: logKey(r.partition, last+1), Value: logKey(r.partition, r.lastIndex+1)})
	}
	for _, e := range entries {
		ops = append(ops, Op{Kind: Put, Key: logKey(r.partition, e.GetIndex()), Value: encodeEntry(e)})
	}
	r.log.append(entries)
	r.lastIndex = last
	r.observe(EventAppend, last, "", "")
	return ops
}

// apply takes committed entries. Their rows are written later; see rowWriter.
func (r *Replica) apply(entries []*pb.Entry) {
	for _, e := range entries {
		invariant(e.GetIndex() == r.applied+1, "entry %d applied after %d", e.GetIndex(), r.applied)
		r.applied = e.GetIndex()
		switch e.GetType() {
		case pb.EntryNormal:
			if len(e.GetData()) > 0 {
				r.rows.add(e, r.decodedOf(e))
			}
		case pb.EntryConfChange, pb.EntryConfChangeV2:
			r.applyConfChange(e)
		}
	}
	fault.Here(r.host.cfg.Faults, "replica.applied")
	if m := r.master; m != nil && len(entries) > 0 {
		m.committed(r.applied, entries[len(entries)-1].GetTerm())
	}
}

// applyConfChange keeps raft's own count of the configuration; nothing here
// proposes changes of it yet, so an entry that cannot be read is a broken log.
func (r *Replica) applyConfChange(e *pb.Entry) {
	cc, err := decodeConfChange(e)
	invariant(err == nil, "configuration change at %d: %v", e.GetIndex(), err)
	r.confState = r.rn.ApplyConfChange(cc)
}

func localOnly(ms []*pb.Message, self uint64) []*pb.Message {
	var local []*pb.Message
	for _, m := range ms {
		if m.GetTo() == self {
			local = append(local, m)
		}
	}
	return local
}
