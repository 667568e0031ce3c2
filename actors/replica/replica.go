// Package replica runs one copy of one partition.
//
// A Replica is an actor around a raft group's state machine. While it is the
// master it runs the turns of the partition's actors and ships their effects to
// the slaves; while it is a slave it keeps them. The properties it holds:
//
//  1. A vote, and an acknowledgement of entries, leaves only after what it
//     promises is durable (raft's asynchronous storage writes).
//  2. A reply leaves only after the entry with its effects was committed in the
//     term in which they were computed, and a query's only after all that it saw
//     was committed and a majority confirmed, after the query came, that this is
//     the master.
//  3. All speculation belongs to one term. Whoever loses the term drops it all.
//  4. The applied index is written with the rows it describes. Rows are written
//     late, in large batches; what is committed and not yet written is in the log.
//  5. A numbered request takes effect once.
//
// Everything runs on the node's loop; nothing here is safe for concurrent use.
package replica

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Replica is the actor. Its zero value is not usable; see Host.Props.
type Replica struct {
	host      *Host
	partition uint64
	id        uint64
	peers     map[uint64]string // node id by replica id
	pid       *actor.PID
	logger    *slog.Logger

	rn   *raft.RawNode
	log  *logTail
	term uint64
	lead uint64
	role raft.StateType

	// unreachable are the peers whose node the links do not reach, by replica id.
	unreachable map[uint64]bool

	// What waits for the next wake-up.
	in     []*pb.Message
	done   []*appended
	woken  bool
	nudged bool // waits for a nudge

	// lastIndex is the newest entry handed to the store.
	lastIndex uint64
	applied   uint64
	confState *pb.ConfState
	rows      rowWriter

	master   *master
	transfer *transfer
	// parting is set when the node leaves: the replica does not stand for
	// election any more.
	parting bool
	stopped bool

	loadAfter uint64 // number of the write after which the replica may load
	tick      uint64
	sentEmpty map[uint64]uint64 // tick of the last empty append, by replica id
	campaign  uint64            // tick at which to stand for election; 0: not planned
	incoming  *incoming
	outgoing  map[uint64]*outgoing
}

// wakeup makes a replica work off what was queued for it.
type wakeup struct{}

// Handover asks a master to give its mastership to a slave, whichever is the most
// caught up, and not to stand for election again: the node is leaving.
type Handover struct{}

// Flush asks for the committed rows to be written now.
type Flush struct{}

// Report asks for a replica's own view; Reply is called on the loop.
type Report struct {
	Reply func(*messages.ReplicaReport)
}

// Name returns the name of a partition's replica actor.
func Name(partition uint64) string { return fmt.Sprintf("replica/%d", partition) }

// Props returns the props of the replica that row describes. The replica loads
// itself from the store when it starts; it panics if it cannot.
func (h *Host) Props(row *messages.ReplicaRow) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		return newReplica(h, row)
	}, actor.WithDispatcher(h.cfg.Loop))
}

func newReplica(h *Host, row *messages.ReplicaRow) *Replica {
	r := &Replica{
		host: h, partition: row.GetPartition(), id: row.GetReplicaId(),
		peers:       map[uint64]string{},
		unreachable: map[uint64]bool{},
		sentEmpty:   map[uint64]uint64{},
		outgoing:    map[uint64]*outgoing{},
		logger:      h.cfg.Logger.With("partition", row.GetPartition()),
	}
	for _, p := range row.GetPeers() {
		r.peers[p.GetReplicaId()] = p.GetNodeId()
	}
	return r
}

// Receive implements actor.Actor.
func (r *Replica) Receive(ctx actor.Context) {
	if r.rn == nil && !r.beforeLoad(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case *wakeup:
		r.work()
	case *call.Request:
		r.request(m)
	case *turnRun:
		r.turnsDone(m)
		r.wake()
	case *call.Tick:
		r.ticked(m)
	case *call.PeerChanged:
		r.peerChanged(m)
		r.wake()
	case *messages.TransferMastership:
		r.startTransfer(m.GetToReplica())
		r.wake()
	case *Handover:
		r.parting = true
		r.startTransfer(0)
		r.wake()
	case *Flush:
		r.flush()
		r.wake()
	case *Report:
		m.Reply(r.report())
	case *messages.SnapshotChunk:
		r.chunk(m)
		r.wake()
	case *messages.SnapshotAck:
		r.chunkAck(m)
	case *actor.Started:
		r.start(ctx)
	case *actor.Stopping, *actor.Restarting:
		r.stop()
	}
}

// beforeLoad deals with messages to a replica that is not loaded yet; true lets
// the message through.
func (r *Replica) beforeLoad(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *mayLoad:
		r.tryLoad()
	case *call.Request:
		m.Answer(&messages.Reply{Code: messages.Code_CODE_NOT_MASTER, Partition: r.partition})
	case *Report:
		m.Reply(&messages.ReplicaReport{Partition: r.partition, ReplicaId: r.id, Role: "loading"})
	case *actor.Started, *actor.Stopping, *actor.Restarting:
		return true
	}
	return false
}

func (r *Replica) start(ctx actor.Context) {
	r.pid = ctx.Self()
	r.loadAfter = r.host.newestWrite()
	r.tryLoad()
}

