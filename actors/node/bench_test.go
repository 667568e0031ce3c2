package node

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// BenchmarkEngine measures what three replicas of the engine cost for each
// command, without links and without a disk: 64 partitions, callers that know the
// masters, so many calls in flight.
func BenchmarkEngine(b *testing.B) {
	for _, flying := range []int{64, 256, 1024} {
		b.Run(fmt.Sprintf("inflight=%d", flying), func(b *testing.B) { benchmarkEngine(b, flying) })
	}
}

func benchmarkEngine(b *testing.B, flying int) {
	w := newWorldOf(b, 3, 64, replica.Limits{})
	w.until("a formed cluster with a master for each partition", w.mastered)
	w.ticks(200) // masters spread out
	payload, err := proto.Marshal(&counterpb.AddRequest{Delta: 1})
	if err != nil {
		b.Fatal(err)
	}
	sequences, lows := make([]uint64, 65), make([]uint64, 65)
	started, done := 0, 0
	var next func()
	next = func() {
		if started == b.N {
			return
		}
		started++
		key := fmt.Sprintf("k%d", started%10000)
		p := ring.Partition("counter", key, 64)
		sequences[p]++
		lows[p] = max(1, sequences[p]-min(sequences[p], 64))
		id := &messages.RequestID{Client: []byte("0123456789abcdef"), Sequence: sequences[p], LowWater: lows[p]}
		at := w.nodes["N1"].node.Route().GetMasters()[p]
		w.nodes[at].node.Submit(&messages.Call{Kind: "counter", Key: key, Method: "Add", Payload: payload, Request: id}, func(r *messages.Reply) {
			if r.GetCode() != messages.Code_CODE_OK {
				b.Errorf("reply %v", r)
			}
			done++
			next()
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range flying {
		next()
	}
	for i := 0; done < b.N; i++ {
		w.settleOnce()
		if i%200 == 199 {
			w.ticks(1)
		}
	}
}
