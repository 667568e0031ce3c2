package storage

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// BenchmarkPut measures durable 64-byte puts on the real disk, with a number of
// writes always under way: each Done submits the next one.
func BenchmarkPut(b *testing.B) {
	for _, inFlight := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			benchmarkPut(b, inFlight)
		})
	}
}

func benchmarkPut(b *testing.B, inFlight int) {
	s := open(b, Config{Dir: b.TempDir()})
	var next atomic.Int64
	done := make(chan error, inFlight)
	submit := func(w *replica.Write) bool {
		n := next.Add(1)
		if n > int64(b.N) {
			return false
		}
		// 100,000 keys in an order that is not sorted.
		binary.BigEndian.PutUint64(w.Ops[0].Key[1:], uint64(n)*7919%100_000)
		s.Submit(w)
		return true
	}
	before := s.Metrics()
	b.ReportAllocs()
	b.ResetTimer()
	for range inFlight {
		w := &replica.Write{Sync: true, Ops: []replica.Op{{Key: append([]byte{0x04}, make([]byte, 8)...), Value: make([]byte, 64)}}}
		w.Done = func(err error) {
			if err != nil || !submit(w) {
				done <- err
			}
		}
		if !submit(w) {
			done <- nil
		}
	}
	for range inFlight {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	after := s.Metrics()
	seconds := b.Elapsed().Seconds()
	b.ReportMetric(float64(b.N)/seconds, "writes/s")
	b.ReportMetric(float64(after.SyncSeconds.Count-before.SyncSeconds.Count)/seconds, "fsyncs/s")
	b.ReportMetric(float64(b.N)/float64(after.Groups-before.Groups), "writes/group")
}
