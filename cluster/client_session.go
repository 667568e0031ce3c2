package cluster

import (
	"crypto/rand"
	"sync"
	"sync/atomic"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// sessionSpanMax bounds how far the numbers of a session run ahead of its lowest
// unsettled one: the partition keeps that many answers. Beyond it, the commands
// that follow get a new session.
const sessionSpanMax = 4096

// session numbers the commands of one client on one partition: 1, 2, 3, ...
type session struct {
	// client is shared by all numbers given, and never changed.
	client []byte
	next   uint64
	// window holds the commands with the numbers up to next, without a gap, from
	// the lowest unsettled one on; head is where it starts.
	window []*operation
	head   int
	// known says that the partition has stored an answer under this session. Until
	// then the mark stays at 1: a higher one would mean a session it forgot.
	known atomic.Bool
}

// partitionSession is the session that the next command of a partition belongs
// to.
type partitionSession struct {
	mu      sync.Mutex
	current *session
}

// number gives a command its number.
func (p *partitionSession) number(op *operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numberLocked(op)
}

func (p *partitionSession) numberLocked(op *operation) {
	if p.current == nil || p.current.span() >= sessionSpanMax {
		p.current = newSession()
	}
	s := p.current
	op.session = s
	low := s.next - uint64(s.span())
	if !s.known.Load() {
		low = 1
	}
	op.call.Request = &messages.RequestID{Client: s.client, Sequence: s.next, LowWater: low}
	op.request.Store(op.call.GetRequest())
	s.window = append(s.window, op)
	s.next++
}

// retire lets no more commands into a session.
func (p *partitionSession) retire(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == s {
		p.current = nil
	}
}

// renew numbers a command again, in a session that the partition has not seen.
func (p *partitionSession) renew(op *operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == op.session {
		p.current = nil
	}
	p.numberLocked(op)
}

func newSession() *session {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails: see crypto/rand
	return &session{client: id, next: 1}
}

// span counts the numbers from the lowest unsettled command to the newest.
func (s *session) span() int {
	for s.head < len(s.window) && s.window[s.head].settled.Load() {
		s.window[s.head] = nil
		s.head++
	}
	switch {
	case s.head == len(s.window):
		s.window, s.head = s.window[:0], 0
	case s.head >= 64 && 2*s.head >= len(s.window):
		n := copy(s.window, s.window[s.head:])
		clear(s.window[n:])
		s.window, s.head = s.window[:n], 0
	}
	return len(s.window) - s.head
}
