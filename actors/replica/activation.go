package replica

import (
	"container/list"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// turn is one request at one actor.
type turn struct {
	req     *call.Request
	method  *actors.Method
	digest  uint64
	session *session
	again   []*call.Request // the same request, asked again while it runs
	read    *read           // for queries
	ran     bool
	effects actors.Effects
	err     error
	panic   any
	stack   []byte
}

// turnRun is a batch of turns on its way to an activation and back.
type turnRun struct {
	act        *activation
	master     *master
	generation uint64
	// fresh and state: the activation starts from this state; otherwise it goes on
	// from where it is.
	fresh bool
	state []byte
	now   time.Time
	seed  uint64
	turns []*turn
	// detached: a handler overstayed and the loop went on without it.
	detached bool
}

// activation is the master's record of one live actor.
type activation struct {
	id       actorID
	behavior *actors.Behavior
	pid      *actor.PID
	warm     bool
	version  uint64
	queue    []*turn
	running  *turnRun
	since    uint64 // tick at which running started
	place    *list.Element
	panics   int
	panicked uint64 // tick of the newest panic
	resumeAt uint64 // tick until which the actor backs off
}

// activationList orders the idle activations, least recently used first.
type activationList struct{ l list.List }

func (m *master) sortedActs() []*activation {
	return slices.SortedFunc(maps.Values(m.acts), func(a, b *activation) int { return compareActors(a.id, b.id) })
}

// activation returns the live actor, which may be new.
func (m *master) activation(id actorID, b *actors.Behavior) *activation {
	a := m.acts[id]
	if a == nil {
		m.makeRoom()
		a = &activation{id: id, behavior: b}
		m.acts[id] = a
	}
	if a.place != nil {
		m.idle.l.Remove(a.place)
		a.place = nil
	}
	return a
}

// makeRoom passivates the least recently used idle actor when there are too many.
func (m *master) makeRoom() {
	for len(m.acts) >= m.r.host.cfg.Limits.Activations && m.idle.l.Len() > 0 {
		a, ok := m.idle.l.Front().Value.(*activation)
		invariant(ok, "a list of activations holds something else")
		m.release(a)
		m.idle.l.Remove(a.place)
		delete(m.acts, a.id)
	}
}

// release stops the actor behind an activation. A turn it still runs is lost.
func (m *master) release(a *activation) {
	if a.pid != nil {
		m.r.host.cfg.System.Root.Stop(a.pid)
		a.pid = nil
	}
	a.warm = false
	if run := a.running; run != nil {
		a.running = nil
		for _, t := range run.turns {
			m.abandon(t, &messages.Reply{Code: messages.Code_CODE_NOT_MASTER, MasterNode: m.hint()})
		}
	}
}

// abandon answers a turn whose effects are dropped.
func (m *master) abandon(t *turn, reply *messages.Reply) {
	m.endRunning(t)
	if t.read != nil {
		t.read.answered = true
	}
	for _, again := range t.again {
		m.answer(again, cloneReply(reply))
	}
	t.again = nil
	m.answer(t.req, reply)
}

func (m *master) endRunning(t *turn) {
	if t.session != nil {
		delete(t.session.running, t.req.Call.GetRequest().GetSequence())
		t.session = nil
	}
}

func cloneReply(r *messages.Reply) *messages.Reply {
	return &messages.Reply{
		Code: r.GetCode(), Payload: r.GetPayload(), Rejection: r.GetRejection(), Message: r.GetMessage(),
		MasterNode: r.GetMasterNode(), RetryAfterMs: r.GetRetryAfterMs(), Replayed: true,
	}
}

// start sends the queued turns to the activation, if it is free.
func (m *master) start(a *activation) {
	if a.running != nil || len(a.queue) == 0 {
		return
	}
	if a.resumeAt > m.r.tick {
		m.refuseBackingOff(a)
		return
	}
	run := &turnRun{
		act: a, master: m, generation: m.generation, turns: a.queue,
		now: time.Unix(0, m.r.host.cfg.Clock()), seed: m.r.host.cfg.Rand.Uint64(),
	}
	a.queue = nil
	if !a.warm {
		if problem := m.warm(a, run); problem != nil {
			for _, t := range run.turns {
				m.abandon(t, cloneReply(problem))
			}
			return
		}
	}
	a.running, a.since = run, m.r.tick
	m.busy = append(m.busy, a)
	m.r.host.cfg.System.Root.Send(a.pid, run)
}

// warm gives the run the actor's state to start from.
func (m *master) warm(a *activation, run *turnRun) *messages.Reply {
	run.fresh = true
	if live := m.rows[a.id]; live != nil {
		run.state, a.version = live.state, live.version
	} else {
		row, err := m.r.storedActor(a.id)
		if err != nil {
			return &messages.Reply{Code: messages.Code_CODE_FAILED, Message: err.Error()}
		}
		if row.GetBehaviorVersion() > a.behavior.Version() {
			return &messages.Reply{Code: messages.Code_CODE_FAILED, Message: fmt.Sprintf(
				"the state of %s was written by version %d of the behavior, this node has version %d: upgrade it", a.id, row.GetBehaviorVersion(), a.behavior.Version())}
		}
		run.state, a.version = row.GetState(), row.GetVersion()
	}
	if a.pid == nil {
		live := &liveActor{behavior: a.behavior, id: actors.ActorID{Kind: a.id.kind, Key: a.id.key}, loop: m.r.host.cfg.Loop, replica: m.r.pid}
		a.pid = m.r.host.cfg.System.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return live }, actor.WithDispatcher(m.r.host.cfg.Loop)))
	}
	a.warm = true
	return nil
}

