package storage

import (
	"math"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// Metrics is what a store has done since it was opened, and how large it is.
type Metrics struct {
	// Writes counts the writes that were committed, Groups the batches they shared.
	Writes, Groups uint64
	// LogBytes counts the bytes that were written to the write-ahead log.
	LogBytes uint64
	// GroupWrites tells how many writes shared a batch.
	GroupWrites Histogram
	// CommitSeconds is the time from taking a synced group until it was durable.
	CommitSeconds Histogram
	// SyncSeconds is the time of the fsyncs of the write-ahead log; its Count is
	// their number.
	SyncSeconds Histogram
	// QueueBytes is the size of the writes that are not yet done.
	QueueBytes int64
	// DiskBytes is the size of all files, MemTableBytes that of recent writes in
	// memory.
	DiskBytes, MemTableBytes uint64
	// Compactions and Flushes count what Pebble did in the background.
	Compactions, Flushes int64
}

// Histogram counts values by size, in the way Prometheus does.
type Histogram struct {
	// Bounds are the upper bounds of the buckets, in ascending order. Counts holds
	// the number of values up to each bound, smaller ones included.
	Bounds []float64
	Counts []uint64
	// Count and Sum are over all values.
	Count uint64
	Sum   float64
}

// counters are written by the writer and the waiter, and read by anyone.
type counters struct {
	writes, groups, bytes atomic.Uint64
	groupWrites           histogram
	commitSeconds         histogram
}

// committed counts one group.
func (c *counters) committed(writes []*replica.Write) {
	c.writes.Add(uint64(len(writes)))
	c.groups.Add(1)
	c.groupWrites.observe(float64(len(writes)))
}

func newCounters() counters {
	return counters{
		groupWrites:   histogram{lowest: 0},   // 1 to 8 million
		commitSeconds: histogram{lowest: -16}, // 15 us to 2 minutes
	}
}

// histogram has a bucket for each power of two from 2^lowest on.
type histogram struct {
	lowest int
	// bucket i counts the values in (bound(i-1), bound(i)]; the last one also what
	// is larger.
	bucket [24]atomic.Uint64
	sum    atomic.Uint64 // in millionths
}

func (h *histogram) bound(i int) float64 { return math.Ldexp(1, h.lowest+i) }

func (h *histogram) observe(v float64) {
	i := 0
	if v > h.bound(0) {
		frac, exp := math.Frexp(v)
		if frac == 0.5 {
			exp-- // a power of two belongs to the bucket that it bounds
		}
		i = min(exp-h.lowest, len(h.bucket)-1)
	}
	h.bucket[i].Add(1)
	h.sum.Add(uint64(v * 1e6))
}

func (h *histogram) snapshot() Histogram {
	s := Histogram{Sum: float64(h.sum.Load()) / 1e6}
	for i := range h.bucket {
		s.Count += h.bucket[i].Load()
		if i == len(h.bucket)-1 {
			break // it has no upper bound
		}
		s.Bounds = append(s.Bounds, h.bound(i))
		s.Counts = append(s.Counts, s.Count)
	}
	return s
}

// Metrics returns what the store has done so far; of a closed store, what it
// counted itself.
func (e *Engine) Metrics() Metrics {
	m := Metrics{
		Writes:        e.counts.writes.Load(),
		Groups:        e.counts.groups.Load(),
		LogBytes:      e.counts.bytes.Load(),
		GroupWrites:   e.counts.groupWrites.snapshot(),
		CommitSeconds: e.counts.commitSeconds.snapshot(),
	}
	e.open.RLock()
	defer e.open.RUnlock()
	if e.closed || e.failure.stuck.Load() {
		return m
	}
	p := e.db.Metrics()
	m.DiskBytes = p.DiskSpaceUsage()
	m.MemTableBytes = p.MemTable.Size
	m.Compactions = p.Compact.Count
	m.Flushes = p.Flush.Count
	var fsync dto.Metric
	if err := p.LogWriter.FsyncLatency.Write(&fsync); err == nil {
		m.SyncSeconds = fromPrometheus(fsync.GetHistogram())
	}
	return m
}

// fromPrometheus converts a histogram of nanoseconds to one of seconds.
func fromPrometheus(p *dto.Histogram) Histogram {
	h := Histogram{Count: p.GetSampleCount(), Sum: p.GetSampleSum() / 1e9}
	for _, b := range p.GetBucket() {
		h.Bounds = append(h.Bounds, b.GetUpperBound()/1e9)
		h.Counts = append(h.Counts, b.GetCumulativeCount())
	}
	return h
}
