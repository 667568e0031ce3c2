package storage

import (
	"errors"
	"maps"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// Get returns the value at key, as of the newest commit. The value is the caller's.
func (e *Engine) Get(key []byte) (value []byte, found bool, err error) {
	return e.get(e.db, key)
}

// Scan visits the rows with from <= key < to in order, as of one moment, until
// visit returns an error, which it returns. Key and value are valid during visit.
// An error of the disk, here and in Get, ends the store like any other.
func (e *Engine) Scan(from, to []byte, visit func(key, value []byte) error) error {
	return e.scan(e.db, from, to, visit)
}

// Snapshot returns an unchanging view of the rows. It keeps what it sees on disk,
// so close it soon.
func (e *Engine) Snapshot() replica.Snapshot {
	e.open.RLock()
	defer e.open.RUnlock()
	v := &view{engine: e}
	if !e.closed {
		v.snapshot = e.db.NewSnapshot()
		e.views.add(v)
	}
	return v
}

func (e *Engine) get(from pebble.Reader, key []byte) (value []byte, found bool, err error) {
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed {
		return nil, false, ErrClosed
	}
	defer e.failure.guard(&err)
	v, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, e.failure.fail("read a row", err)
	}
	value = append(make([]byte, 0, len(v)), v...)
	return value, true, closer.Close()
}

func (e *Engine) scan(reader pebble.Reader, from, to []byte, visit func(key, value []byte) error) (err error) {
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed {
		return ErrClosed
	}
	visiting := false
	defer func() {
		if visiting {
			return // a panic in visit is the visitor's
		}
		if r := recover(); r != nil {
			err = e.failure.caught(r)
		}
	}()
	it, err := reader.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return e.failure.fail("read rows", err)
	}
	defer func() {
		if closeErr := it.Close(); err == nil && closeErr != nil {
			err = e.failure.fail("read rows", closeErr)
		}
	}()
	for valid := it.First(); valid; valid = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return e.failure.fail("read rows", err)
		}
		visiting = true
		err = visit(it.Key(), value)
		visiting = false
		if err != nil {
			return err
		}
	}
	return nil // an error of the iteration is returned by its Close
}

// view implements replica.Snapshot. One goroutine at a time.
type view struct {
	engine *Engine
	// snapshot is nil if the store was closed when the view was made, and once
	// the view is closed.
	snapshot *pebble.Snapshot
}

// Get implements replica.Snapshot.
func (v *view) Get(key []byte) (value []byte, found bool, err error) {
	if v.snapshot == nil {
		return nil, false, ErrClosed
	}
	return v.engine.get(v.snapshot, key)
}

// Scan implements replica.Snapshot.
func (v *view) Scan(from, to []byte, visit func(key, value []byte) error) error {
	if v.snapshot == nil {
		return ErrClosed
	}
	return v.engine.scan(v.snapshot, from, to, visit)
}

// Close implements replica.Snapshot.
func (v *view) Close() (err error) {
	e := v.engine
	e.open.RLock()
	defer e.open.RUnlock()
	if v.snapshot == nil || !e.views.remove(v) {
		return nil // the store was closed, and the view with it
	}
	defer e.failure.guard(&err)
	snapshot := v.snapshot
	v.snapshot = nil
	return snapshot.Close()
}

// views are the open snapshots of a store; those that are left when it is closed
// are closed with it.
type views struct {
	mu   sync.Mutex
	open map[*view]struct{}
}

func newViews() views { return views{open: map[*view]struct{}{}} }

func (s *views) add(v *view) {
	s.mu.Lock()
	s.open[v] = struct{}{}
	s.mu.Unlock()
}

func (s *views) remove(v *view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.open[v]
	delete(s.open, v)
	return found
}

// closeAll is called when nobody else can use the store any more.
func (s *views) closeAll() {
	for v := range maps.Keys(s.open) {
		_ = v.snapshot.Close() // it has no error but to be closed twice, which remove prevents
	}
	clear(s.open)
}
