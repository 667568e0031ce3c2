package replica

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// master is what a replica has while it is the master, for one term and no
// longer. Everything in it is speculation until the entry it belongs to is
// committed; when the term ends, all of it is dropped and nothing needs undoing,
// because nothing of it was written.
type master struct {
	r    *Replica
	term uint64
	// ready is set once an entry of this term was applied: then everything that
	// earlier masters may have promised is applied too, and turns may run.
	ready bool

	// rows are the states and sessions that are newer than the store's rows.
	rows     map[actorID]*liveRow
	sessions map[string]*session
	acts     map[actorID]*activation
	idle     activationList
	busy     []*activation

	// open gathers the effects of turns for the next entry; queue holds closed
	// batches that wait for a free round; flying those proposed, oldest first;
	// settled those committed whose rows are not written yet.
	open    *batch
	queue   []*batch
	flying  []*batch
	settled []*batch
	reads   reads
	gather  gathering
	// requests counts those taken and not answered.
	requests int
	lastTime int64
	// generation tells turns run before a reset from those run after it.
	generation uint64
	// resumeAt: after a refused proposal no turn may run until everything that
	// was proposed before is applied.
	resumeAt uint64
}

// liveRow is an actor's state that is not in the store yet.
type liveRow struct {
	state   []byte
	version uint64
	batch   *batch // nil: committed at index
	index   uint64
}

// batch is the effects of many turns that become one entry.
type batch struct {
	index   uint64 // 0 until proposed
	since   int64  // when it began to wait for company; 0: it does not
	began   int64  // when it was proposed
	bytes   int
	entry   *messages.Entry
	data    []byte
	answers []*answer
	replies []gated
	actors  []actorID
}

// gated is a reply that waits for a commit.
type gated struct {
	req   *call.Request
	reply *messages.Reply
}

func newMaster(r *Replica) *master {
	m := &master{
		r: r, term: r.term,
		rows: map[actorID]*liveRow{}, sessions: map[string]*session{}, acts: map[actorID]*activation{},
		open: &batch{entry: &messages.Entry{Term: r.term}},
	}
	m.reads.m = m
	if fault.Planted(r.host.cfg.Faults, "early-exec") {
		m.becomeReady()
	}
	return m
}

// becomeReady lets turns run. What is committed but not in the rows is taken from
// the entries.
func (m *master) becomeReady() {
	r := m.r
	m.ready = true
	for i := range r.rows.waiting {
		c := &r.rows.waiting[i]
		e := c.effects()
		if e == nil {
			continue
		}
		m.lastTime = max(m.lastTime, e.GetTime())
		for _, t := range e.GetTurns() {
			m.recall(t, e.GetTime(), c.entry.GetIndex())
		}
	}
	m.lastTime = max(m.lastTime, r.rows.base.GetTime())
	r.observe(EventMaster, r.applied, "", "")
	r.announce()
}

func (m *master) recall(t *messages.Turn, time int64, index uint64) {
	if t.GetState() != nil {
		m.rows[actorID{t.GetKind(), t.GetKey()}] = &liveRow{
			state: t.GetState().GetWhole(), version: t.GetVersion(), index: index,
		}
	}
	if t.GetRequest() != nil {
		m.session(t.GetRequest().GetClient()).add(t, time, index, m.r.host.cfg.Limits.StoredReplyBytes)
	}
}

// dropMaster ends a master's term: whoever waits is told to ask elsewhere.
func (r *Replica) dropMaster() {
	m := r.master
	if m == nil {
		return
	}
	r.master = nil
	r.observe(EventSlave, r.applied, "", "")
	m.reset(messages.Code_CODE_NOT_MASTER)
	r.transfer = nil
}

