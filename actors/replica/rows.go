package replica

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// actorID is an actor's name.
type actorID struct{ kind, key string }

func (a actorID) String() string { return a.kind + "/" + a.key }

// rowWriter turns committed entries into rows, late and many at a time.
//
// Writing the rows of each entry when it is applied would cost more than all the
// rest of replication: an insert into the store's memory for each, at a random
// place, on every replica. Instead committed entries are kept as they are — the
// log is durable, so nothing is at risk — and now and then all of them become one
// sorted batch in which each actor and session appears once. The applied index is
// in the same batch: after a crash raft hands out again what came after it.
type rowWriter struct {
	r *Replica
	// base is the applied row in the store.
	base *messages.AppliedRow
	// waiting are the committed entries that are not in the rows yet; those
	// before writing are in a write under way.
	waiting []committed
	writing int
	bytes   int
}

// committed is one applied entry. decoded is nil until somebody needs it.
type committed struct {
	entry   *pb.Entry
	decoded *messages.Entry
}

func newRowWriter(r *Replica, base *messages.AppliedRow) rowWriter {
	return rowWriter{r: r, base: base}
}

func (w *rowWriter) add(e *pb.Entry, decoded *messages.Entry) {
	w.waiting = append(w.waiting, committed{e, decoded})
	w.bytes += entrySize(e)
}

// effects returns the decoded entry; nil if it is void: computed in another term
// than the one it was appended in.
func (c *committed) effects() *messages.Entry {
	if c.decoded == nil {
		decoded, err := decodeEffects(c.entry.GetData())
		invariant(err == nil, "entry %d cannot be read: %v", c.entry.GetIndex(), err)
		c.decoded = decoded
	}
	if c.decoded.GetTerm() != c.entry.GetTerm() {
		return nil
	}
	return c.decoded
}

func (r *Replica) flushIfDue() {
	w := &r.rows
	limits := r.host.cfg.Limits
	// Each partition has its own tick for this, so that they do not all write at
	// once and hold up what else the node does.
	due := (r.tick+r.partition)%limits.FlushTicks == 0 || w.bytes > limits.FlushBytes
	if due {
		r.flush()
	}
}

// flush submits the rows of everything applied, if no such write is under way.
func (r *Replica) flush() {
	w := &r.rows
	if w.writing > 0 || r.applied == w.base.GetIndex() || r.stopped {
		return
	}
	term, err := r.log.Term(r.applied)
	if err != nil {
		// Applied, but still only in raft's hands: next time.
		return
	}
	next := proto.CloneOf(w.base)
	ops := w.build(next)
	next.Index, next.Term = r.applied, term
	withConfState(next, r.confState)
	ops = append(ops, put(metaKey(r.partition, rowApplied), next))
	if fault.Planted(r.host.cfg.Faults, "applied-before-rows") {
		r.host.add(ops[len(ops)-1:], true, nil)
		r.host.submit()
		ops = ops[:len(ops)-1]
	}
	fault.Here(r.host.cfg.Faults, "replica.flush")
	w.base, w.writing = next, len(w.waiting)
	r.host.add(ops, false, &appended{r: r, flushedTo: next.GetIndex()})
}

// build makes the rows of the waiting entries: each actor and each session once,
// in the order of the keys.
func (w *rowWriter) build(next *messages.AppliedRow) []Op {
	r := w.r
	states := map[actorID]*messages.Turn{}
	sessions := map[string]*session{}
	for i := range w.waiting {
		c := &w.waiting[i]
		e := c.effects()
		if e == nil {
			continue
		}
		next.Time = max(next.GetTime(), e.GetTime())
		for _, t := range e.GetTurns() {
			if t.GetState() != nil {
				states[actorID{t.GetKind(), t.GetKey()}] = t
				next.Turns++
			}
			if t.GetRequest() != nil {
				w.record(sessions, t, e.GetTime(), c.entry.GetIndex())
			}
		}
	}
	ops := make([]Op, 0, len(states)+len(sessions)+1)
	ops = append(ops, w.expired(next.GetTime(), sessions)...)
	for _, id := range slices.SortedFunc(maps.Keys(states), compareActors) {
		ops = append(ops, actorOp(r.partition, id, states[id]))
	}
	for _, client := range slices.Sorted(maps.Keys(sessions)) {
		ops = append(ops, put(sessionKey(r.partition, client), sessions[client].row()))
	}
	return ops
}

// sessionSweep is how often, by the log's clock, the rows of sessions that ended
// long ago are looked for.
const sessionSweep = int64(600e9)

