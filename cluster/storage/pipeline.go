package storage

import (
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// group is the writes that share a batch and a sync, on their way from the queue
// over the writer to the waiter and back to the free list.
type group struct {
	writes []*replica.Write
	batch  *pebble.Batch
	// start is when the writer took the group.
	start time.Time
	// waits: the batch was committed and its sync is under way.
	waits bool
	err   error
}

// write is the writer: the only goroutine that changes the store. It takes a slot
// before it looks at the queue, so that everything that gathers while the disk is
// busy ends up in one group.
func (s *Store) write() {
	defer s.workers.Done()
	defer close(s.applied)
	for {
		s.slots <- struct{}{}
		g := <-s.free
		if !s.queue.take(g) {
			_ = g.batch.Close() // its only error is that it was closed before
			return
		}
		g.start = time.Now()
		g.waits, g.err = s.engine.apply(g.batch, g.writes, wantsSync(g.writes))
		s.applied <- g
	}
}

// wait is the waiter: it waits for the groups in order and calls Done. As a later
// group is never looked at before an earlier one is on disk, no answer can
// overtake a sync it depends on.
func (s *Store) wait() {
	defer s.workers.Done()
	for g := range s.applied {
		if g.waits {
			g.err = s.engine.awaitSync(g.batch, g.start)
		}
		<-s.slots
		for i, w := range g.writes {
			s.answer(w, g.err)
			g.writes[i] = nil
		}
		if g.err == nil {
			g.batch.Reset()
		} else {
			g.batch = s.engine.newBatch() // a failed batch may still be in use inside Pebble
		}
		g.writes, g.waits, g.err = g.writes[:0], false, nil
		s.free <- g
	}
	for len(s.free) > 0 {
		_ = (<-s.free).batch.Close() // its only error is that it was closed before
	}
}

// take blocks until there are writes and moves them all to g. False means the
// store is closed and the queue is empty.
func (q *queue) take(g *group) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.writes) == 0 {
		if q.closed {
			return false
		}
		q.wake.Wait()
	}
	q.writes, g.writes = g.writes[:0], q.writes
	return true
}

func wantsSync(writes []*replica.Write) bool {
	for _, w := range writes {
		if w.Sync {
			return true
		}
	}
	return false
}
