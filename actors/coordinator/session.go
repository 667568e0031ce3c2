package coordinator

import (
	"encoding/binary"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// session numbers the requests that came without a number. The requests that have
// a number and no answer yet form a window; its lower edge is the low-water mark.
type session struct {
	// id is shared by all the numbers given and never changed.
	id         []byte
	generation uint64
	// next is the sequence the next request gets.
	next uint64
	// window holds the requests with the sequences up to next, without a gap,
	// from the lowest unanswered one on. head is where it starts.
	window []*call.Request
	head   int
}

// sessionID is the id of the generation-th session that grows out of a client
// id: the id plus the generation, so that ids of one coordinator never meet.
func sessionID(client [16]byte, generation uint64) []byte {
	id := client
	binary.BigEndian.PutUint64(id[8:], binary.BigEndian.Uint64(client[8:])+generation)
	return id[:]
}

func newSession(client [16]byte, generation uint64) session {
	return session{id: sessionID(client, generation), generation: generation, next: 1}
}

// span counts the sequences from the lowest unanswered one to the newest.
func (s *session) span() int {
	for s.head < len(s.window) && s.window[s.head].Answered() {
		s.window[s.head] = nil
		s.head++
	}
	switch {
	case s.head == len(s.window):
		s.window, s.head = s.window[:0], 0
	case s.head >= 1024 && 2*s.head >= len(s.window):
		n := copy(s.window, s.window[s.head:])
		clear(s.window[n:])
		s.window, s.head = s.window[:n], 0
	}
	return len(s.window) - s.head
}

// number gives a request the next sequence.
func (s *session) number(r *call.Request) {
	low := s.next - uint64(s.span())
	r.Call.Request = &messages.RequestID{Client: s.id, Sequence: s.next, LowWater: low}
	r.Trail.Own, r.Trail.Generation = true, s.generation
	s.window = append(s.window, r)
	s.next++
}

// needsNumber reports whether the coordinator has to number a request.
func needsNumber(c *messages.Call) bool {
	return !c.GetQuery() && len(c.GetRequest().GetClient()) == 0
}
