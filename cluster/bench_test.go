package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// BenchmarkWrites measures durable, replicated writes: three nodes of one process,
// each with a directory of its own, 64 partitions, and a number of calls always
// under way, spread over the nodes' own clients.
func BenchmarkWrites(b *testing.B) {
	for _, inFlight := range []int{1, 64, 256, 1024} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) { benchmarkWrites(b, inFlight) })
	}
}

func benchmarkWrites(b *testing.B, inFlight int) {
	cfg := testConfig(b)
	cfg.Partitions, cfg.Dir = 64, b.TempDir()
	cfg.Logger = slog.New(slog.DiscardHandler)
	l, err := StartLocal(b.Context(), 3, cfg)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Kill()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := l.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	payload, err := proto.Marshal(&counterpb.AddRequest{Delta: 1})
	if err != nil {
		b.Fatal(err)
	}
	var next, failed atomic.Int64
	done := make(chan struct{}, inFlight)
	var call func(c *Client)
	call = func(c *Client) {
		n := next.Add(1)
		if n > int64(b.N) {
			done <- struct{}{}
			return
		}
		m := &messages.Call{Kind: "counter", Key: fmt.Sprintf("k%d", n*7919%100_000), Method: "Add", Payload: payload}
		c.Go(m, func(r *messages.Reply) {
			if r.GetCode() != messages.Code_CODE_OK {
				failed.Add(1)
			}
			call(c)
		})
	}
	nodes := l.Nodes()
	b.ResetTimer()
	for i := range inFlight {
		call(nodes[i%len(nodes)].Client())
	}
	for range inFlight {
		<-done
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	if failed.Load() > 0 {
		b.Errorf("%d of %d writes failed", failed.Load(), b.N)
	}
}
