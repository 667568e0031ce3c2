package storage

import (
	"bytes"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// Commit applies writes in order and, if sync, waits until they and everything
// before them are on disk. Their own Sync and Done are the caller's business.
// After an error the store accepts nothing more.
func (e *Engine) Commit(writes []*replica.Write, sync bool) error {
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed {
		return ErrClosed
	}
	e.batch.Reset()
	start := time.Now()
	waits, err := e.apply(e.batch, writes, sync)
	if err != nil || !waits {
		return err
	}
	return e.awaitSync(e.batch, start)
}

// apply makes writes visible, in order, through batch, which must be empty. If
// sync, it also starts to make them durable; waits then says that awaitSync must
// be called with the same batch. One goroutine at a time.
func (e *Engine) apply(batch *pebble.Batch, writes []*replica.Write, sync bool) (waits bool, err error) {
	if err := e.failure.err(); err != nil {
		return false, err
	}
	defer e.failure.guard(&err)
	for _, w := range writes {
		if err := appendOps(batch, w.Ops); err != nil {
			return false, e.failure.fail("take a write", err)
		}
		if batch.Len() >= e.cfg.BatchBytesMax {
			if err := e.applyNoSync(batch); err != nil {
				return false, err
			}
			batch.Reset()
		}
	}
	e.counts.committed(writes)
	if !sync {
		return false, e.applyNoSync(batch)
	}
	if batch.Empty() {
		if !e.unsynced {
			return false, nil // every earlier write has a sync of its own under way, or done
		}
		if err := batch.LogData(nil, nil); err != nil { // gives the sync something to be about
			return false, e.failure.fail("write to the log", err)
		}
	}
	e.counts.bytes.Add(uint64(batch.Len()))
	if err := e.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return false, e.failure.fail("write to the log", err)
	}
	e.unsynced = false
	return true, e.failure.err()
}

func (e *Engine) applyNoSync(batch *pebble.Batch) error {
	if batch.Empty() {
		return nil
	}
	e.unsynced = true
	e.counts.bytes.Add(uint64(batch.Len()))
	if err := e.db.Apply(batch, pebble.NoSync); err != nil {
		return e.failure.fail("write to the log", err)
	}
	return e.failure.err()
}

// awaitSync blocks until the batch is on disk. start is when its commit began.
func (e *Engine) awaitSync(batch *pebble.Batch, start time.Time) (err error) {
	defer e.failure.guard(&err)
	if err := batch.SyncWait(); err != nil {
		return e.failure.fail("sync the log to disk", err)
	}
	e.counts.commitSeconds.observe(time.Since(start).Seconds())
	// A failure elsewhere may have been about the same files.
	return e.failure.err()
}

// newBatch returns a batch that keeps its memory when it is reset.
func (e *Engine) newBatch() *pebble.Batch {
	return e.db.NewBatch(pebble.WithMaxRetainedSizeBytes(2 * e.cfg.BatchBytesMax))
}

func appendOps(batch *pebble.Batch, ops []replica.Op) error {
	for i := range ops {
		op := &ops[i]
		var err error
		switch op.Kind {
		case replica.Put:
			err = batch.Set(op.Key, op.Value, nil)
		case replica.Delete:
			err = batch.Delete(op.Key, nil)
		case replica.DeleteRange:
			if bytes.Compare(op.Key, op.Value) < 0 { // else it is empty, which Pebble does not allow
				err = batch.DeleteRange(op.Key, op.Value, nil)
			}
		default:
			err = fmt.Errorf("operation %d of %d has the unknown kind %d", i+1, len(ops), op.Kind)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
