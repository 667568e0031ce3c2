package storage

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// injector makes file operations fail while it is on.
type injector struct {
	on    atomic.Bool
	hits  atomic.Int64
	err   error
	match func(errorfs.Op) bool
}

func (i *injector) String() string { return "injector" }

func (i *injector) MaybeError(op errorfs.Op) error {
	if !i.on.Load() || !i.match(op) {
		return nil
	}
	i.hits.Add(1)
	return i.err
}

// fatals collects the calls of OnFatal.
type fatals struct {
	mu   sync.Mutex
	errs []error
	told chan error
}

func newFatals() *fatals { return &fatals{told: make(chan error, 100)} }

func (f *fatals) call(err error) {
	f.mu.Lock()
	f.errs = append(f.errs, err)
	f.mu.Unlock()
	f.told <- err
}

func (f *fatals) all() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.errs
}

func isLogWrite(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".log")
}

func TestTheFirstFailureOfTheLogIsFinal(t *testing.T) {
	for _, test := range []struct {
		name  string
		match func(errorfs.Op) bool
	}{
		{"sync", isLogSync},
		{"write", isLogWrite},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk, fatal := NewDisk(), newFatals()
			fault := &injector{err: syscall.EIO, match: test.match}
			s := open(t, Config{FS: errorfs.Wrap(disk.FS(), fault), OnFatal: fatal.call})
			if err := write(t, s, true, put("k0", "")); err != nil {
				t.Fatal(err)
			}
			fault.on.Store(true)
			done := make(chan error, 100)
			for i := range 100 {
				s.Submit(&replica.Write{Ops: []replica.Op{put(fmt.Sprintf("k%d", i+1), "")}, Sync: true, Done: func(err error) { done <- err }})
			}
			for range 100 {
				if err := await(t, done); !errors.Is(err, syscall.EIO) {
					t.Fatalf("Done(%v), want the disk's error", err)
				}
			}
			fault.on.Store(false) // the next sync would succeed, and mean nothing
			if err := write(t, s, true, put("k", "")); !errors.Is(err, syscall.EIO) {
				t.Errorf("a write after the failure: %v, want the first error", err)
			}
			if err := s.UpdateIdentity(func(id *messages.Identity) { id.Name = "x" }); err == nil || s.Identity().GetName() != "" {
				t.Errorf("the identity changed after the failure: %v", err)
			}
			if got := fault.hits.Load(); got != 1 {
				t.Errorf("the failed operation was tried %d times, want once", got)
			}
			if got := fatal.all(); len(got) != 1 || !errors.Is(got[0], syscall.EIO) {
				t.Errorf("OnFatal got %v, want one error", got)
			}
			_ = s.Close() // reports the failure again, or nothing: it must only end
			again := open(t, Config{FS: disk.Crash(0, nil).FS()})
			if diff := cmp.Diff([]string{"k0="}, rows(t, again)); diff != "" {
				t.Errorf("after the restart (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFailureInTheBackgroundIsReported(t *testing.T) {
	for _, test := range []struct {
		name  string
		match func(errorfs.Op) bool
	}{
		{"manifest sync", func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, "MANIFEST")
		}},
		{"manifest write", func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.Contains(op.Path, "MANIFEST")
		}},
		{"table write", func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpFileWrite && strings.HasSuffix(op.Path, ".sst")
		}},
		{"log creation", func(op errorfs.Op) bool {
			return op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".log") ||
				op.Kind == errorfs.OpReuseForWrite
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk, fatal := NewDisk(), newFatals()
			fault := &injector{err: syscall.EIO, match: test.match}
			s := open(t, Config{FS: errorfs.Wrap(disk.FS(), fault), OnFatal: fatal.call, MemTableBytes: 256 << 10})
			if err := write(t, s, true, put("k0", "")); err != nil {
				t.Fatal(err)
			}
			fault.on.Store(true)
			value := strings.Repeat("v", 10_000)
			acked := 0
			for err := error(nil); err == nil; acked++ {
				if acked > 10_000 {
					t.Fatal("the store never failed")
				}
				err = write(t, s, true, put(fmt.Sprintf("ack%05d", acked), value))
			}
			acked--
			if err := await(t, fatal.told); !errors.Is(err, syscall.EIO) && !strings.Contains(err.Error(), "input/output error") {
				t.Errorf("OnFatal got %v, want the disk's error", err)
			}
			survivor := disk.Crash(0, nil)
			_ = s.Close() // must end, whatever Pebble is stuck in
			if got := fatal.all(); len(got) != 1 {
				t.Errorf("OnFatal was called %d times, want once: %v", len(got), got)
			}
			again := open(t, Config{FS: survivor.FS()})
			for i := range acked {
				if _, found, err := again.Get(fmt.Appendf(nil, "ack%05d", i)); !found || err != nil {
					t.Fatalf("write %d of %d that were acknowledged is lost: %v", i, acked, err)
				}
			}
		})
	}
}

func TestAFullDiskLosesNothingThatWasAcknowledged(t *testing.T) {
	for n := range 60 { // the disk is full from the n-th write to it on
		disk, fatal := NewDisk(), newFatals()
		left := atomic.Int64{}
		left.Store(int64(n))
		fault := &injector{err: syscall.ENOSPC, match: func(op errorfs.Op) bool {
			takesSpace := op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate
			return takesSpace && left.Add(-1) < 0
		}}
		fault.on.Store(true)
		acked := fillDisk(t, Config{FS: errorfs.Wrap(disk.FS(), fault), MemTableBytes: 256 << 10, OnFatal: fatal.call})
		again := open(t, Config{FS: disk.Crash(0, nil).FS()}) // now there is space
		for i := range acked {
			if _, found, err := again.Get(fmt.Appendf(nil, "k%05d", i)); !found || err != nil {
				t.Fatalf("full from operation %d: write %d of %d that were acknowledged is lost: %v", n, i, acked, err)
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// fillDisk writes until the disk is full and returns how many writes were
// acknowledged.
func fillDisk(t *testing.T, cfg Config) (acked int) {
	t.Helper()
	s, err := Open(quiet(cfg))
	value := strings.Repeat("v", 10_000)
	if err == nil {
		for acked = -1; err == nil; acked++ {
			err = write(t, s, true, put(fmt.Sprintf("k%05d", acked+1), value))
		}
		_ = s.Close() // the failure is in err already
	}
	var e *Error
	if !errors.As(err, &e) || e.Kind != DiskFull {
		t.Fatalf("got %v, want an *Error that says the disk is full", err)
	}
	if text := err.Error(); !strings.Contains(text, "store") || !strings.Contains(text, "free space on that file system") {
		t.Errorf("the error does not name the directory or the next step: %s", text)
	}
	return acked
}