// tryLoad loads the replica once the writes of its former life are done.
func (r *Replica) tryLoad() {
	if r.rn != nil || r.stopped {
		return
	}
	if r.host.acked < r.loadAfter {
		r.host.waiting = append(r.host.waiting, r)
		return
	}
	if err := r.load(); err != nil {
		panic(err)
	}
	r.host.replicas[r.partition] = r
	r.wake()
}

func (r *Replica) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	if r.host.replicas[r.partition] == r {
		delete(r.host.replicas, r.partition)
	}
	r.dropMaster()
}

// wake makes sure that the replica gets a wake-up behind what is queued now.
func (r *Replica) wake() {
	if !r.woken && !r.stopped {
		r.woken = true
		r.host.cfg.System.Root.Send(r.pid, &wakeup{})
	}
}

// work takes all that was queued, proposes what was executed, and hands over what
// raft wants done.
func (r *Replica) work() {
	r.woken = false
	if r.stopped {
		return
	}
	in, done := r.in, r.done
	r.in, r.done = r.in[len(r.in):], r.done[len(r.done):]
	for _, m := range in {
		r.step(m)
	}
	for _, a := range done {
		r.appendDone(a)
	}
	r.ready()
	r.propose()
	r.advanceTransfer()
}

// step gives raft a message from another replica or from the store.
func (r *Replica) step(m *pb.Message) {
	// What raft refuses here, it refuses because it is stale or unknown; losing it
	// is safe.
	if err := r.rn.Step(m); err != nil {
		r.logger.Debug("raft refused a message", "type", m.GetType().String(), "error", err)
	}
}

// appendDone delivers what had to wait for a write to be durable.
func (r *Replica) appendDone(a *appended) {
	if a.entries > 0 {
		r.observe(EventDurable, a.entries, "", "")
	}
	if a.flushedTo > 0 {
		r.flushed(a.flushedTo)
	}
	r.deliver(a.responses)
}

func (r *Replica) deliver(responses []*pb.Message) {
	for _, m := range responses {
		if m.GetTo() == r.id {
			r.step(m)
		} else {
			r.send(m)
		}
	}
}

func (r *Replica) ticked(t *call.Tick) {
	r.tick = t.Number
	// A replica that is leaving ticks on as a master until it has handed over, but
	// does not stand for election again.
	if !r.parting || r.role == raft.StateLeader {
		r.rn.Tick()
	}
	if r.campaign > 0 && r.tick >= r.campaign {
		r.campaign = 0
		if r.lead == 0 && r.role == raft.StateFollower && !r.parting {
			r.standForElection()
		}
	}
	if r.master != nil {
		r.master.ticked()
	}
	r.stalledSnapshots()
	r.flushIfDue()
	r.work()
}

// peerChanged reacts to a node that can, or cannot, be reached over its link. A
// master's death is known long before the election timeout: the slaves forget the
// master, and stand for election one after the other. Raft's PreVote still asks a
// majority whether it hears the master.
func (r *Replica) peerChanged(p *call.PeerChanged) {
	for id, node := range r.peers {
		if node != p.Node || id == r.id {
			continue
		}
		if p.Up {
			delete(r.unreachable, id)
			continue
		}
		r.unreachable[id] = true
		r.rn.ReportUnreachable(id)
		r.failOutgoing(id)
		if r.transfer != nil && r.transfer.to == id {
			r.endTransfer() // it went away before it took over
		}
		if r.role == raft.StateFollower && r.lead == id {
			if err := r.rn.ForgetLeader(); err != nil {
				r.logger.Debug("raft does not forget its leader", "error", err)
				continue
			}
			r.planCampaign(id)
		}
	}
}

// majority reports whether the links reach a majority of the replicas. A master
// without one takes no requests: what it does not begin, it can say did not run.
func (r *Replica) majority() bool {
	return len(r.peers)-len(r.unreachable) > len(r.peers)/2
}

// planCampaign lets the slaves stand in the order of their replica ids.
func (r *Replica) planCampaign(dead uint64) {
	rank := uint64(0)
	for id := range r.peers {
		if id < r.id && id != dead {
			rank++
		}
	}
	r.campaign = r.tick + 1 + 3*rank
	if rank == 0 && !r.parting {
		r.campaign = 0
		r.ready()
		r.standForElection()
	}
}

func (r *Replica) standForElection() {
	if err := r.rn.Campaign(); err != nil {
		r.logger.Debug("raft does not stand for election", "error", err)
	}
}

func (r *Replica) report() *messages.ReplicaReport {
	rep := &messages.ReplicaReport{
		Partition: r.partition, ReplicaId: r.id, Term: r.term, Applied: r.applied,
		Master: r.lead, Role: r.roleName(), Commit: r.rn.BasicStatus().HardState.GetCommit(),
	}
	if r.role == raft.StateLeader {
		for id, p := range r.rn.Status().Progress {
			if id == r.id || (p.RecentActive && p.Match+64 >= r.lastIndex) {
				rep.CaughtUp = append(rep.CaughtUp, id)
			}
		}
		slices.Sort(rep.CaughtUp)
	}
	return rep
}

// roleName is the role in the project's words.
func (r *Replica) roleName() string {
	switch r.role {
	case raft.StateLeader:
		return "master"
	case raft.StateFollower:
		return "slave"
	default:
		return "candidate"
	}
}

func (r *Replica) observe(name string, index uint64, actorName, detail string) {
	if o := r.host.cfg.Observe; o != nil {
		o(Event{Name: name, Partition: r.partition, Term: r.term, Index: index, Actor: actorName, Detail: detail})
	}
}
