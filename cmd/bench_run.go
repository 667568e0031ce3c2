package cmd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// benchRun is one measurement. Callers have no goroutines: the reply to a command
// starts the next one.
type benchRun struct {
	cfg    *benchConfig
	load   *workload
	client *cluster.Client
	keys   []benchKey
	shards [benchShards]benchShard

	zero     time.Time
	from     atomic.Int64 // when measuring began; 0 before
	stopping atomic.Bool
	underWay sync.WaitGroup
}

// benchShards spreads what callers write over several locks.
const benchShards = 16

// benchShard is what some of the callers found.
type benchShard struct {
	mu        sync.Mutex
	latency   *hdrhistogram.Histogram
	errors    int64
	unknown   int64
	acked     int64
	errorText string
	_         [64]byte // keeps shards out of each other's cache lines
}

// benchKey is one actor and what is known of it.
type benchKey struct {
	name string

	mu sync.Mutex
	// issued numbers the commands; acked and unknown count how they ended. last is
	// the newest one acknowledged, and open those whose outcome is unknown.
	issued, acked, unknown int64
	last                   int64
	open                   []int64
	// success is when a command succeeded last, in nanoseconds of the run; gap the
	// longest wait so far.
	success, gap int64
}

// ended notes how a command that began at start ended now.
func (k *benchKey) ended(number, start, now int64, code messages.Code) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gap = max(k.gap, now-max(start, k.success))
	switch code {
	case messages.Code_CODE_OK:
		k.acked++
		k.last = max(k.last, number)
		k.success = max(k.success, now)
	case messages.Code_CODE_OUTCOME_UNKNOWN, messages.Code_CODE_SESSION_EXPIRED:
		k.unknown++
		k.open = append(k.open, number)
	}
}

// benchCaller is one caller: it waits for a reply before its next command.
type benchCaller struct {
	run   *benchRun
	shard *benchShard
	rand  *mathrand.PCG
	index int

	key    *benchKey
	number int64
	start  int64
	// done is onReply, made once.
	done func(*messages.Reply)
}

func newBenchRun(b *benchConfig, load *workload, client *cluster.Client) *benchRun {
	r := &benchRun{cfg: b, load: load, client: client, zero: time.Now()}
	if load.exclusive {
		// One caller a key, so that the last acknowledged value is known.
		b.keys = max(b.keys, b.clients)
	}
	var id [4]byte
	_, _ = rand.Read(id[:]) // it never fails: see crypto/rand
	prefix := "bench-" + hex.EncodeToString(id[:]) + "-"
	r.keys = make([]benchKey, b.keys)
	for i := range r.keys {
		r.keys[i].name = prefix + strconv.Itoa(i)
	}
	for i := range r.shards {
		// 1 us to 2 min, three digits.
		r.shards[i].latency = hdrhistogram.New(1, 120_000_000, 3)
	}
	return r
}

func (r *benchRun) now() int64 { return int64(time.Since(r.zero)) }

// measure runs the callers and gives what they found.
func (r *benchRun) measure(ctx context.Context) *benchReport {
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	for i := range r.cfg.clients {
		c := &benchCaller{
			run: r, shard: &r.shards[i%benchShards], index: i,
			rand: mathrand.NewPCG(binary.BigEndian.Uint64(seed[:]), uint64(i)),
		}
		c.done = c.onReply
		r.underWay.Add(1)
		c.next()
	}
	wait(ctx, r.cfg.warmup)
	cpu, begin := processorTime(), r.now()
	r.from.Store(begin)
	wait(ctx, r.cfg.duration)
	r.stopping.Store(true)
	took, used := time.Duration(r.now()-begin), processorTime()-cpu
	r.underWay.Wait()
	return r.report(took, used)
}

