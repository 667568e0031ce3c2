package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// failure is the one failure a store may have in its life. The first one wins;
// from then on nothing is acknowledged, and breaker keeps the disk as it is.
//
// What the breaker does not see are Pebble's own last words: it ends the process
// where it finds itself in a state that cannot be (Logger.Fatalf), or panics. Both
// end up here instead, so that the node can say what happened and stop in its own
// way. The goroutine that met the failure never goes on as if nothing had
// happened: on a call of ours it unwinds to that call; on a goroutine of Pebble's
// it ends. What such a goroutine held stays held, therefore Close leaves a store
// alone that failed in this way.
type failure struct {
	fs     FS
	dir    string
	log    *slog.Logger
	report func(error)

	first atomic.Pointer[Error]
	// armed: Pebble is open, so a failure is kept from it; see breaker.
	armed atomic.Bool
	// serving: Open has returned, so a failure is reported to OnFatal.
	serving atomic.Bool
	// stuck: Pebble stopped in the middle of something and cannot be closed.
	stuck atomic.Bool
}

// err returns the failure, or nil while there is none.
func (f *failure) err() error {
	if e := f.first.Load(); e != nil {
		return e
	}
	return nil
}

// fail records a failure, reports it if it is the first, and returns the first.
func (f *failure) fail(what string, err error) error {
	e := explain(f.fs, f.dir, what, err)
	if !f.first.CompareAndSwap(nil, e) {
		return f.first.Load()
	}
	if f.serving.Load() {
		f.log.Error("the store failed; the node must stop", "dir", f.dir, "error", e)
		if f.report != nil {
			f.report(e)
		}
	}
	return e
}

// caught turns a recovered panic into the failure.
func (f *failure) caught(recovered any) error {
	f.stuck.Store(true)
	err, ok := recovered.(error)
	if !ok {
		err = fmt.Errorf("%v", recovered)
	}
	return f.fail("the store stopped", err)
}

// guard is deferred around every call into Pebble.
func (f *failure) guard(err *error) {
	if r := recover(); r != nil {
		*err = f.caught(r)
	}
}

// listener returns what Pebble calls when something happens in the background.
func (f *failure) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			if !errors.Is(err, pebble.ErrCancelledCompaction) {
				_ = f.fail("background work failed", err)
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			_ = f.fail("read "+info.Path, fmt.Errorf("%w: %w", info.Details, pebble.ErrCorruption))
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			f.log.Warn("writes wait for the disk to catch up", "dir", f.dir, "reason", info.Reason)
		},
	}
}

// slow is called by the watch over the disk.
func (f *failure) slow(info pebble.DiskSlowInfo) {
	f.log.Warn("the disk is slow", "dir", f.dir, "file", info.Path,
		"operation", info.OpType.String(), "duration", info.Duration)
}

// pebbleLog is Pebble's logger.
type pebbleLog struct{ failure *failure }

// Infof implements pebble.Logger. Pebble is talkative: this is for debugging.
func (l pebbleLog) Infof(format string, args ...any) {
	if l.failure.log.Enabled(context.Background(), slog.LevelDebug) {
		l.failure.log.Debug("pebble", "text", fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l pebbleLog) Errorf(format string, args ...any) {
	l.failure.log.Warn("pebble", "dir", l.failure.dir, "text", fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It does not return.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := error(&fatalError{text: fmt.Sprintf(format, args...), cause: firstError(args)})
	err = l.failure.fail("the store stopped", err)
	if calledByUs() {
		panic(err) // recovered by guard, which every call of ours has deferred
	}
	l.failure.stuck.Store(true)
	runtime.Goexit()
}

// fatalError is a last word of Pebble's, with the error it was about.
type fatalError struct {
	text  string
	cause error
}

func (e *fatalError) Error() string { return e.text }
func (e *fatalError) Unwrap() error { return e.cause }

func firstError(args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return nil
}

// calledByUs reports whether a method of Engine is on the caller's stack.
func calledByUs() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if strings.Contains(frame.Function, "cluster/storage.(*Engine).") {
			return true
		}
		if !more {
			return false
		}
	}
}
