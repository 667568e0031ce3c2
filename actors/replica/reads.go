package replica

import (
	"encoding/binary"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// reads makes queries linearizable. A query may be answered when
//
//  1. a majority confirmed, after the query came, that this replica is the master
//     (raft's ReadIndex; one question serves all queries that came before it), and
//  2. everything that the query saw is committed.
//
// At most one question is under way; queries that come meanwhile wait for the
// next. A question's context is never used twice: an answer to an old question
// must not confirm a new one (etcd issue 20418).
type reads struct {
	m *master
	// arrived wait for the next question, asked for the answer of the one under
	// way; confirmed ones wait for what they saw.
	arrived, asked, confirmed []*read
	context                   uint64
	askedAt                   uint64
}

// read is one query.
type read struct {
	executed  bool
	answered  bool
	confirmed bool
	gated     gated
	// saw is the newest batch that was not committed when the query ran.
	saw *batch
}

func (rs *reads) arrive() *read {
	rd := &read{}
	rs.arrived = append(rs.arrived, rd)
	rs.m.r.wake()
	return rd
}

// executed takes the reply that a query computed.
func (rs *reads) executed(rd *read, g gated) {
	rd.executed, rd.gated, rd.saw = true, g, rs.m.newest()
	if fault.Planted(rs.m.r.host.cfg.Faults, "stale-read") {
		rd.confirmed, rd.saw = true, nil
	}
	rs.tryAnswer(rd)
}

// ask asks a majority, if somebody waits and no question is under way.
func (rs *reads) ask() {
	if len(rs.arrived) == 0 || len(rs.asked) > 0 {
		return
	}
	rs.asked, rs.arrived = rs.arrived, nil
	rs.question()
}

func (rs *reads) question() {
	rs.context++
	rs.askedAt = rs.m.r.tick
	rs.m.r.rn.ReadIndex(rs.name())
}

func (rs *reads) name() []byte {
	b := binary.BigEndian.AppendUint64(nil, rs.m.term)
	return binary.BigEndian.AppendUint64(b, rs.context)
}

// readConfirmed takes raft's answer to a question.
func (m *master) readConfirmed(context string) {
	rs := &m.reads
	if context != string(rs.name()) {
		return
	}
	for _, rd := range rs.asked {
		rd.confirmed = true
		rs.tryAnswer(rd)
		if !rd.answered {
			rs.confirmed = append(rs.confirmed, rd)
		}
	}
	rs.asked = nil
}

// advance answers the queries whose wait for a commit is over.
func (rs *reads) advance() {
	kept := rs.confirmed[:0]
	for _, rd := range rs.confirmed {
		rs.tryAnswer(rd)
		if !rd.answered {
			kept = append(kept, rd)
		}
	}
	clear(rs.confirmed[len(kept):])
	rs.confirmed = kept
}

func (rs *reads) tryAnswer(rd *read) {
	if rd.answered || !rd.executed || !rd.confirmed {
		return
	}
	if b := rd.saw; b != nil && (b.index == 0 || b.index > rs.m.r.applied) {
		return
	}
	rd.answered = true
	rd.gated.reply.Index = rs.m.r.applied
	rs.m.answer(rd.gated.req, rd.gated.reply)
}

// ticked asks again when an answer is long in coming: messages get lost.
func (rs *reads) ticked() {
	if len(rs.asked) > 0 && rs.m.r.tick-rs.askedAt > 10 {
		rs.question()
	}
}

// reset answers the queries that were executed; the others are still in the
// queues of their actors, and answered there.
func (rs *reads) reset(code messages.Code) {
	for _, list := range [][]*read{rs.arrived, rs.asked, rs.confirmed} {
		for _, rd := range list {
			if rd.executed && !rd.answered {
				rd.answered = true
				rs.m.answer(rd.gated.req, &messages.Reply{Code: code, MasterNode: rs.m.hint()})
			}
		}
	}
	rs.arrived, rs.asked, rs.confirmed = nil, nil, nil
}
