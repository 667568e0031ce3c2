package storage

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// patience bounds how long a test waits for something that must happen.
const patience = 20 * time.Second

func quiet(cfg Config) Config {
	cfg.Logger = slog.New(slog.DiscardHandler)
	if cfg.Dir == "" {
		cfg.Dir = "store"
	}
	return cfg
}

func open(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(quiet(cfg))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() }) // tests that care look at its error themselves
	return s
}

func put(key, value string) replica.Op {
	return replica.Op{Kind: replica.Put, Key: []byte(key), Value: []byte(value)}
}

// write submits one write and waits until it is done.
func write(t testing.TB, s *Store, sync bool, ops ...replica.Op) error {
	t.Helper()
	done := make(chan error, 1)
	s.Submit(&replica.Write{Ops: ops, Sync: sync, Done: func(err error) { done <- err }})
	return await(t, done)
}

func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing happened within %v", patience)
		panic("not reached")
	}
}

// rows returns what is at and above the prefix 'k' as key=value.
func rows(t testing.TB, s interface {
	Scan(from, to []byte, visit func(k, v []byte) error) error
},
) []string {
	t.Helper()
	var got []string
	err := s.Scan([]byte("k"), []byte("l"), func(k, v []byte) error {
		got = append(got, fmt.Sprintf("%s=%s", k, v))
		return nil
	})
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	return got
}

