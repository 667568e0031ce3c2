package storage

import (
	"sync"
	"sync/atomic"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Store is a node's store behind one queue of writes; it implements
// replica.Store. All methods may be called from any goroutine.
type Store struct {
	engine *Engine
	queue  queue

	// slots bounds how many groups wait for the disk; free keeps groups for reuse;
	// applied passes groups from the writer to the waiter, in order.
	slots   chan struct{}
	free    chan *group
	applied chan *group
	workers sync.WaitGroup
	close   func() error
}

var _ replica.Store = (*Store)(nil)

// queue holds the writes that were submitted and not yet taken by the writer.
type queue struct {
	mu     sync.Mutex
	wake   sync.Cond // signals the writer: writes is not empty, or closed
	writes []*replica.Write
	closed bool
	// bytes counts from Submit until Done, so it includes what the writer took.
	bytes atomic.Int64
}

// Open opens the store in cfg.Dir, creating it if need be, and counts one more
// boot in its identity. Every error is an *Error.
func Open(cfg Config) (*Store, error) {
	engine, err := OpenEngine(cfg)
	if err != nil {
		return nil, err
	}
	n := engine.cfg.Pipeline
	s := &Store{
		engine:  engine,
		slots:   make(chan struct{}, n),
		free:    make(chan *group, n+1), // one more, whose writes are being answered
		applied: make(chan *group, n+1),
	}
	s.queue.wake.L = &s.queue.mu
	s.close = sync.OnceValue(s.shutDown)
	for range n + 1 {
		s.free <- &group{batch: engine.newBatch()}
	}
	s.workers.Add(2)
	go s.write()
	go s.wait()
	return s, nil
}

// Get returns the value at key. It sees every write whose Done was called, and
// perhaps later ones. The value is the caller's.
func (s *Store) Get(key []byte) (value []byte, found bool, err error) { return s.engine.Get(key) }

// Scan visits the rows with from <= key < to in order, as of one moment, until
// visit returns an error, which it returns. Key and value are valid during visit.
func (s *Store) Scan(from, to []byte, visit func(key, value []byte) error) error {
	return s.engine.Scan(from, to, visit)
}

// Snapshot returns an unchanging view of the rows. It keeps what it sees on disk,
// so close it soon.
func (s *Store) Snapshot() replica.Snapshot { return s.engine.Snapshot() }

// Submit queues a write and returns at once, however long the queue is: see
// Pressure. On a closed store it calls w.Done itself, with ErrClosed.
func (s *Store) Submit(w *replica.Write) {
	s.queue.bytes.Add(int64(size(w)))
	q := &s.queue
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		s.answer(w, ErrClosed)
		return
	}
	q.writes = append(q.writes, w)
	if len(q.writes) == 1 {
		q.wake.Signal()
	}
	q.mu.Unlock()
}

// SubmitAll queues writes one after the other, with nothing in between, for less
// than as many calls of Submit.
func (s *Store) SubmitAll(writes []*replica.Write) {
	total := 0
	for _, w := range writes {
		total += size(w)
	}
	s.queue.bytes.Add(int64(total))
	q := &s.queue
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		for _, w := range writes {
			s.answer(w, ErrClosed)
		}
		return
	}
	q.writes = append(q.writes, writes...)
	q.wake.Signal()
	q.mu.Unlock()
}

// Pressure tells how full the queue is: 0 is empty, 1 is Config.QueueBytesMax.
// Above 1 no new work should be let in.
func (s *Store) Pressure() float64 {
	return float64(s.queue.bytes.Load()) / float64(s.engine.cfg.QueueBytesMax)
}

// Identity returns who the node is; the message is the caller's.
func (s *Store) Identity() *messages.Identity { return s.engine.Identity() }

// UpdateIdentity changes who the node is, and returns when the change is durable.
// It waits for the disk: actors use SubmitIdentity.
func (s *Store) UpdateIdentity(update func(*messages.Identity)) error {
	done := make(chan error, 1)
	s.SubmitIdentity(update, func(err error) { done <- err })
	return <-done
}

// SubmitIdentity changes who the node is, and calls done when the change is
// durable and shows in Identity. done must not block. What is in with changes in
// the same write: both happen or neither.
func (s *Store) SubmitIdentity(update func(*messages.Identity), done func(error), with ...replica.Op) {
	err := s.engine.identity.change(update, func(w *replica.Write, next *messages.Identity) {
		w.Ops = append(w.Ops, with...)
		w.Done = func(err error) {
			if err == nil {
				s.engine.identity.set(next)
			}
			done(err)
		}
		s.Submit(w)
	})
	if err != nil {
		done(err)
	}
}

// Err returns the failure that ended the store, or nil.
func (s *Store) Err() error { return s.engine.Err() }

// Metrics returns what the store has done so far.
func (s *Store) Metrics() Metrics {
	m := s.engine.Metrics()
	m.QueueBytes = s.queue.bytes.Load()
	return m
}

// Close commits and syncs what was submitted, then gives the directory back.
// Further calls return the same.
func (s *Store) Close() error { return s.close() }

// Kill closes the store as if the process had died: writes that wait are not
// made, and get ErrClosed.
func (s *Store) Kill() error {
	s.engine.failure.first.CompareAndSwap(nil, &Error{
		Dir: s.engine.cfg.Dir, What: "the node was killed",
		Next: "start it again", Err: ErrClosed,
	})
	return s.Close()
}

func (s *Store) shutDown() error {
	s.queue.mu.Lock()
	s.queue.closed = true
	s.queue.wake.Broadcast()
	s.queue.mu.Unlock()
	s.workers.Wait()
	return s.engine.Close()
}

func (s *Store) answer(w *replica.Write, err error) {
	s.queue.bytes.Add(-int64(size(w)))
	if w.Done != nil {
		w.Done(err)
	}
}

// opOverhead is what an operation takes beside its key and value.
const opOverhead = 16

func size(w *replica.Write) int {
	n := 0
	for i := range w.Ops {
		n += len(w.Ops[i].Key) + len(w.Ops[i].Value) + opOverhead
	}
	return n
}
