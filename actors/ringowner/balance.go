package ringowner

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// balance is the masterships that are being moved to where the table wants them.
type balance struct {
	// moves has each partition with a transfer under way or one that failed.
	moves map[uint64]*move
	// underWay counts the moves under way.
	underWay int
}

// move is one partition's transfer.
type move struct {
	// to is the node that should be master, replica its copy there.
	to      string
	replica uint64
	// started is when the present master was asked; 0: no ask is under way.
	started int64
	// failures in a row, and when the next try is due.
	failures int
	retryAt  int64
}

func newBalance() balance { return balance{moves: map[uint64]*move{}} }

// settle ends the moves that a node's report shows to be done.
func (b *balance) settle(o *owner, m *messages.NodeReport) {
	for _, r := range m.GetReplicas() {
		mv := b.moves[r.GetPartition()]
		if mv == nil || r.GetMaster() != r.GetReplicaId() || r.GetReplicaId() != mv.replica {
			continue
		}
		if mv.started != 0 {
			b.underWay--
			o.observe(Event{Kind: TransferDone, Partition: r.GetPartition(), Node: mv.to})
		}
		delete(b.moves, r.GetPartition())
	}
}

// expire ends the moves that took too long.
func (b *balance) expire(o *owner) {
	limits := o.cfg.Limits
	for partition := range uint64(len(o.table.GetAssignments())) {
		mv := b.moves[partition]
		if mv == nil || mv.started == 0 || o.now-mv.started < int64(limits.TransferTimeout) {
			continue
		}
		b.underWay--
		mv.started = 0
		pause := min(limits.Interval<<min(mv.failures, 16), limits.BackoffMax)
		mv.failures++
		mv.retryAt = o.now + int64(pause)
		o.observe(Event{Kind: TransferFailed, Partition: partition, Node: mv.to})
		o.cfg.Logger.Warn("mastership was not handed over", "partition", partition, "to", mv.to,
			"failures", mv.failures, "retry_in", pause)
	}
}

// balanceMasters asks masters to hand over to where the table wants them, a few
// at a time, while all is calm. The system partition comes last: it takes the
// owner itself along.
func (o *owner) balanceMasters() {
	o.balance.expire(o)
	if !o.calm() {
		return
	}
	masters := o.masters()
	started := 0
	for i := range o.table.GetAssignments() {
		partition := uint64(i+1) % uint64(len(o.table.GetAssignments()))
		if o.balance.underWay >= o.cfg.Limits.TransfersMax || started >= o.cfg.Limits.TransfersMax {
			return
		}
		if o.balance.due(o, partition, masters[partition]) {
			o.transfer(partition, masters[partition])
			started++
		}
	}
}

// calm says that nothing is amiss: every member reports, knows the table and
// stays, and no replica failed.
func (o *owner) calm() bool {
	for _, m := range o.table.GetMembers() {
		r := o.reports[m.GetNodeId()]
		if r == nil || o.now-r.at > int64(o.cfg.Limits.ReportAge) || r.GetDraining() || r.GetEpoch() != o.table.GetEpoch() {
			return false
		}
		for _, replica := range r.GetReplicas() {
			if replica.GetFailure() != "" {
				return false
			}
		}
	}
	return true
}

// master is a replica that says it is the master.
type master struct {
	node string
	*messages.ReplicaReport
}

// masters finds each partition's master in the reports: of several that claim it
// the one of the newest term.
func (o *owner) masters() map[uint64]master {
	found := map[uint64]master{}
	for _, m := range o.table.GetMembers() {
		for _, r := range o.reports[m.GetNodeId()].GetReplicas() {
			claims := r.GetMaster() != 0 && r.GetMaster() == r.GetReplicaId()
			if claims && r.GetTerm() >= found[r.GetPartition()].GetTerm() {
				found[r.GetPartition()] = master{m.GetNodeId(), r}
			}
		}
	}
	return found
}

// due says that a partition's mastership should be moved now: the wanted master
// is another than the present one, and has caught up.
func (b *balance) due(o *owner, partition uint64, present master) bool {
	wanted := ring.PreferredMaster(o.table, partition)
	if wanted == nil || present.ReplicaReport == nil || present.GetReplicaId() == wanted.GetReplicaId() {
		return false
	}
	if mv := b.moves[partition]; mv != nil && (mv.started != 0 || o.now < mv.retryAt) {
		return false
	}
	for _, id := range present.GetCaughtUp() {
		if id == wanted.GetReplicaId() {
			return true
		}
	}
	return false
}

// transfer asks the present master of a partition to hand over.
func (o *owner) transfer(partition uint64, present master) {
	wanted := ring.PreferredMaster(o.table, partition)
	mv := o.balance.moves[partition]
	if mv == nil || mv.replica != wanted.GetReplicaId() {
		mv = &move{to: wanted.GetNodeId(), replica: wanted.GetReplicaId()}
		o.balance.moves[partition] = mv
	}
	mv.started = max(o.now, 1)
	o.balance.underWay++
	o.observe(Event{Kind: TransferAsked, Partition: partition, Node: mv.to, Epoch: o.table.GetEpoch()})
	o.ctx.Send(actor.NewPID(present.node, NodeName), &messages.TransferMastership{
		Partition: partition, ToReplica: wanted.GetReplicaId(),
	})
}
