package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// The crash test writes a history of numbered writes, cuts the power at a random
// moment, and reads what is left. Write n puts n at its own key, adds itself to
// one of a few shared keys, and now and then deletes a range: so the rows tell
// which prefix of the history they are, and whether a write was torn.

// historyWrite returns the ops of write n. Writes are the same in every run.
func historyWrite(n int) []replica.Op {
	number := binary.BigEndian.AppendUint32(nil, uint32(n))
	ops := []replica.Op{
		{Key: append([]byte("kn"), number...), Value: number},
		{Key: fmt.Appendf(nil, "kshared%d", n%3), Value: number},
	}
	if n%50 == 49 { // like a log that is truncated
		ops = append(ops, replica.Op{
			Kind: replica.DeleteRange, Key: []byte("kn"),
			Value: binary.BigEndian.AppendUint32([]byte("kn"), uint32(n-20)),
		})
	}
	return ops
}

// historyRows returns the rows after the first n writes.
func historyRows(n int) map[string]string {
	rows := map[string]string{}
	for i := range n {
		for _, op := range historyWrite(i) {
			switch op.Kind {
			case replica.Put:
				rows[string(op.Key)] = string(op.Value)
			case replica.DeleteRange:
				for k := range rows {
					if k >= string(op.Key) && k < string(op.Value) {
						delete(rows, k)
					}
				}
			}
		}
	}
	return rows
}

// checkPrefix reports how many writes of the history survived; at least
// atLeast must have.
func checkPrefix(s *Store, atLeast, atMost int) (int, error) {
	got := map[string]string{}
	newest := -1
	err := s.Scan([]byte("k"), []byte("l"), func(k, v []byte) error {
		got[string(k)] = string(v)
		newest = max(newest, int(binary.BigEndian.Uint32(v)))
		return nil
	})
	if err != nil {
		return 0, err
	}
	n := newest + 1
	if n < atLeast || n > atMost {
		return n, fmt.Errorf("%d writes survived; %d were acknowledged as durable, %d submitted", n, atLeast, atMost)
	}
	want := historyRows(n)
	for k, v := range want {
		if got[k] != v {
			return n, fmt.Errorf("of the first %d writes, the row %q is %x, want %x", n, k, got[k], v)
		}
	}
	if len(got) != len(want) {
		return n, fmt.Errorf("%d rows after %d writes, want %d", len(got), n, len(want))
	}
	return n, nil
}

func TestAPowerLossLeavesAPrefixWithAllThatWasAcknowledged(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 5
	}
	for seed := range uint64(seeds) {
		keep := int(seed%3) * 50 // percent of the unsynced data that survives
		t.Run(fmt.Sprintf("seed=%d/keep=%d", seed, keep), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			disk, from := NewDisk(), 0
			for range 4 { // a life of four power losses
				disk, from = liveUntilPowerLoss(t, disk, from, keep, rng)
			}
		})
	}
}

// liveUntilPowerLoss opens the store, checks it, writes the history from a number
// on and returns the disk at some moment, with the number of writes that survived.
func liveUntilPowerLoss(t *testing.T, disk *Disk, from, keep int, rng *rand.Rand) (*Disk, int) {
	t.Helper()
	s := open(t, Config{FS: disk.FS(), MemTableBytes: 256 << 10, BatchBytesMax: 512})
	if n, err := checkPrefix(s, from, from); err != nil || n != from {
		t.Fatalf("after the last power loss: %v", err)
	}
	var durable atomic.Int64
	durable.Store(int64(from))
	crashAt, n := make(chan struct{}), 50+rng.IntN(800)
	at := rng.IntN(n)
	done := make(chan error, n)
	for i := range n {
		w := &replica.Write{Ops: historyWrite(from + i), Sync: rng.IntN(4) == 0}
		w.Done = func(err error) {
			if w.Sync {
				durable.Store(int64(from + i + 1))
			}
			if i == at {
				close(crashAt)
			}
			done <- err
		}
		s.Submit(w)
	}
	await(t, crashAt)
	// What was acknowledged before the crash must be there after it.
	acked := int(durable.Load())
	var crashRNG *rand.Rand
	if keep > 0 {
		crashRNG = rand.New(rand.NewPCG(rng.Uint64(), 2))
	}
	after := disk.Crash(keep, crashRNG)
	for range n {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := checkPrefix(s, from+n, from+n); err != nil {
		t.Fatalf("before the power loss: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, Config{FS: after.FS()})
	survived, err := checkPrefix(again, acked, from+n)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	return after, survived
}

func TestEngineSyncsWhenItsCallerSays(t *testing.T) {
	disk := NewDisk()
	cfg := quiet(Config{FS: disk.FS(), DisableCompactions: true})
	e, err := OpenEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(from, to int, sync bool) {
		t.Helper()
		var writes []*replica.Write
		for n := from; n < to; n++ {
			writes = append(writes, &replica.Write{Ops: historyWrite(n)})
		}
		if err := e.Commit(writes, sync); err != nil {
			t.Fatal(err)
		}
	}
	commit(0, 60, true)
	commit(60, 70, false)
	if _, found, err := e.Get(historyWrite(69)[0].Key); !found || err != nil {
		t.Errorf("a write that is not synced yet cannot be read: %v", err)
	}
	beforeSync := disk.Crash(0, nil)
	if err := e.Commit(nil, true); err != nil {
		t.Fatal(err)
	}
	afterSync := disk.Crash(0, nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Commit(nil, true); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit on a closed engine: %v", err)
	}
	for _, test := range []struct {
		disk *Disk
		want int
	}{{beforeSync, 60}, {afterSync, 70}} {
		s := open(t, Config{FS: test.disk.FS()})
		if _, err := checkPrefix(s, test.want, test.want); err != nil {
			t.Error(err)
		}
	}
}
