package replica

import (
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Names of the actors that this package runs, on every node.
const (
	// InboxName is the actor that takes what the replicas of other nodes send.
	InboxName = "raft"
)

// Host gathers, for all replicas of a node's loop, what leaves the node: one
// write to the store and one frame for each peer at the end of each pass. It is
// used on the loop only.
type Host struct {
	cfg      Config
	replicas map[uint64]*Replica
	inbox    *actor.PID

	peers []*peer
	write *Write
	dones []*appended
	// submitted and acked number the writes. A replica that comes back on this
	// node first waits for those of its former life: it reads what is written.
	submitted, acked uint64
	waiting          []*Replica
	failed           bool
	// lingering are the replicas whose open batch waits for company.
	lingering []*Replica
}

// peer is what waits for the end of the pass to go to one node.
type peer struct {
	node  string
	pid   *actor.PID
	frame []byte
}

// frameMax closes a frame early; a link carries messages of a few MiB at most.
const frameMax = 2 << 20

// appended is one replica's part of a write: the messages to deliver when it is
// durable.
type appended struct {
	r         *Replica
	responses []*pb.Message
	// entries is the newest entry in the write; 0 if there is none.
	entries   uint64
	flushedTo uint64
}

// passDone tells the inbox that a write is durable.
type passDone struct {
	dones  []*appended
	number uint64 // of the write; 0 where none was waited for
	err    error
}

// NewHost returns the host of a node's replicas; the node then spawns Inbox under
// InboxName and hooks EndOfPass to the loop.
func NewHost(cfg Config) *Host {
	cfg.Limits = cfg.Limits.withDefaults()
	return &Host{cfg: cfg, replicas: map[uint64]*Replica{}}
}

// Inbox returns the props of the actor that serves other nodes' replicas and the
// store.
func (h *Host) Inbox() *actor.Props {
	return actor.PropsFromFunc(h.receive, actor.WithDispatcher(h.cfg.Loop))
}

func (h *Host) receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		h.inbox = ctx.Self()
	case *messages.RaftBatch:
		h.batch(m)
	case *nudge:
		h.nudge()
	case *passDone:
		h.durable(m)
	case *messages.SnapshotChunk:
		if r := h.replicas[m.GetPartition()]; r != nil && r.pid != nil {
			ctx.Send(r.pid, m)
		}
	case *messages.SnapshotAck:
		if r := h.replicas[m.GetPartition()]; r != nil && r.pid != nil {
			ctx.Send(r.pid, m)
		}
	}
}

// batch hands each message of a frame to its replica. A frame that cannot be read
// to its end is dropped from there on: raft repeats what was lost.
func (h *Host) batch(m *messages.RaftBatch) {
	err := decodeMessages(m.GetFrames(), func(partition uint64, rm *pb.Message) {
		r := h.replicas[partition]
		if r == nil || r.pid == nil || rm.GetTo() != r.id {
			return // not here, or meant for a replica that is gone
		}
		if _, known := r.peers[rm.GetFrom()]; !known {
			return
		}
		r.in = append(r.in, rm)
		r.wake()
	})
	if err != nil {
		h.cfg.Logger.Warn("dropped the rest of a raft frame", "error", err)
	}
}

func (h *Host) durable(d *passDone) {
	if d.number > 0 {
		h.acked = d.number
	}
	if d.err != nil {
		h.failed = true
		h.cfg.Fatal(d.err)
		return
	}
	for _, a := range d.dones {
		if a.r.stopped {
			continue
		}
		a.r.done = append(a.r.done, a)
		a.r.wake()
	}
	for _, r := range h.waiting {
		h.cfg.System.Root.Send(r.pid, &mayLoad{})
	}
	h.waiting = nil
}

// mayLoad tells a waiting replica that a write is done.
type mayLoad struct{}

// newestWrite is the number of the newest write that is or will be submitted.
func (h *Host) newestWrite() uint64 {
	if h.write != nil {
		return h.submitted + 1
	}
	return h.submitted
}

// send puts a message into the frame of the node that holds the replica it is
// for.
func (h *Host) send(partition uint64, node string, m *pb.Message) {
	p := h.peer(node)
	p.frame = appendMessage(p.frame, partition, m)
	if len(p.frame) > frameMax {
		h.sendFrame(p)
	}
}

func (h *Host) peer(node string) *peer {
	i, found := slices.BinarySearchFunc(h.peers, node, func(p *peer, node string) int {
		switch {
		case p.node < node:
			return -1
		case p.node > node:
			return 1
		}
		return 0
	})
	if !found {
		h.peers = slices.Insert(h.peers, i, &peer{node: node, pid: actor.NewPID(node, InboxName)})
	}
	return h.peers[i]
}

// add appends a replica's operations to the write of this pass.
func (h *Host) add(ops []Op, sync bool, done *appended) {
	if h.write == nil {
		h.write = &Write{}
	}
	h.write.Ops = append(h.write.Ops, ops...)
	h.write.Sync = h.write.Sync || sync
	if done != nil {
		h.dones = append(h.dones, done)
	}
}

// EndOfPass hands over what the pass gathered.
func (h *Host) EndOfPass() {
	fault.Here(h.cfg.Faults, "replica.endOfPass")
	h.submit()
	for _, p := range h.peers {
		if len(p.frame) > 0 {
			h.sendFrame(p)
		}
	}
}

func (h *Host) sendFrame(p *peer) {
	fault.Here(h.cfg.Faults, "replica.beforeSend")
	h.cfg.System.Root.Send(p.pid, &messages.RaftBatch{Frames: p.frame})
	p.frame = make([]byte, 0, max(256, min(2*len(p.frame), 64<<10)))
}

func (h *Host) submit() {
	if h.write == nil || h.failed {
		return
	}
	w, d := h.write, &passDone{dones: h.dones}
	h.write, h.dones = nil, nil
	if fault.Planted(h.cfg.Faults, "ack-before-fsync") {
		w.Sync = false
		h.cfg.System.Root.Send(h.inbox, &passDone{dones: d.dones})
		d = &passDone{}
	}
	system, inbox := h.cfg.System, h.inbox
	w.Done = func(err error) {
		d.err = err
		system.Root.Send(inbox, d)
	}
	h.submitted++
	d.number = h.submitted
	fault.Here(h.cfg.Faults, "replica.beforeSubmit")
	h.cfg.Store.Submit(w)
	fault.Here(h.cfg.Faults, "replica.afterSubmit")
}
