package sim

import (
	"errors"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// errDiskBroken is a failed write or sync.
var errDiskBroken = errors.New("simulated disk: input/output error")

// Engine is what keeps the rows of a simulated disk: by default a model that
// forgets what was not synced, or a real store on a file system that does.
type Engine interface {
	Get(key []byte) (value []byte, found bool, err error)
	Scan(from, to []byte, visit func(key, value []byte) error) error
	Snapshot() replica.Snapshot
	// Commit makes writes visible, in order, and, if sync, durable with
	// everything before them. Sync and Done of the writes are not its business.
	Commit(writes []*replica.Write, sync bool) error
	// Unsynced counts the newest visible writes that a power loss may take.
	Unsynced() int
	// Crash returns what a power loss leaves: at most the newest lose of the
	// visible writes are gone, and all of them if some are. The engine itself
	// may still be read until Close.
	Crash(lose int) (Engine, error)
	Close() error
}

// disk is the memory of one node that outlives its crashes. It takes writes in
// order; a batch of them becomes durable when a sync ends, and visible when the
// node hears of it. A crash keeps every write up to the last sync and a random
// number of those behind, in order: what a write-ahead log does.
type disk struct {
	w      *World
	node   *host
	engine Engine
	// retired engines belong to earlier lives that may still be read.
	retired []Engine
	// queue holds the submitted writes that are not visible yet, in order.
	queue []*replica.Write
	// batch counts the writes at the head of queue that are being written;
	// durable is batch once they are synced and the node has not heard of it.
	batch, durable int
	// slowness multiplies the time of every sync; 1 is a healthy disk.
	slowness float64
	// broken makes every batch fail; failed says that one did. What comes after
	// a failure is never written, or the disk would have a hole.
	broken, failed bool
	// boot is the life of the node that may use the disk.
	boot uint64
}

func newDisk(w *World, n *host) *disk {
	return &disk{w: w, node: n, slowness: 1}
}

// open gives a new life of the node its store.
func (d *disk) open(boot uint64) (replica.Store, error) {
	for _, e := range d.retired {
		if err := e.Close(); err != nil {
			return nil, err
		}
	}
	d.retired = nil
	if d.engine == nil {
		engine, err := d.w.cfg.Engine(d.node.index)
		if err != nil {
			return nil, err
		}
		d.engine = engine
	}
	d.boot = boot
	return &store{Engine: d.engine, disk: d, boot: boot}, nil
}

// close gives back what the disk holds.
func (d *disk) close() error {
	var errs []error
	for _, e := range d.retired {
		errs = append(errs, e.Close())
	}
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	return errors.Join(errs...)
}

// store is the disk as one life of a node sees it. After the node's crash the
// code may run on for a moment; it then reads what it would have read and writes
// nothing.
type store struct {
	Engine
	disk *disk
	boot uint64
}

var _ replica.Store = (*store)(nil)

// Submit queues a write.
func (s *store) Submit(w *replica.Write) {
	if s.disk.boot == s.boot {
		s.disk.submit(w)
	}
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
	boot := d.boot
	d.w.schedule(event{at: d.w.now + d.writeTime(sync), kind: evDisk, node: -1, size: d.batch, run: func() {
		if d.boot != boot {
			return
		}
		if sync && !d.broken && !d.failed {
			d.durable = d.batch
		}
		d.acknowledge(sync)
	}})
}

// acknowledge lets the node hear of the batch a moment later: then it becomes
// visible, and whoever waits for it is told.
func (d *disk) acknowledge(sync bool) {
	after := between(d.w.rng.disk, int64(2*time.Microsecond), int64(80*time.Microsecond))
	d.w.schedule(event{at: d.w.now + after, kind: evDone, node: d.node.index, boot: d.boot, size: d.batch, run: func() {
		done := d.queue[:d.batch]
		d.queue = append([]*replica.Write(nil), d.queue[d.batch:]...)
		d.batch, d.durable = 0, 0
		var err error
		if d.failed = d.failed || d.broken; d.failed {
			err = errDiskBroken
		} else {
			err = d.engine.Commit(done, sync)
		}
		for _, w := range done {
			if w.Done != nil {
				w.Done(err)
			}
		}
		if len(d.queue) > 0 && d.batch == 0 {
			d.begin()
		}
	}})
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

// crash ends a life: it draws how many of the writes that were not durable
// survive, from none to all, and makes the rows what a restart will find.
func (d *disk) crash() error {
	d.boot = 0
	if d.engine == nil {
		return nil
	}
	// Positions count from the last durable visible write: first the visible
	// ones that may be lost, then the queue.
	if d.failed {
		d.queue = nil
	}
	visible := d.engine.Unsynced()
	least, most := 0, visible+len(d.queue)
	if d.durable > 0 {
		least = visible + d.durable
	}
	keep := between(d.w.rng.crash, least, most)
	switch d.w.rng.crash.IntN(4) {
	case 0:
		keep = least
	case 1:
		keep = most
	}
	after, err := d.engine.Crash(max(0, visible-keep))
	if err == nil && keep > visible {
		err = after.Commit(d.queue[:keep-visible], true)
	}
	d.retired = append(d.retired, d.engine)
	d.engine, d.queue, d.batch, d.durable, d.broken, d.failed = after, nil, 0, 0, false, false
	return err
}
