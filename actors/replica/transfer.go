package replica

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// transfer is a hand-over of the mastership under way. The master takes no more
// requests, finishes what it has, and only then lets raft hand over: raft refuses
// proposals during a hand-over, and a refused proposal costs all speculation.
type transfer struct {
	to      uint64 // replica id
	began   uint64 // tick
	handing bool
}

// startTransfer begins a hand-over to a replica; 0 means the most caught up.
func (r *Replica) startTransfer(to uint64) {
	if r.role != raft.StateLeader || r.transfer != nil || to == r.id {
		return
	}
	progress := r.rn.Status().Progress
	if to == 0 {
		to = r.mostCaughtUp(progress)
	}
	if p, ok := progress[to]; !ok || p.IsLearner || !p.RecentActive || r.unreachable[to] {
		return
	}
	r.transfer = &transfer{to: to, began: r.tick}
}

func (r *Replica) mostCaughtUp(progress map[uint64]tracker.Progress) uint64 {
	best, match := uint64(0), uint64(0)
	for _, id := range sortedKeys(progress) {
		p := progress[id]
		if id != r.id && !p.IsLearner && p.RecentActive && !r.unreachable[id] && p.Match > match {
			best, match = id, p.Match
		}
	}
	return best
}

// advanceTransfer hands over once nothing is under way any more, and gives up
// after a while.
func (r *Replica) advanceTransfer() {
	t := r.transfer
	if t == nil {
		if r.parting && r.role == raft.StateLeader {
			r.startTransfer(0)
		}
		return
	}
	if r.master == nil {
		r.transfer = nil
		return
	}
	if r.tick-t.began > r.host.cfg.Limits.TransferTicks {
		r.endTransfer()
		return
	}
	if t.handing || r.master.requests > 0 {
		return
	}
	t.handing = true
	r.rn.TransferLeader(t.to)
	r.ready()
}

// endTransfer gives a hand-over up that was not taken: the replica serves on, and
// whoever asked may ask again.
func (r *Replica) endTransfer() {
	if r.transfer.handing {
		// To oneself means to nobody: raft takes proposals again at once.
		r.rn.TransferLeader(r.id)
	}
	r.transfer = nil
	r.announce()
}