// reset drops all speculation. Requests whose effects were never proposed did not
// run; what became of the others only the log will tell.
func (m *master) reset(unrun messages.Code) {
	m.generation++
	for _, a := range m.sortedActs() {
		for _, t := range a.queue {
			m.abandon(t, &messages.Reply{Code: unrun, MasterNode: m.hint()})
		}
		a.queue = nil
		m.release(a)
	}
	m.busy = nil
	for _, b := range append(append(m.flying, m.queue...), m.open) {
		code := messages.Code_CODE_OUTCOME_UNKNOWN
		if b.index == 0 {
			code = unrun
		}
		for _, g := range b.replies {
			m.answer(g.req, &messages.Reply{Code: code, MasterNode: m.hint()})
		}
	}
	m.reads.reset(unrun)
	m.open, m.queue, m.flying, m.settled = &batch{entry: &messages.Entry{Term: m.term}}, nil, nil, nil
	m.rows, m.sessions, m.acts = map[actorID]*liveRow{}, map[string]*session{}, map[actorID]*activation{}
	m.idle = activationList{}
}

func (m *master) hint() string {
	if m.r.lead != 0 && m.r.lead != m.r.id {
		return m.r.peers[m.r.lead]
	}
	return ""
}

// request takes a call. A slave only says who the master may be.
func (r *Replica) request(req *call.Request) {
	m := r.master
	if m == nil || !m.ready || r.transfer != nil || r.parting || m.resumeAt > 0 || !r.majority() {
		reply := &messages.Reply{Code: messages.Code_CODE_NOT_MASTER, Partition: r.partition, Term: r.term}
		if m == nil && r.lead != 0 {
			reply.MasterNode = r.peers[r.lead]
		}
		req.Answer(reply)
		return
	}
	m.take(req)
}

func (m *master) take(req *call.Request) {
	m.requests++
	c := req.Call
	id := actorID{c.GetKind(), c.GetKey()}
	m.r.observe(EventRequest, 0, c.GetKind()+"/"+c.GetKey(), c.GetMethod())
	b, method, problem := m.method(c)
	if problem != nil {
		m.answer(req, problem)
		return
	}
	if c.GetQuery() && !method.Query {
		m.answer(req, &messages.Reply{Code: messages.Code_CODE_INVALID, Message: fmt.Sprintf("%s.%s is a command, and the call says that it is a query; the caller's contract is not this node's", c.GetKind(), c.GetMethod())})
		return
	}
	t := &turn{req: req, method: method}
	if !method.Query && c.GetRequest() != nil && !m.admit(t) {
		return
	}
	// Behind admit: a repetition of a request that runs must not be told that the
	// request did not run.
	if m.requests > m.r.host.cfg.Limits.QueuedRequests {
		m.endRunning(t)
		m.answer(req, &messages.Reply{
			Code: messages.Code_CODE_OVERLOADED, RetryAfterMs: 50,
			Message: fmt.Sprintf("partition %d has %d requests under way, the limit; try again a little later", m.r.partition, m.requests-1),
		})
		return
	}
	if method.Query {
		t.read = m.reads.arrive()
	}
	a := m.activation(id, b)
	a.queue = append(a.queue, t)
	m.start(a)
}

func (m *master) method(c *messages.Call) (*actors.Behavior, *actors.Method, *messages.Reply) {
	b := m.r.host.cfg.Behaviors[c.GetKind()]
	if b == nil {
		return nil, nil, &messages.Reply{Code: messages.Code_CODE_NOT_FOUND, Message: fmt.Sprintf("no behavior of kind %q on this node", c.GetKind())}
	}
	method, ok := b.Method(c.GetMethod())
	if !ok {
		return nil, nil, &messages.Reply{Code: messages.Code_CODE_NOT_FOUND, Message: fmt.Sprintf("%s has no method %q", c.GetKind(), c.GetMethod())}
	}
	if err := actors.ValidateKey(c.GetKey()); err != nil {
		return nil, nil, &messages.Reply{Code: messages.Code_CODE_INVALID, Message: err.Error()}
	}
	return b, method, nil
}