func TestWhatIsWrittenCanBeReadAlsoAfterAReopen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // Pebble leaves goroutines behind when Open fails
	dir := t.TempDir() + "/a/b"
	s := open(t, Config{Dir: dir})
	for _, ops := range [][]replica.Op{
		{put("k1", "1"), put("k2", "2"), put("k3", "3"), put("k4", "4"), put("k5", "")},
		{{Kind: replica.Delete, Key: []byte("k1")}, put("k2", "two")},
		{{Kind: replica.DeleteRange, Key: []byte("k3"), Value: []byte("k5")}},
		{{Kind: replica.DeleteRange, Key: []byte("k5"), Value: []byte("k2")}}, // empty: the wrong way round
	} {
		if err := write(t, s, false, ops...); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"k2=two", "k5="}
	if diff := cmp.Diff(want, rows(t, s)); diff != "" {
		t.Errorf("before the reopen (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Config{Dir: dir})
	if diff := cmp.Diff(want, rows(t, s)); diff != "" {
		t.Errorf("after the reopen (-want +got):\n%s", diff)
	}
	if v, found, err := s.Get([]byte("k2")); string(v) != "two" || !found || err != nil {
		t.Errorf("Get(k2) = %q, %v, %v", v, found, err)
	}
	if v, found, err := s.Get([]byte("k1")); v != nil || found || err != nil {
		t.Errorf("Get(k1) = %q, %v, %v", v, found, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestScanEndsWithTheVisitorsError(t *testing.T) {
	s := open(t, Config{FS: Memory()})
	if err := write(t, s, false, put("k1", ""), put("k2", "")); err != nil {
		t.Fatal(err)
	}
	enough, visits := errors.New("enough"), 0
	err := s.Scan([]byte("k"), []byte("l"), func(_, _ []byte) error { visits++; return enough })
	if !errors.Is(err, enough) || visits != 1 {
		t.Errorf("Scan = %v after %d visits, want %v after 1", err, visits, enough)
	}
	func() {
		defer func() {
			if r := recover(); r != "mine" {
				t.Errorf("recovered %v, want the visitor's own panic", r)
			}
		}()
		_ = s.Scan([]byte("k"), []byte("l"), func(_, _ []byte) error { panic("mine") })
	}()
	if err := write(t, s, true, put("k3", "")); err != nil {
		t.Errorf("a write after the visitor panicked: %v", err)
	}
}

func TestASnapshotDoesNotChange(t *testing.T) {
	s := open(t, Config{FS: Memory()})
	if err := write(t, s, false, put("k1", "old")); err != nil {
		t.Fatal(err)
	}
	view, left := s.Snapshot(), s.Snapshot()
	if err := write(t, s, false, put("k1", "new"), put("k2", "")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"k1=old"}, rows(t, view)); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	if v, found, err := view.Get([]byte("k1")); string(v) != "old" || !found || err != nil {
		t.Errorf("Get = %q, %v, %v", v, found, err)
	}
	if err := errors.Join(view.Close(), view.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close of the store under an open snapshot: %v", err)
	}
	if _, _, err := left.Get([]byte("k1")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get from a snapshot of a closed store: %v", err)
	}
	if err := errors.Join(left.Close(), s.Snapshot().Close()); err != nil {
		t.Errorf("Close after the store's: %v", err)
	}
}

func TestDoneIsCalledInOrderAndOnce(t *testing.T) {
	s := open(t, Config{FS: Memory(), BatchBytesMax: 300})
	const n = 2000
	order := make(chan int, 2*n)
	for i := range n {
		s.Submit(&replica.Write{
			Ops:  []replica.Op{put(fmt.Sprintf("k%05d", i), "some value")},
			Sync: i%7 == 0,
			Done: func(err error) {
				if err != nil {
					t.Errorf("write %d: %v", i, err)
				}
				if _, found, err := s.Get(fmt.Appendf(nil, "k%05d", i)); !found || err != nil {
					t.Errorf("write %d is done and not there: %v", i, err)
				}
				order <- i
			},
		})
	}
	s.SubmitAll([]*replica.Write{{}, {Sync: true}, {Done: nil}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	close(order)
	want := 0
	for got := range order {
		if got != want {
			t.Fatalf("Done of write %d came when that of %d was due", got, want)
		}
		want++
	}
	if want != n {
		t.Errorf("%d of %d writes are done after Close", want, n)
	}
	if got := s.Pressure(); got != 0 {
		t.Errorf("Pressure = %v after Close, want 0", got)
	}
}

func TestAClosedStoreRefuses(t *testing.T) {
	s := open(t, Config{FS: Memory()})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := write(t, s, false, put("k", "")); !errors.Is(err, ErrClosed) {
		t.Errorf("write: %v, want %v", err, ErrClosed)
	}
	if _, _, err := s.Get([]byte("k")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get: %v, want %v", err, ErrClosed)
	}
	if err := s.UpdateIdentity(func(*messages.Identity) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("UpdateIdentity: %v, want %v", err, ErrClosed)
	}
	if m := s.Metrics(); m.Writes == 0 {
		t.Errorf("Metrics of a closed store: %+v", m)
	}
}

// gate is a disk whose syncs of the log wait until they are let through.
type gate struct {
	closed atomic.Bool
	open   chan struct{}
	// waiting gets a value when a sync starts to wait.
	waiting chan struct{}
}

func newGate() *gate {
	return &gate{open: make(chan struct{}), waiting: make(chan struct{}, 100)}
}

func (g *gate) String() string { return "gate" }

func (g *gate) MaybeError(op errorfs.Op) error {
	if g.closed.Load() && isLogSync(op) {
		g.waiting <- struct{}{}
		<-g.open
	}
	return nil
}

func isLogSync(op errorfs.Op) bool {
	isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	return isSync && len(op.Path) > 4 && op.Path[len(op.Path)-4:] == ".log"
}

func TestWritesGatherWhileTheDiskIsBusy(t *testing.T) {
	g := newGate()
	s := open(t, Config{FS: errorfs.Wrap(NewDisk().FS(), g), QueueBytesMax: 1000})
	before := s.Metrics()
	g.closed.Store(true)

	done := make(chan error, 1000)
	submit := func() {
		s.Submit(&replica.Write{Ops: []replica.Op{put("k", "0123456789")}, Sync: true, Done: func(err error) { done <- err }})
	}
	submit()
	await(t, g.waiting)
	for range 500 {
		submit()
	}
	if got := s.Pressure(); got < 10 || got > 20 {
		t.Errorf("Pressure = %v with 501 writes of 27 bytes and a limit of 1000 bytes", got)
	}
	select {
	case err := <-done:
		t.Fatalf("a write was acknowledged before its sync: %v", err)
	default:
	}
	g.closed.Store(false)
	close(g.open)
	for range 501 {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	after := s.Metrics()
	if got := after.Writes - before.Writes; got != 501 {
		t.Errorf("%d writes were counted, want 501", got)
	}
	if groups := after.Groups - before.Groups; groups > 3 {
		t.Errorf("501 writes became %d groups, want at most 3: one at once, one while it syncs, one for the rest", groups)
	}
	if syncs := after.SyncSeconds.Count - before.SyncSeconds.Count; syncs > 3 {
		t.Errorf("501 writes took %d syncs, want at most 3", syncs)
	}
	if after.GroupWrites.Count != after.Groups || after.CommitSeconds.Count == 0 || after.LogBytes <= before.LogBytes {
		t.Errorf("metrics: %+v", after)
	}
}

func TestKillDropsWhatWaits(t *testing.T) {
	g := newGate()
	disk := NewDisk()
	s := open(t, Config{FS: errorfs.Wrap(disk.FS(), g)})
	if err := write(t, s, true, put("k1", "")); err != nil {
		t.Fatal(err)
	}
	g.closed.Store(true)
	done := make(chan error, 3)
	for i := range 3 {
		s.Submit(&replica.Write{Ops: []replica.Op{put(fmt.Sprintf("k%d", i+2), "")}, Sync: true, Done: func(err error) { done <- err }})
	}
	await(t, g.waiting)
	survivor := disk.Crash(0, nil)
	killed := make(chan error, 1)
	go func() { killed <- s.Kill() }()
	for s.Err() == nil {
		_ = write(t, open(t, Config{FS: Memory()}), true, put("k", "")) // something else to do until Kill has begun
	}
	g.closed.Store(false)
	close(g.open)
	for range 3 {
		if err := await(t, done); !errors.Is(err, ErrClosed) {
			t.Errorf("a write that waited got %v, want %v", err, ErrClosed)
		}
	}
	await(t, killed)
	again := open(t, Config{FS: survivor.FS()})
	if diff := cmp.Diff([]string{"k1="}, rows(t, again)); diff != "" {
		t.Errorf("after the kill (-want +got):\n%s", diff)
	}
}

func TestAnEmptySyncWriteMakesEarlierWritesDurable(t *testing.T) {
	disk := NewDisk()
	s := open(t, Config{FS: disk.FS()})
	if err := write(t, s, false, put("k1", "1")); err != nil {
		t.Fatal(err)
	}
	if err := write(t, s, true); err != nil {
		t.Fatal(err)
	}
	syncs := s.Metrics().SyncSeconds.Count
	if err := write(t, s, true); err != nil {
		t.Fatal(err)
	}
	if got := s.Metrics().SyncSeconds.Count; got != syncs {
		t.Errorf("a sync with nothing to sync went to the disk")
	}
	again := open(t, Config{FS: disk.Crash(0, nil).FS()})
	if diff := cmp.Diff([]string{"k1=1"}, rows(t, again)); diff != "" {
		t.Errorf("after a power loss (-want +got):\n%s", diff)
	}
}

func TestLargeWritesGoThroughTheQueueToo(t *testing.T) {
	disk := NewDisk()
	s := open(t, Config{FS: disk.FS(), MemTableBytes: 256 << 10, BatchBytesMax: 64 << 10})
	value := bytes.Repeat([]byte("x"), 300<<10) // more than a memtable
	for i := range 5 {
		if err := write(t, s, true, put(fmt.Sprintf("k%d", i), string(value))); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, Config{FS: disk.Crash(0, nil).FS(), MemTableBytes: 256 << 10})
	for i := range 5 {
		v, found, err := again.Get(fmt.Appendf(nil, "k%d", i))
		if !bytes.Equal(v, value) || !found || err != nil {
			t.Errorf("k%d: %d bytes, %v, %v", i, len(v), found, err)
		}
	}
}
