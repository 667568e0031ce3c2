package storage

import (
	"errors"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Engine is a node's store without a queue: whoever commits waits. It has no
// goroutines but Pebble's own. Get, Scan, Identity and Metrics may be called from
// any goroutine; Commit and UpdateIdentity from one at a time.
type Engine struct {
	cfg     Config
	db      *pebble.DB
	lock    *pebble.Lock
	failure failure
	// watch ends the watch over a real disk's slow operations; nil: there is none.
	watch  io.Closer
	counts counters

	// batch is Commit's own.
	batch *pebble.Batch
	// unsynced: something was applied since the last sync was asked for. Used by
	// whoever commits.
	unsynced bool

	// open guards db against Close.
	open   sync.RWMutex
	closed bool
	views  views

	identity identity
}

// OpenEngine opens the store in cfg.Dir, creating it if need be, and counts one
// more boot in its identity. Every error is an *Error.
func OpenEngine(cfg Config) (*Engine, error) {
	cfg = cfg.withDefaults()
	if cfg.Dir == "" {
		return nil, &Error{Kind: Unreadable, Dir: `""`, What: "no directory was given", Next: "name one in Config.Dir"}
	}
	e := &Engine{cfg: cfg, counts: newCounters(), views: newViews()}
	fs := cfg.FS
	if fs == nil {
		fs, e.watch = watchedFS(e.failure.slow)
	}
	e.failure.fs, e.failure.dir, e.failure.log, e.failure.report = fs, cfg.Dir, cfg.Logger, cfg.OnFatal
	lock, err := claim(fs, cfg.Dir)
	if err != nil {
		return nil, errors.Join(err, e.unwatch())
	}
	e.lock = lock
	if err := e.start(); err != nil {
		return nil, explain(fs, cfg.Dir, "open the store", errors.Join(err, e.Close()))
	}
	return e, nil
}

func (e *Engine) start() (err error) {
	defer e.failure.guard(&err)
	if e.db, err = pebble.Open(e.cfg.Dir, e.options()); err != nil {
		return explain(e.failure.fs, e.cfg.Dir, "open the store", err)
	}
	e.failure.armed.Store(true)
	e.batch = e.newBatch()
	if err := e.boot(); err != nil {
		return err
	}
	e.failure.serving.Store(true)
	return e.failure.err()
}

func (e *Engine) options() *pebble.Options {
	opts := &pebble.Options{
		FS:                          newBreaker(e.failure.fs, &e.failure),
		Lock:                        e.lock,
		Logger:                      pebbleLog{&e.failure},
		EventListener:               e.failure.listener(),
		FormatMajorVersion:          pebble.FormatNewest, // logs that tell damage from an end that was cut short
		MemTableSize:                uint64(e.cfg.MemTableBytes),
		MemTableStopWritesThreshold: 4,
		CacheSize:                   int64(e.cfg.CacheBytes),
		DisableAutomaticCompactions: e.cfg.DisableCompactions,
		DisableTableStats:           e.cfg.DisableCompactions,
	}
	for i := range opts.Levels {
		// Most lookups of an actor that was never written end at the filter.
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	// What reaches level 0 is rewritten soon; compressing it costs more than it saves.
	opts.Levels[0].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	return opts
}

// Err returns the failure that ended the store, or nil.
func (e *Engine) Err() error { return e.failure.err() }

// Identity returns who the node is; the message is the caller's.
func (e *Engine) Identity() *messages.Identity { return e.identity.get() }

// Close syncs what was committed and gives the directory back. A store that
// failed in the middle of Pebble's work cannot be closed: its directory stays
// locked until the process ends.
func (e *Engine) Close() (err error) {
	e.open.Lock()
	defer e.open.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	if e.failure.stuck.Load() {
		return e.failure.err()
	}
	if e.db != nil {
		err = e.closeDB()
	}
	if e.failure.stuck.Load() {
		return err
	}
	return errors.Join(err, e.lock.Close(), e.unwatch())
}

func (e *Engine) unwatch() error {
	if e.watch == nil {
		return nil
	}
	return e.watch.Close()
}

func (e *Engine) closeDB() (err error) {
	defer e.failure.guard(&err)
	e.views.closeAll()
	// After a failure nobody waited for the batch's sync, and Pebble's log may still
	// write its end into it: then it is left to the garbage collector.
	if e.batch != nil && e.failure.err() == nil {
		_ = e.batch.Close() // its only error is that it was closed before
	}
	if err := e.db.Close(); err != nil {
		if failed := e.failure.err(); failed != nil {
			return failed
		}
		return explain(e.failure.fs, e.cfg.Dir, "close the store", err)
	}
	return nil
}