// admit looks a numbered command up in its session. False means that it was
// answered here, or waits for the first attempt's answer.
func (m *master) admit(t *turn) bool {
	id := t.req.Call.GetRequest()
	t.digest = digestOf(t.req.Call)
	if fault.Planted(m.r.host.cfg.Faults, "no-dedup") {
		return true
	}
	s := m.session(id.GetClient())
	if s.touched == 0 && !s.seen && id.GetLowWater() > 1 {
		m.answer(t.req, &messages.Reply{Code: messages.Code_CODE_SESSION_EXPIRED, Message: "this partition does not remember the session; whether earlier attempts of the request ran cannot be told: read the actor's state, then go on with a new session"})
		return false
	}
	s.seen = true
	s.raise(id.GetLowWater())
	if a := s.answers[id.GetSequence()]; a != nil {
		m.replay(t, a)
		return false
	}
	if id.GetSequence() != 0 && id.GetSequence() < s.lowWater {
		m.answer(t.req, &messages.Reply{Code: messages.Code_CODE_SESSION_EXPIRED, Message: "the client said that it has this request's answer already"})
		return false
	}
	if first := s.running[id.GetSequence()]; first != nil {
		if first.digest != t.digest {
			m.answer(t.req, conflict())
			return false
		}
		first.again = append(first.again, t.req)
		return false
	}
	if s.running == nil {
		s.running = map[uint64]*turn{}
	}
	s.running[id.GetSequence()] = t
	t.session = s
	return true
}

// replay answers with what was stored; not before the original is committed.
func (m *master) replay(t *turn, a *answer) {
	if a.digest != t.digest {
		m.answer(t.req, conflict())
		return
	}
	reply := m.replyOf(a)
	reply.Replayed = true
	if a.batch != nil && !fault.Planted(m.r.host.cfg.Faults, "dup-ungated") {
		a.batch.replies = append(a.batch.replies, gated{t.req, reply})
		return
	}
	m.answer(t.req, reply)
}

func (m *master) replyOf(a *answer) *messages.Reply {
	reply := &messages.Reply{Code: messages.Code_CODE_OK, Payload: a.reply, Index: a.index}
	if a.rejection != nil {
		reply.Code, reply.Rejection = messages.Code_CODE_REJECTED, a.rejection
	}
	if a.dropped {
		reply.Message = "the request was done before; its reply was too large to be kept for a retry"
	}
	return reply
}

func conflict() *messages.Reply {
	return &messages.Reply{Code: messages.Code_CODE_CONFLICT, Message: "the same request number or idempotency key was used for another request; use a new one for each request"}
}

// digestOf identifies what a request asks for.
func digestOf(c *messages.Call) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, part := range []string{c.GetKind(), c.GetKey(), c.GetMethod()} {
		_, _ = d.WriteString(part)
		_, _ = d.Write([]byte{0})
	}
	_, _ = d.Write(c.GetPayload())
	return d.Sum64()
}

// session returns what is known of a client, which may be nothing.
func (m *master) session(client []byte) *session {
	s := m.sessions[string(client)]
	if s == nil {
		s = m.r.storedSession(string(client))
		if s == nil || m.lastTime-s.touched > m.r.host.cfg.Limits.SessionTTL {
			s = newSession(string(client))
		}
		m.sessions[s.client] = s
	}
	return s
}

// answer ends a request.
func (m *master) answer(req *call.Request, reply *messages.Reply) {
	m.requests--
	reply.Partition, reply.Term = m.r.partition, m.term
	if reply.GetMasterNode() == "" && reply.GetCode() != messages.Code_CODE_NOT_MASTER && reply.GetCode() != messages.Code_CODE_OUTCOME_UNKNOWN {
		reply.MasterNode = m.r.host.cfg.NodeID
	}
	m.r.observe(EventReply, reply.GetIndex(), "", reply.GetCode().String())
	req.Answer(reply)
}

// propose gives raft the effects that wait, as far as the rounds in flight allow.
func (r *Replica) propose() {
	m := r.master
	if m == nil || !m.ready || m.resumeAt > 0 {
		return
	}
	if m.due() {
		m.queue = append(m.queue, m.open)
		m.open = &batch{entry: &messages.Entry{Term: m.term}}
	}
	for len(m.queue) > 0 && len(m.flying) < r.host.cfg.Limits.RoundsInFlight {
		b := m.queue[0]
		m.queue = m.queue[1:]
		if !m.proposeBatch(b) {
			return
		}
	}
	m.reads.ask()
	r.ready()
}