func (m *master) refuseBackingOff(a *activation) {
	for _, t := range a.queue {
		m.abandon(t, &messages.Reply{
			Code: messages.Code_CODE_FAILED, RetryAfterMs: 1000,
			Message: fmt.Sprintf("%s panicked %d times in a short time and rests for a moment; the node's log has the stack", a.id, a.panics),
		})
	}
	a.queue = nil
}

// turnsDone takes the effects of a batch of turns. What an activation of another
// term, or of before a reset, sends is dropped: its requests were answered.
func (r *Replica) turnsDone(run *turnRun) {
	m, a := run.master, run.act
	if r.master != m || run.generation != m.generation || a.running != run {
		return
	}
	a.running = nil
	if i := slices.Index(m.busy, a); i >= 0 {
		m.busy = slices.Delete(m.busy, i, i+1)
	}
	if run.detached {
		m.release(a)
	}
	var unrun []*turn
	for _, t := range run.turns {
		switch {
		case !t.ran:
			unrun = append(unrun, t)
		case t.panic != nil:
			m.panicked(a, t)
		default:
			m.effects(a, t)
		}
	}
	a.queue = append(unrun, a.queue...)
	if len(a.queue) > 0 {
		m.start(a)
	} else if a.place == nil && m.acts[a.id] == a {
		a.place = m.idle.l.PushBack(a)
	}
}

// panicked answers the request that made the handler panic; the actor starts
// again from its committed state, at once the first few times, then after a pause.
func (m *master) panicked(a *activation, t *turn) {
	r := m.r
	r.logger.Error("a handler panicked; its effects are dropped", "actor", a.id.String(), "method", t.method.Name, "panic", fmt.Sprint(t.panic), "stack", string(t.stack))
	r.observe(EventPanic, 0, a.id.String(), fmt.Sprint(t.panic))
	if r.tick-a.panicked > 1200 {
		a.panics = 0
	}
	a.panics++
	a.panicked = r.tick
	if over := a.panics - r.host.cfg.Limits.PanicsBeforeBackoff; over > 0 {
		a.resumeAt = r.tick + uint64(min(1<<min(over, 9), 600))
	}
	m.release(a)
	m.abandon(t, &messages.Reply{
		Code:    messages.Code_CODE_FAILED,
		Message: fmt.Sprintf("%s.%s panicked: %v; nothing was changed", a.id, t.method.Name, t.panic),
	})
}

// effects puts what a turn did into the open entry, and its reply behind the gate.
func (m *master) effects(a *activation, t *turn) {
	m.r.observe(EventTurn, 0, a.id.String(), t.method.Name)
	reply := &messages.Reply{Code: messages.Code_CODE_OK, Payload: t.effects.Reply}
	if t.effects.Rejection != nil {
		reply.Code, reply.Rejection = messages.Code_CODE_REJECTED, t.effects.Rejection
	}
	if t.err != nil {
		reply = actors.ToReply(t.err)
	}
	if t.read != nil {
		m.reads.executed(t.read, gated{t.req, reply})
		return
	}
	if t.err != nil {
		m.refused(t, reply)
		return
	}
	m.record(a, t, reply)
}

// refused answers a turn that failed. What made it fail may be a state that is
// not committed yet, so the answer waits for it.
func (m *master) refused(t *turn, reply *messages.Reply) {
	m.endRunning(t)
	b := m.newest()
	for _, req := range append([]*call.Request{t.req}, t.again...) {
		g := gated{req, cloneReply(reply)}
		if b == nil {
			m.answer(g.req, g.reply)
		} else {
			b.replies = append(b.replies, g)
		}
	}
}

