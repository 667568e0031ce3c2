package sim

import (
	"bytes"
	"errors"
	"time"

	"github.com/google/btree"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// errDiskBroken is a failed write or sync.
var errDiskBroken = errors.New("simulated disk: input/output error")

// row is a key and its value; rows are never changed in place.
type row struct{ key, value []byte }

func rowLess(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }

// disk is the memory of one node that outlives its crashes. It takes writes in
// order; a batch of them becomes durable when a sync ends, and then visible when
// the node hears of it. A crash keeps every write up to the last sync and a
// random number of those behind, in order: what a write-ahead log does.
type disk struct {
	w    *World
	node *host
	// rows holds the writes that are visible, and nothing else.
	rows *btree.BTreeG[row]
	// undo holds, newest last, what visible writes that are not yet durable
	// have overwritten.
	undo []undo
	// queue holds the submitted writes that are not visible yet, in order.
	queue []*replica.Write
	// batch counts the writes at the head of queue that a sync is under way for
	// or has ended for; durable counts those of them that are on disk for good.
	batch, durable int
	// slowness multiplies the time of every sync; 1 is a healthy disk.
	slowness float64
	// broken makes the next batch fail.
	broken bool
	// boot is the life of the node that may use the disk.
	boot uint64
}

// undo says how to take one step of a visible write back.
type undo struct {
	// write is set on the last step of a write.
	write bool
	key   []byte
	old   row
	had   bool
}

func newDisk(w *World, n *host) *disk {
	return &disk{w: w, node: n, rows: btree.NewG(32, rowLess), slowness: 1}
}

// open gives a new life of the node its store.
func (d *disk) open(boot uint64) replica.Store {
	d.boot = boot
	return &store{disk: d, boot: boot, rows: d.rows}
}

// store is the disk as one life of a node sees it. After the node's crash the
// code may run on for a moment; it then reads what it would have read and writes
// nothing.
type store struct {
	disk *disk
	boot uint64
	rows *btree.BTreeG[row]
}

var _ replica.Store = (*store)(nil)

func (s *store) Get(key []byte) ([]byte, bool, error) {
	r, found := s.rows.Get(row{key: key})
	if !found {
		return nil, false, nil
	}
	return bytes.Clone(r.value), true, nil
}

func (s *store) Scan(from, to []byte, visit func(key, value []byte) error) error {
	var err error
	s.rows.AscendRange(row{key: from}, row{key: to}, func(r row) bool {
		err = visit(r.key, r.value)
		return err == nil
	})
	return err
}

func (s *store) Submit(w *replica.Write) {
	if s.disk.boot != s.boot {
		return
	}
	s.disk.submit(w)
}

func (d *disk) submit(w *replica.Write) {
	d.queue = append(d.queue, w)
	if d.batch == 0 {
		d.begin()
	}
}

// begin starts a batch of everything that waits.
func (d *disk) begin() {
	d.batch = len(d.queue)
	sync := false
	for _, w := range d.queue {
		sync = sync || w.Sync
	}
	took := d.writeTime(sync)
	d.w.schedule(event{at: d.w.now + took, kind: evDisk, node: -1, size: d.batch, run: d.ifBoot(func() {
		if d.broken {
			d.acknowledge(0, errDiskBroken, false)
			return
		}
		if sync {
			d.durable = d.batch
			d.undo = d.undo[:0]
		}
		d.acknowledge(between(d.w.rng.disk, int64(2*time.Microsecond), int64(80*time.Microsecond)), nil, sync)
	})})
}

// acknowledge lets the node hear of the batch after a delay: it becomes visible,
// and whoever waits for it is told.
func (d *disk) acknowledge(delay int64, err error, durable bool) {
	d.w.schedule(event{at: d.w.now + delay, kind: evDone, node: d.node.index, boot: d.boot, size: d.batch, run: func() {
		done := d.queue[:d.batch]
		d.queue = append([]*replica.Write(nil), d.queue[d.batch:]...)
		d.batch, d.durable = 0, 0
		for _, w := range done {
			if err == nil {
				d.apply(w, !durable)
			}
			if w.Done != nil {
				w.Done(err)
			}
		}
		if len(d.queue) > 0 && d.batch == 0 {
			d.begin()
		}
	}})
}

// ifBoot returns f for this life of the node only.
func (d *disk) ifBoot(f func()) func() {
	boot := d.boot
	return func() {
		if d.boot == boot {
			f()
		}
	}
}

func (d *disk) writeTime(sync bool) int64 {
	if !sync {
		return between(d.w.rng.disk, int64(3*time.Microsecond), int64(30*time.Microsecond))
	}
	took := between(d.w.rng.disk, int64(150*time.Microsecond), int64(900*time.Microsecond))
	if chance(d.w.rng.disk, 0.02) {
		took += between(d.w.rng.disk, int64(time.Millisecond), int64(15*time.Millisecond))
	}
	return int64(float64(took) * d.slowness)
}

// apply makes a write visible. With keepUndo it can be taken back by a crash.
func (d *disk) apply(w *replica.Write, keepUndo bool) {
	start := len(d.undo)
	for _, op := range w.Ops {
		switch op.Kind {
		case replica.Put:
			old, had := d.rows.ReplaceOrInsert(row{key: op.Key, value: op.Value})
			d.undo = append(d.undo, undo{key: op.Key, old: old, had: had})
		case replica.Delete:
			if old, had := d.rows.Delete(row{key: op.Key}); had {
				d.undo = append(d.undo, undo{key: op.Key, old: old, had: had})
			}
		case replica.DeleteRange:
			d.deleteRange(op.Key, op.Value)
		}
	}
	if !keepUndo {
		d.undo = d.undo[:start]
		return
	}
	d.undo = append(d.undo, undo{write: true})
}

func (d *disk) deleteRange(from, to []byte) {
	var gone []row
	d.rows.AscendRange(row{key: from}, row{key: to}, func(r row) bool {
		gone = append(gone, r)
		return true
	})
	for _, r := range gone {
		d.rows.Delete(r)
		d.undo = append(d.undo, undo{key: r.key, old: r, had: true})
	}
}

// crash ends a life: it draws how many of the writes that were not durable
// survive, from none to all, and makes the rows what a restart will find.
func (d *disk) crash() {
	visible := 0
	for _, u := range d.undo {
		if u.write {
			visible++
		}
	}
	// Positions count from the last durable visible write: first the visible
	// ones that may be lost, then the queue.
	least := 0
	if d.durable > 0 {
		least = visible + d.durable
	}
	most := visible + len(d.queue)
	keep := between(d.w.rng.crash, least, most)
	switch d.w.rng.crash.IntN(4) {
	case 0:
		keep = least
	case 1:
		keep = most
	}
	d.rows = d.rows.Clone()
	d.takeBack(visible - keep)
	for i := visible; i < keep; i++ {
		d.apply(d.queue[i-visible], false)
	}
	d.undo, d.queue, d.batch, d.durable = nil, nil, 0, 0
	d.broken = false
	d.boot = 0
}

// takeBack undoes the newest n visible writes.
func (d *disk) takeBack(n int) {
	if n <= 0 {
		return
	}
	for i := len(d.undo) - 1; i >= 0; i-- {
		u := d.undo[i]
		switch {
		case u.write && n == 0:
			return
		case u.write:
			n--
		case u.had:
			d.rows.ReplaceOrInsert(u.old)
		default:
			d.rows.Delete(row{key: u.key})
		}
	}
}
