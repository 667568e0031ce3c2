package replica

import (
	"bytes"
	"errors"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// outgoing is a snapshot on its way to a slave that lags too far behind the log:
// the partition's rows, in pieces, with a few pieces under way at a time.
type outgoing struct {
	to      uint64
	view    Snapshot
	message *pb.Message
	applied *messages.AppliedRow
	attempt uint64
	next    uint64 // number of the next piece
	acked   uint64
	from    []byte // key of the next row
	done    bool
	touched uint64 // tick of the last progress
}

// incoming gathers the pieces of a snapshot.
type incoming struct {
	from    uint64
	index   uint64
	attempt uint64
	next    uint64
	bytes   int
	rows    []*messages.Row
	applied *messages.AppliedRow
	ready   bool
}

var errPieceFull = errors.New("piece full")

// startSnapshot begins to send what raft wants to send as one message. The index,
// term and configuration are those of the rows as they are read.
func (r *Replica) startSnapshot(m *pb.Message) {
	if o := r.outgoing[m.GetTo()]; o != nil && !o.done {
		return // under way already
	}
	r.dropOutgoing(m.GetTo())
	view := r.host.cfg.Store.Snapshot()
	applied := &messages.AppliedRow{}
	value, found, err := view.Get(metaKey(r.partition, rowApplied))
	if err == nil && found {
		err = proto.Unmarshal(value, applied)
	}
	if err != nil || !found {
		r.logger.Error("cannot send a snapshot: the applied row cannot be read", "error", err)
		r.closeView(view)
		r.rn.ReportSnapshot(m.GetTo(), raft.SnapshotFailure)
		return
	}
	m.Snapshot = &pb.Snapshot{Metadata: &pb.SnapshotMetadata{
		Index: new(applied.GetIndex()), Term: new(applied.GetTerm()), ConfState: confStateOf(applied),
	}}
	from, _ := span(prefixRows, r.partition)
	r.outgoing[m.GetTo()] = &outgoing{
		to: m.GetTo(), view: view, message: m, applied: applied, from: from, touched: r.tick, attempt: r.host.cfg.Rand.Uint64(),
	}
	r.sendPieces(r.outgoing[m.GetTo()])
}

func (r *Replica) closeView(v Snapshot) {
	if err := v.Close(); err != nil {
		r.logger.Warn("close a view of the store", "error", err)
	}
}

// dropOutgoing forgets a snapshot under way; false means there was none.
func (r *Replica) dropOutgoing(to uint64) bool {
	o := r.outgoing[to]
	if o == nil {
		return false
	}
	delete(r.outgoing, to)
	r.closeView(o.view)
	return true
}

// failOutgoing gives a snapshot up, also one whose last piece is sent and not
// acknowledged: raft would wait for it for ever.
func (r *Replica) failOutgoing(to uint64) {
	if r.dropOutgoing(to) {
		r.rn.ReportSnapshot(to, raft.SnapshotFailure)
	}
}

// sendPieces sends as many pieces as the window allows.
func (r *Replica) sendPieces(o *outgoing) {
	for !o.done && o.next-o.acked < uint64(r.host.cfg.Limits.SnapshotWindow) {
		piece, err := r.piece(o)
		if err != nil {
			r.logger.Error("cannot read the rows for a snapshot", "error", err)
			r.failOutgoing(o.to)
			return
		}
		fault.Here(r.host.cfg.Faults, "replica.snapshotPiece")
		r.host.cfg.System.Root.Send(actor.NewPID(r.peers[o.to], InboxName), piece)
	}
}

func (r *Replica) piece(o *outgoing) (*messages.SnapshotChunk, error) {
	meta := o.message.GetSnapshot().GetMetadata()
	c := &messages.SnapshotChunk{
		Partition: r.partition, FromReplica: r.id, ToReplica: o.to, Term: o.message.GetTerm(),
		Index: meta.GetIndex(), Attempt: o.attempt, Number: o.next,
	}
	_, end := span(prefixRows, r.partition)
	size := 0
	err := o.view.Scan(o.from, end, func(key, value []byte) error {
		if size >= r.host.cfg.Limits.SnapshotChunkBytes {
			o.from = bytes.Clone(key)
			return errPieceFull
		}
		size += len(key) + len(value)
		c.Rows = append(c.Rows, &messages.Row{Key: bytes.Clone(key[9:]), Value: bytes.Clone(value)})
		return nil
	})
	if err != nil && !errors.Is(err, errPieceFull) {
		return nil, err
	}
	o.next++
	if err == nil {
		c.Last, c.Applied = true, o.applied
		if c.RaftMessage, err = proto.Marshal(o.message); err != nil {
			return nil, err
		}
		o.done = true
	}
	return c, nil
}

// chunkAck lets more pieces go.
func (r *Replica) chunkAck(a *messages.SnapshotAck) {
	o := r.outgoing[a.GetToReplica()]
	if o == nil || o.attempt != a.GetAttempt() {
		return
	}
	if a.GetRefused() {
		r.failOutgoing(o.to)
		r.wake()
		return
	}
	o.acked, o.touched = max(o.acked, a.GetNumber()+1), r.tick
	if o.done && o.acked == o.next {
		r.rn.ReportSnapshot(o.to, raft.SnapshotFinish)
		r.dropOutgoing(o.to)
		r.wake()
		return
	}
	r.sendPieces(o)
}

// stalledSnapshots gives up snapshots that make no progress; raft asks anew.
func (r *Replica) stalledSnapshots() {
	for _, id := range sortedKeys(r.outgoing) {
		if o := r.outgoing[id]; r.tick-o.touched > 100 {
			r.failOutgoing(id)
		}
	}
}

// chunk takes a piece. Pieces come in order or the stream is refused.
func (r *Replica) chunk(c *messages.SnapshotChunk) {
	if c.GetToReplica() != r.id || r.peers[c.GetFromReplica()] == "" || r.stopped {
		return
	}
	in := r.incoming
	if in == nil || in.attempt != c.GetAttempt() {
		if c.GetNumber() != 0 {
			r.ackChunk(c, true)
			return
		}
		in = &incoming{from: c.GetFromReplica(), index: c.GetIndex(), attempt: c.GetAttempt()}
		r.incoming = in
	}
	if c.GetNumber() < in.next {
		return // a repetition
	}
	for _, row := range c.GetRows() {
		in.bytes += len(row.GetKey()) + len(row.GetValue())
	}
	if c.GetNumber() != in.next || in.bytes > r.host.cfg.Limits.SnapshotBytesMax {
		r.incoming = nil
		r.ackChunk(c, true)
		return
	}
	in.next++
	in.rows = append(in.rows, c.GetRows()...)
	if c.GetLast() && !r.complete(c, in) {
		return
	}
	r.ackChunk(c, false)
}

// complete hands raft the message that installs the snapshot.
func (r *Replica) complete(c *messages.SnapshotChunk, in *incoming) bool {
	m := &pb.Message{}
	if err := proto.Unmarshal(c.GetRaftMessage(), m); err != nil || m.GetType() != pb.MsgSnap ||
		m.GetSnapshot().GetMetadata().GetIndex() != in.index || m.GetFrom() != in.from || m.GetTo() != r.id ||
		c.GetApplied().GetIndex() != in.index {
		r.incoming = nil
		r.ackChunk(c, true)
		return false
	}
	in.ready, in.applied = true, c.GetApplied()
	r.step(m)
	r.ready()
	r.incoming = nil // installed, or not wanted by raft
	return true
}

func (r *Replica) ackChunk(c *messages.SnapshotChunk, refused bool) {
	r.host.cfg.System.Root.Send(actor.NewPID(r.peers[c.GetFromReplica()], InboxName), &messages.SnapshotAck{
		Partition: r.partition, ToReplica: r.id, Index: c.GetIndex(), Attempt: c.GetAttempt(), Number: c.GetNumber(), Refused: refused,
	})
}

// installSnapshot replaces rows and log by those of a snapshot, in one write.
func (r *Replica) installSnapshot(ops []Op, s *pb.Snapshot) []Op {
	in := r.incoming
	meta := s.GetMetadata()
	invariant(in != nil && in.ready && in.index == meta.GetIndex(), "raft installs a snapshot at %d that did not come", meta.GetIndex())
	rowsFrom, rowsTo := span(prefixRows, r.partition)
	logFrom, logTo := span(prefixLog, r.partition)
	ops = append(ops,
		Op{Kind: DeleteRange, Key: rowsFrom, Value: rowsTo},
		Op{Kind: DeleteRange, Key: logFrom, Value: logTo})
	for _, row := range in.rows {
		ops = append(ops, Op{Kind: Put, Key: append(partitionKey(prefixRows, r.partition), row.GetKey()...), Value: row.GetValue()})
	}
	base := withConfState(in.applied, meta.GetConfState())
	ops = append(ops,
		put(metaKey(r.partition, rowApplied), base),
		put(metaKey(r.partition, rowTruncated), &messages.TruncatedRow{Index: meta.GetIndex(), Term: meta.GetTerm()}))
	err := r.log.ApplySnapshot(s)
	invariant(err == nil, "snapshot at %d: %v", meta.GetIndex(), err)
	r.log.measure()
	r.lastIndex, r.applied = meta.GetIndex(), meta.GetIndex()
	r.rows = newRowWriter(r, base)
	r.setWritten(meta.GetIndex(), meta.GetTerm(), meta.GetConfState())
	r.observe(EventSnapshot, meta.GetIndex(), "", "")
	return ops
}