// expired returns the removal of the sessions that were idle for twice their time.
// No master answers from them any more, so nothing hangs on when a replica does
// this; the log's clock makes all do it at about the same entry.
func (w *rowWriter) expired(now int64, touched map[string]*session) []Op {
	ttl := w.r.host.cfg.Limits.SessionTTL
	if now/sessionSweep == w.base.GetTime()/sessionSweep || w.base.GetTime() == 0 {
		return nil
	}
	before := now/sessionSweep*sessionSweep - 2*ttl
	var ops []Op
	from := sessionKey(w.r.partition, "")
	to := append(partitionKey(prefixRows, w.r.partition), rowSession+1)
	err := w.r.host.cfg.Store.Scan(from, to, func(key, value []byte) error {
		row := &messages.SessionRow{}
		if err := proto.Unmarshal(value, row); err != nil {
			return corrupt("session", key, err)
		}
		if _, again := touched[string(key[len(from):])]; !again && row.GetTouched() < before {
			ops = append(ops, Op{Kind: Delete, Key: append([]byte(nil), key...)})
		}
		return nil
	})
	if err != nil {
		panic(fmt.Errorf("partition %d: look for old sessions: %w", w.r.partition, err))
	}
	return ops
}

// record adds a turn's answer to what is remembered of its session.
func (w *rowWriter) record(sessions map[string]*session, t *messages.Turn, time int64, index uint64) {
	client := string(t.GetRequest().GetClient())
	s := sessions[client]
	if s == nil {
		s = w.r.storedSession(client)
		if s == nil {
			s = newSession(client)
		}
		sessions[client] = s
	}
	s.add(t, time, index, w.r.host.cfg.Limits.StoredReplyBytes)
}

func actorOp(partition uint64, id actorID, t *messages.Turn) Op {
	key := actorKey(partition, id)
	if t.GetState().GetDeleted() {
		return Op{Kind: Delete, Key: key}
	}
	return put(key, &messages.ActorRow{
		State: t.GetState().GetWhole(), BehaviorVersion: t.GetBehaviorVersion(), Version: t.GetVersion(),
	})
}

func compareActors(a, b actorID) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
}

// flushed is told that the rows up to index are in the store.
func (r *Replica) flushed(index uint64) {
	w := &r.rows
	if index != w.base.GetIndex() {
		return // a snapshot came in between
	}
	for _, c := range w.waiting[:w.writing] {
		w.bytes -= entrySize(c.entry)
	}
	w.waiting = slices.Delete(w.waiting, 0, w.writing)
	w.writing = 0
	r.setWritten(index, w.base.GetTerm(), confStateOf(w.base))
	if r.master != nil {
		r.master.written(index)
	}
	r.observe(EventFlush, index, "", "")
	r.cutLog()
}

// cutLog removes the head of the log that nobody needs: it is in the rows, and,
// as far as the bounds allow, on every slave.
func (r *Replica) cutLog() {
	limits := r.host.cfg.Limits
	if r.log.bytes <= limits.LogBytes {
		return
	}
	limit := r.log.meta.GetIndex()
	if r.role == raft.StateLeader && r.log.bytes <= limits.LogBytesMax {
		for id, p := range r.rn.Status().Progress {
			if id != r.id {
				limit = min(limit, p.Match)
			}
		}
	}
	cut := r.log.cutFor(limits.LogBytes/2, limit)
	if cut == 0 {
		return
	}
	first, _ := r.log.FirstIndex()
	term, err := r.log.Term(cut)
	invariant(err == nil, "term of entry %d: %v", cut, err)
	r.log.cut(cut)
	r.host.add([]Op{
		put(metaKey(r.partition, rowTruncated), &messages.TruncatedRow{Index: cut, Term: term}),
		{Kind: DeleteRange, Key: logKey(r.partition, first), Value: logKey(r.partition, cut+1)},
	}, false, nil)
}

// storedActor reads an actor's row.
func (r *Replica) storedActor(id actorID) (*messages.ActorRow, error) {
	key := actorKey(r.partition, id)
	value, found, err := r.host.cfg.Store.Get(key)
	if err != nil || !found {
		return nil, err
	}
	row := &messages.ActorRow{}
	if err := proto.Unmarshal(value, row); err != nil {
		return nil, corrupt("state of "+id.String(), key, err)
	}
	return row, nil
}

// storedSession reads a session's row; nil if there is none.
func (r *Replica) storedSession(client string) *session {
	key := sessionKey(r.partition, client)
	value, found, err := r.host.cfg.Store.Get(key)
	if err != nil {
		panic(fmt.Errorf("partition %d: read a session: %w", r.partition, err))
	}
	if !found {
		return nil
	}
	row := &messages.SessionRow{}
	if err := proto.Unmarshal(value, row); err != nil {
		panic(corrupt("session", key, err))
	}
	return sessionOf(client, row)
}
