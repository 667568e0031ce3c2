package storage

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"
)

// Defaults of Config.
const (
	// DefaultMemTableBytes is large because a write costs less the larger the
	// memtable is: measured at 30 us of processor time for three copies of a
	// write with 8 MiB, 27 us with 16 MiB, 24 us with 64 MiB. Most of the log is
	// deleted again before a memtable of this size is flushed.
	DefaultMemTableBytes = 64 << 20
	// DefaultCacheBytes holds the hot blocks of the tables.
	DefaultCacheBytes = 64 << 20
	// DefaultQueueBytesMax is one memtable: more than that cannot be absorbed
	// while a flush is under way, so it only adds latency.
	DefaultQueueBytesMax = 64 << 20
	// DefaultBatchBytesMax keeps a batch well below half a memtable, above which
	// Pebble leaves its fast path.
	DefaultBatchBytesMax = 4 << 20
	// DefaultPipeline lets one batch be built while the other one is synced.
	DefaultPipeline = 2
)

// Config says where a store lives and how large its parts are. Only Dir is
// required.
type Config struct {
	// Dir is the store's directory. It is created, with its parents, readable by
	// the owner alone, and holds nothing but the store.
	Dir string
	// FS is the file system that Dir is on; nil is the real one.
	FS FS

	// MemTableBytes is the size at which recent writes are moved from memory to a
	// table file. Up to four memtables exist for a moment. Default 64 MiB.
	MemTableBytes int
	// CacheBytes is the memory for blocks of table files. Default 64 MiB.
	CacheBytes int
	// QueueBytesMax is the size of the queue at which Pressure is 1. The queue
	// takes more than that: who submits must look at Pressure first. Default 64 MiB.
	QueueBytesMax int
	// BatchBytesMax bounds one Pebble batch; a longer queue becomes several
	// batches that share a sync. Default 4 MiB.
	BatchBytesMax int
	// Pipeline is how many groups may wait for the disk at a time. More than two
	// makes the groups smaller without making the disk faster. Default 2.
	Pipeline int
	// DisableCompactions keeps Pebble from reorganizing table files in the
	// background, so that a simulation repeats. Default off.
	DisableCompactions bool

	// OnFatal is called once, with the first failure of the disk; then the node
	// must stop. It is called from whichever goroutine met the failure, perhaps
	// with locks held: it must not block and must not call the store. A failure
	// of Open is returned by Open instead. Default: the failure is only logged.
	OnFatal func(error)
	// Logger takes what the store has to say. Default slog.Default.
	Logger *slog.Logger
	// Now is the clock that goes into new node ids. Default time.Now.
	Now func() time.Time
	// Random is the source of new node ids. Default crypto/rand, so that two
	// nodes never choose the same id.
	Random io.Reader
}

func (c Config) withDefaults() Config {
	setDefault(&c.MemTableBytes, DefaultMemTableBytes)
	setDefault(&c.CacheBytes, DefaultCacheBytes)
	setDefault(&c.QueueBytesMax, DefaultQueueBytesMax)
	setDefault(&c.BatchBytesMax, DefaultBatchBytesMax)
	setDefault(&c.Pipeline, DefaultPipeline)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	return c
}

func setDefault(v *int, value int) {
	if *v <= 0 {
		*v = value
	}
}
