package replica

import (
	"maps"
	"slices"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// session is what a partition remembers of one client: the answers to its
// requests that it may still ask again.
//
// The idea is that of RIFL (Lee et al., 2015): the answer is stored with the
// effects, in one entry, and forgotten once the client's own low-water mark says
// that it was received.
type session struct {
	client   string
	touched  int64
	lowWater uint64
	answers  map[uint64]*answer
	// seen is set once this master admitted a request of the session.
	seen bool
	// running are the requests under way on the master that have no answer yet.
	running map[uint64]*turn
}

// answer is one stored answer.
type answer struct {
	sequence  uint64
	index     uint64
	reply     []byte
	rejection *messages.Rejection
	digest    uint64
	dropped   bool
	// batch is the entry that holds the answer, while this master has it under
	// way; nil when it is committed.
	batch *batch
}

func newSession(client string) *session {
	return &session{client: client, lowWater: 1, answers: map[uint64]*answer{}}
}

func sessionOf(client string, row *messages.SessionRow) *session {
	s := newSession(client)
	s.touched, s.lowWater = row.GetTouched(), row.GetLowWater()
	for _, a := range row.GetAnswers() {
		s.answers[a.GetSequence()] = &answer{
			sequence: a.GetSequence(), index: a.GetIndex(), reply: a.GetReply(),
			rejection: a.GetRejection(), digest: a.GetDigest(), dropped: a.GetReplyDropped(),
		}
	}
	return s
}

// add records the answer that a turn's effects carry.
func (s *session) add(t *messages.Turn, time int64, index uint64, replyMax int) *answer {
	s.touched = max(s.touched, time)
	s.raise(t.GetRequest().GetLowWater())
	a := &answer{
		sequence: t.GetRequest().GetSequence(), index: index, reply: t.GetReply(),
		rejection: t.GetRejection(), digest: t.GetDigest(),
	}
	if len(a.reply) > replyMax {
		a.reply, a.dropped = nil, true
	}
	if a.sequence >= s.lowWater || a.sequence == 0 {
		s.answers[a.sequence] = a
	}
	return a
}

// raise forgets the answers that the client has.
func (s *session) raise(lowWater uint64) {
	if lowWater <= s.lowWater {
		return
	}
	if lowWater-s.lowWater <= uint64(len(s.answers)) {
		for q := s.lowWater; q < lowWater; q++ {
			delete(s.answers, q)
		}
	} else {
		maps.DeleteFunc(s.answers, func(q uint64, _ *answer) bool { return q != 0 && q < lowWater })
	}
	s.lowWater = lowWater
}

func (s *session) row() *messages.SessionRow {
	row := &messages.SessionRow{Touched: s.touched, LowWater: s.lowWater}
	for _, q := range slices.Sorted(maps.Keys(s.answers)) {
		a := s.answers[q]
		row.Answers = append(row.Answers, &messages.Answer{
			Sequence: q, Reply: a.reply, Rejection: a.rejection, Digest: a.digest, Index: a.index, ReplyDropped: a.dropped,
		})
	}
	return row
}