// proposeBatch proposes one entry. After a refusal nothing that was computed later
// may be proposed: all speculation goes, and turns wait until everything proposed
// before is applied.
func (m *master) proposeBatch(b *batch) bool {
	r := m.r
	r.ready() // lastIndex is exact only when raft has nothing more to hand over
	if r.master != m {
		return false
	}
	m.lastTime = max(m.lastTime+1, r.host.cfg.Clock())
	b.entry.Time, b.began = m.lastTime, m.r.host.cfg.Clock()
	data, err := proto.Marshal(b.entry)
	invariant(err == nil, "marshal an entry: %v", err)
	b.data = data
	fault.Here(r.host.cfg.Faults, "replica.propose")
	if err := r.rn.Propose(data); err != nil {
		r.logger.Warn("raft refused a proposal; its turns are dropped", "error", err)
		m.queue = append([]*batch{b}, m.queue...)
		m.resumeAt = r.lastIndex
		m.reset(messages.Code_CODE_NOT_MASTER)
		m.resume()
		return false
	}
	b.index = r.lastIndex + 1
	for _, a := range b.answers {
		a.index = b.index
	}
	m.flying = append(m.flying, b)
	r.observe(EventPropose, b.index, "", "")
	r.ready()
	invariant(r.master != m || r.lastIndex >= b.index, "entry %d was proposed, but the log ends at %d", b.index, r.lastIndex)
	return r.master == m
}

// resume lets turns run again after a refused proposal.
func (m *master) resume() {
	if m.resumeAt > 0 && m.r.applied >= m.resumeAt {
		m.resumeAt = 0
		m.becomeReady()
	}
}

// committed releases what waited for entries up to index.
func (m *master) committed(index, term uint64) {
	if !m.ready {
		if term == m.term && m.resumeAt == 0 {
			m.becomeReady()
		}
		return
	}
	for len(m.flying) > 0 && m.flying[0].index <= index {
		b := m.flying[0]
		m.flying = m.flying[1:]
		m.settle(b)
	}
	m.reads.advance()
	m.resume()
}

func (m *master) settle(b *batch) {
	m.r.observe(EventCommit, b.index, "", "")
	fault.Here(m.r.host.cfg.Faults, "replica.committed")
	requests := m.requests
	for _, a := range b.answers {
		a.batch = nil
	}
	for _, g := range b.replies {
		g.reply.Index = b.index
		m.answer(g.req, g.reply)
	}
	b.replies, b.answers = nil, nil
	m.settled = append(m.settled, b)
	m.gather.settled(m.r.host.cfg.Clock()-b.began, requests)
}

// written forgets the rows that are in the store now.
func (m *master) written(index uint64) {
	for len(m.settled) > 0 && m.settled[0].index <= index {
		b := m.settled[0]
		m.settled = m.settled[1:]
		for _, id := range b.actors {
			if row := m.rows[id]; row != nil && row.batch == b {
				delete(m.rows, id)
			}
		}
	}
	for id, row := range m.rows {
		if row.batch == nil && row.index <= index {
			delete(m.rows, id)
		}
	}
	m.forgetSessions(index)
}

// sessionsMax bounds the sessions kept in memory beside those that must be.
const sessionsMax = 4096

// forgetSessions lets go of sessions that can be read from the store again.
func (m *master) forgetSessions(index uint64) {
	if len(m.sessions) <= sessionsMax {
		return
	}
	for client, s := range m.sessions {
		newest := uint64(0)
		for _, a := range s.answers {
			if a.batch != nil {
				newest = index + 1
			}
			newest = max(newest, a.index)
		}
		if len(s.running) == 0 && newest <= index && newest > 0 {
			delete(m.sessions, client)
		}
	}
}

// decodedOf returns the effects of an entry that this master made itself.
func (r *Replica) decodedOf(e *pb.Entry) *messages.Entry {
	if m := r.master; m != nil && e.GetTerm() == m.term {
		for _, b := range m.flying {
			if b.index == e.GetIndex() {
				return b.entry
			}
		}
	}
	return nil
}

func (m *master) ticked() {
	m.overstayed()
	m.reads.ticked()
	m.resume()
}