// wait waits, or until the context ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// next issues the caller's next command, or ends the caller.
func (c *benchCaller) next() {
	r := c.run
	if r.stopping.Load() {
		r.underWay.Done()
		return
	}
	if r.load.exclusive {
		// Keys index, index+clients, index+2*clients, ... are this caller's.
		own := (len(r.keys) - c.index + r.cfg.clients - 1) / r.cfg.clients
		c.key = &r.keys[c.index+int(c.rand.Uint64()%uint64(own))*r.cfg.clients]
	} else {
		c.key = &r.keys[c.rand.Uint64()%uint64(len(r.keys))]
	}
	c.key.mu.Lock()
	c.key.issued++
	c.number = c.key.issued
	c.key.mu.Unlock()
	c.start = r.now()
	// The client owns a call until it is answered; each one is new.
	r.client.Go(&messages.Call{
		Kind: r.load.kind, Key: c.key.name, Method: r.load.command, Payload: r.load.payload(c.number),
		TimeoutMs: uint32(r.cfg.remote.timeout.Milliseconds()),
	}, c.done)
}

func (c *benchCaller) onReply(reply *messages.Reply) {
	now, code := c.run.now(), reply.GetCode()
	c.key.ended(c.number, c.start, now, code)
	s := c.shard
	s.mu.Lock()
	switch code {
	case messages.Code_CODE_OK:
		s.acked++
		// What began and ended within the measurement counts.
		if from := c.run.from.Load(); from > 0 && now > from && !c.run.stopping.Load() {
			_ = s.latency.RecordValue(max((now-c.start)/1000, 1)) // above 2 min it is cut off
		}
	case messages.Code_CODE_OUTCOME_UNKNOWN, messages.Code_CODE_SESSION_EXPIRED:
		s.unknown++
		s.failed(reply)
	default:
		s.failed(reply)
	}
	s.mu.Unlock()
	c.next()
}

func (s *benchShard) failed(reply *messages.Reply) {
	s.errors++
	if s.errorText == "" {
		s.errorText = actors.CodeName(reply.GetCode()) + ": " + reply.GetMessage()
	}
}

func (r *benchRun) report(took, cpu time.Duration) *benchReport {
	all := hdrhistogram.New(1, 120_000_000, 3)
	report := &benchReport{
		Workload: r.cfg.workload, Clients: r.cfg.clients, Keys: len(r.keys), ValueBytes: r.load.valueBytes, DurationS: took.Seconds(),
	}
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		all.Merge(s.latency)
		report.Acknowledged += s.acked
		report.Unknown += s.unknown
		report.Errors += s.errors
		if report.ErrorSample == "" {
			report.ErrorSample = s.errorText
		}
		s.mu.Unlock()
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	report.OpsPerS = float64(all.TotalCount()) / took.Seconds()
	report.P50Ms, report.P99Ms, report.P999Ms = ms(all.ValueAtQuantile(50)), ms(all.ValueAtQuantile(99)), ms(all.ValueAtQuantile(99.9))
	report.MaxMs = ms(all.Max())
	for i := range r.keys {
		report.MaxGapMs = max(report.MaxGapMs, float64(r.keys[i].gap)/1e6)
	}
	report.ClientCPUS = cpu.Seconds()
	if n := all.TotalCount(); n > 0 {
		report.ClientCPUUsPerOp = float64(cpu.Microseconds()) / float64(n)
	}
	return report
}

// verify reads back every key that was written.
func (r *benchRun) verify(ctx context.Context, report *benchReport) {
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.remote.timeout+time.Minute)
	defer cancel()
	var mu sync.Mutex
	var readers sync.WaitGroup
	work := make(chan *benchKey)
	for range min(r.cfg.clients, 256) {
		readers.Go(func() {
			for key := range work {
				lost, duplicated, err := r.load.verify(ctx, r.client, key)
				mu.Lock()
				report.Lost += lost
				report.Duplicated += duplicated
				if err != nil {
					report.Unread++
					if report.ErrorSample == "" {
						report.ErrorSample = "reading back: " + err.Error()
					}
				} else {
					report.Verified++
				}
				mu.Unlock()
			}
		})
	}
	for i := range r.keys {
		if key := &r.keys[i]; key.issued > 0 {
			work <- key
		}
	}
	close(work)
	readers.Wait()
}

// processorTime is the time this process has used of the processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
