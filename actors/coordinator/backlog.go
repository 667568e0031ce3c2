package coordinator

import (
	"slices"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
)

// backlog holds requests that wait for a master, in the order of their numbers.
type backlog struct {
	queue []*call.Request
	head  int
	bytes int
}

func (b *backlog) len() int { return len(b.queue) - b.head }

// add queues a request behind those with a lower number.
func (b *backlog) add(r *call.Request) {
	b.bytes += weight(r)
	n := len(b.queue)
	if n == b.head || b.queue[n-1].Trail.Number < r.Trail.Number {
		b.queue = append(b.queue, r)
		return
	}
	i, _ := slices.BinarySearchFunc(b.queue[b.head:], r.Trail.Number, func(q *call.Request, number uint64) int {
		if q.Trail.Number < number {
			return -1
		}
		return 1
	})
	if i == 0 && b.head > 0 {
		b.head--
		b.queue[b.head] = r
		return
	}
	b.queue = slices.Insert(b.queue, b.head+i, r)
}

// take removes the first request; nil when there is none.
func (b *backlog) take() *call.Request {
	if b.len() == 0 {
		return nil
	}
	r := b.queue[b.head]
	b.queue[b.head] = nil
	b.head++
	if b.head == len(b.queue) {
		b.queue, b.head = b.queue[:0], 0
	}
	b.bytes -= weight(r)
	return r
}

// expire removes the requests for which end says so, in order.
func (b *backlog) expire(end func(*call.Request) bool) {
	kept := b.queue[:0]
	bytes := 0
	for _, r := range b.queue[b.head:] {
		if end(r) {
			continue
		}
		kept = append(kept, r)
		bytes += weight(r)
	}
	clear(b.queue[len(kept):])
	b.queue, b.head, b.bytes = kept, 0, bytes
}

// weight is what a request counts against the bound on bytes.
func weight(r *call.Request) int {
	const overhead = 256
	return overhead + len(r.Call.GetPayload()) + len(r.Call.GetKey())
}