// newest returns the newest batch that is not committed; nil if all is.
func (m *master) newest() *batch {
	switch {
	case len(m.open.entry.GetTurns()) > 0:
		return m.open
	case len(m.queue) > 0:
		return m.queue[len(m.queue)-1]
	case len(m.flying) > 0:
		return m.flying[len(m.flying)-1]
	default:
		return nil
	}
}

func (m *master) record(a *activation, t *turn, reply *messages.Reply) {
	b := m.open
	e := &messages.Turn{
		Kind: a.id.kind, Key: a.id.key, Method: t.method.Name, BehaviorVersion: a.behavior.Version(),
		Reply: t.effects.Reply, Rejection: t.effects.Rejection,
	}
	if t.effects.Changed {
		a.version++
		e.Version = a.version
		e.State = &messages.StateChange{Change: &messages.StateChange_Whole{Whole: t.effects.State}}
		live := m.rows[a.id]
		if live == nil {
			live = &liveRow{}
			m.rows[a.id] = live
		}
		if live.batch != b {
			b.actors = append(b.actors, a.id)
		}
		live.state, live.version, live.batch = t.effects.State, a.version, b
	}
	if t.session != nil {
		e.Request, e.Digest = t.req.Call.GetRequest(), t.digest
		s := t.session
		m.endRunning(t)
		stored := s.add(e, m.lastTime, 0, m.r.host.cfg.Limits.StoredReplyBytes)
		stored.batch = b
		b.answers = append(b.answers, stored)
	}
	b.entry.Turns = append(b.entry.Turns, e)
	b.bytes += len(e.GetKey()) + len(t.effects.State) + len(t.effects.Reply) + 96
	b.replies = append(b.replies, gated{t.req, reply})
	for _, again := range t.again {
		b.replies = append(b.replies, gated{again, cloneReply(reply)})
	}
	if b.bytes > m.r.host.cfg.Limits.EntryBytes {
		m.queue = append(m.queue, b)
		m.open = &batch{entry: &messages.Entry{Term: m.term}}
	}
}

// overstayed gives up on handlers that run for too long.
func (m *master) overstayed() {
	for _, a := range slices.Clone(m.busy) {
		if m.r.tick-a.since <= m.r.host.cfg.Limits.TurnTicks {
			continue
		}
		run := a.running
		m.r.logger.Error("a handler does not return; its actor is given up", "actor", a.id.String())
		m.r.observe(EventOverstay, 0, a.id.String(), "")
		m.busy = slices.DeleteFunc(m.busy, func(b *activation) bool { return a == b })
		a.running = nil
		m.release(a)
		for i, t := range run.turns {
			text := fmt.Sprintf("a handler of %s did not return for %d ticks; its effects are dropped", a.id, m.r.host.cfg.Limits.TurnTicks)
			if i > 0 {
				text = fmt.Sprintf("%s was given up before this request ran", a.id)
			}
			m.abandon(t, &messages.Reply{Code: messages.Code_CODE_FAILED, Message: text})
		}
		if len(a.queue) > 0 {
			m.start(a)
		}
	}
}

// liveActor runs the handlers of one actor. It has no children, holds nothing but
// the state, and speaks only to its replica.
type liveActor struct {
	behavior *actors.Behavior
	id       actors.ActorID
	loop     *loop.Loop
	replica  *actor.PID
	live     *actors.Activation
	gone     bool
}

// Receive implements actor.Actor.
func (l *liveActor) Receive(ctx actor.Context) {
	run, ok := ctx.Message().(*turnRun)
	if !ok || l.gone {
		return
	}
	stay := l.loop.EnterUser()
	l.run(run)
	if !l.loop.LeaveUser(stay) {
		run.detached, l.gone = true, true
	}
	ctx.Send(l.replica, run)
}

func (l *liveActor) run(run *turnRun) {
	if run.fresh {
		live, err := l.behavior.Activate(l.id, run.state)
		if err != nil {
			for _, t := range run.turns {
				t.ran, t.err = true, err
			}
			return
		}
		l.live = live
	}
	for i, t := range run.turns {
		l.turn(run, t, uint64(i))
		if t.panic != nil {
			l.live = nil
			return
		}
	}
}

func (l *liveActor) turn(run *turnRun, t *turn, number uint64) {
	t.ran = true
	defer func() {
		if p := recover(); p != nil {
			t.panic, t.stack = p, debug.Stack()
		}
	}()
	in := actors.Input{Method: t.method, Payload: t.req.Call.GetPayload(), Now: run.now, Seed: run.seed + number}
	if t.method.Query {
		t.effects, t.err = l.live.Query(in)
	} else {
		t.effects, t.err = l.live.Command(in)
	}
}
