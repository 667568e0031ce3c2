package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// idle is a program that does nothing.
type idle struct{ program }

func (idle) Tick()                  {}
func (idle) PeerEvent(string, bool) {}

func launchIdle(*host, *life) (program, error) { return idle{}, nil }

// contents gives all rows of a disk.
func contents(t *testing.T, d *disk) map[string]string {
	t.Helper()
	rows := map[string]string{}
	err := d.engine.Scan([]byte("k"), []byte("l"), func(key, value []byte) error {
		rows[string(key)] = string(value)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return rows
}

// TestDiskKeepsAPrefix writes random rows and crashes at random moments: what is
// left must be the result of the first n writes, n at least up to the last sync
// that was acknowledged.
func TestDiskKeepsAPrefix(t *testing.T) {
	for seed := uint64(1); seed <= 300; seed++ {
		testPrefix(t, Config{Seed: seed, Nodes: 1})
	}
}

func testPrefix(t *testing.T, cfg Config) {
	t.Helper()
	w := newWorld(cfg.withDefaults(), launchIdle)
	h := w.hosts[0]
	h.start()
	r := stream(cfg.Seed, "test")
	before := contents(t, h.disk)
	for range 3 {
		before = diskLife(t, w, h, r.IntN(60), before)
		h.start()
	}
	if err := h.disk.close(); err != nil {
		t.Error(err)
	}
}

// diskLife makes n writes, crashes, and returns what the disk then holds.
func diskLife(t *testing.T, w *World, h *host, n int, before map[string]string) map[string]string {
	t.Helper()
	r := stream(w.cfg.Seed+uint64(n), "life")
	s := h.life.store
	states := []map[string]string{before}
	acknowledged := 0
	for i := range n {
		write, after := randomWrite(r.IntN(1<<30), i, states[i])
		write.Sync = r.IntN(3) == 0
		write.Done = func(err error) {
			if err != nil {
				t.Errorf("write %d: %v", i, err)
			}
			if write.Sync {
				acknowledged = i + 1
			}
			got := contents(t, h.disk)
			if !slices.ContainsFunc(states[i+1:], func(s map[string]string) bool { return maps.Equal(s, got) }) {
				t.Errorf("seed %d: when write %d is done the rows are not those of it or a later one", w.cfg.Seed, i)
			}
		}
		states = append(states, after)
		s.Submit(write)
		stop := w.now + r.Int64N(2_000_000)
		for w.agenda.len() > 0 && w.agenda.heap[0].at < stop {
			e := w.agenda.pop()
			w.now = e.at
			w.deliver(&e)
		}
	}
	h.crash("test")
	got := contents(t, h.disk)
	for _, state := range states[acknowledged:] {
		if maps.Equal(got, state) {
			return got
		}
	}
	t.Errorf("seed %d: after a crash the rows are none of the %d possible prefixes from write %d on", w.cfg.Seed, len(states)-acknowledged, acknowledged)
	return got
}

// randomWrite makes a write of up to three steps and says what it makes of rows.
func randomWrite(random, i int, rows map[string]string) (*replica.Write, map[string]string) {
	after := maps.Clone(rows)
	w := &replica.Write{}
	for step := range 1 + random%3 {
		key := fmt.Sprintf("k%d", (random>>3+step*5)%8)
		switch (random >> (8 + step)) % 4 {
		case 0:
			w.Ops = append(w.Ops, replica.Op{Kind: replica.Delete, Key: []byte(key)})
			delete(after, key)
		case 1:
			w.Ops = append(w.Ops, replica.Op{Kind: replica.DeleteRange, Key: []byte("k2"), Value: []byte("k5")})
			maps.DeleteFunc(after, func(k, _ string) bool { return k >= "k2" && k < "k5" })
		default:
			value := fmt.Sprintf("%d.%d", i, step)
			w.Ops = append(w.Ops, replica.Op{Kind: replica.Put, Key: []byte(key), Value: []byte(value)})
			after[key] = value
		}
	}
	return w, after
}

func TestDiskOfAnEarlierLifeIsFrozen(t *testing.T) {
	w := newWorld(Config{Nodes: 1}.withDefaults(), launchIdle)
	h := w.hosts[0]
	h.start()
	old := h.life.store
	h.crash("test")
	h.start()
	old.Submit(&replica.Write{Ops: []replica.Op{{Kind: replica.Put, Key: []byte("k"), Value: []byte("v")}}, Sync: true})
	w.run(func() bool { return w.now > 1e9 }, 1e10)
	if rows := contents(t, h.disk); len(rows) > 0 {
		t.Errorf("a crashed node wrote %v", rows)
	}
}

func TestBrokenDiskTellsEveryone(t *testing.T) {
	w := newWorld(Config{Nodes: 1}.withDefaults(), launchIdle)
	h := w.hosts[0]
	h.start()
	s := h.life.store
	h.disk.broken = true
	failures := 0
	for range 3 {
		s.Submit(&replica.Write{Sync: true, Done: func(err error) {
			if errors.Is(err, errDiskBroken) {
				failures++
			}
		}})
	}
	w.run(func() bool { return failures == 3 }, 1e10)
	if failures != 3 {
		t.Errorf("%d of 3 writes failed", failures)
	}
	// What is submitted after a failure must not be there, or the disk has a hole.
	s.Submit(&replica.Write{Ops: []replica.Op{{Kind: replica.Put, Key: []byte("k"), Value: []byte("v")}}})
	h.crash("test")
	if rows := contents(t, h.disk); len(rows) > 0 {
		t.Errorf("after a failure the disk took %v", rows)
	}
}
