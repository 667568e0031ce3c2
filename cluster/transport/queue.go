package transport

import (
	"encoding/binary"
	"sync"

	"google.golang.org/protobuf/proto"
)

// chunkSize is how much one chunk of a queue holds. Larger envelopes get a chunk
// of their own.
const chunkSize = 256 << 10

// chunkPool recycles chunks among the queues of a transport.
type chunkPool struct{ pool sync.Pool }

func (p *chunkPool) get(size int) []byte {
	if size > chunkSize {
		return make([]byte, 0, size)
	}
	if c, ok := p.pool.Get().(*[]byte); ok {
		return (*c)[:0]
	}
	return make([]byte, 0, chunkSize)
}

func (p *chunkPool) put(chunks [][]byte) {
	for _, c := range chunks {
		if cap(c) == chunkSize {
			p.pool.Put(&c)
		}
	}
}

// queue holds the envelopes of one lane, marshaled, until the lane's writer
// takes them. push may be called from any goroutine, the rest by the lane.
type queue struct {
	types    *Types
	pool     *chunkPool
	bytesMax int
	frameMax int
	// wake has room for one: something was pushed into an empty queue.
	wake chan struct{}

	mu     sync.Mutex
	enc    encoder
	chunks [][]byte
	count  int
	// bytes counts what waits and what was taken but not yet returned.
	bytes int
	// refuse is why messages are not taken at present; 0 while they are.
	refuse Reason
}

// batch is what a writer took from a queue.
type batch struct {
	chunks [][]byte
	count  int
	bytes  int
}

// push marshals a message into the queue. A non-zero reason says that it was
// dropped.
func (q *queue) push(target, sender string, m proto.Message) Reason {
	number := q.types.number(m)
	if number == 0 {
		return DropType
	}
	if !nameOK(target) || len(sender) > nameMax {
		return DropInvalid
	}
	size := proto.Size(m)
	// What the record takes at most, with both names in full.
	most := size + len(target) + len(sender) + recordOverhead
	if most > q.frameMax {
		return DropTooLarge
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != 0 {
		return q.refuse
	}
	if q.bytes+most > q.bytesMax {
		return DropFull
	}
	last := q.room(most)
	var scratch [2*nameMax + recordOverhead]byte
	header := q.enc.header(scratch[:0], number, target, sender)
	b, ok := appendEnvelope(*last, header, m, size)
	if !ok {
		q.enc.undo()
		return DropInvalid
	}
	q.bytes += len(b) - len(*last)
	*last = b
	if q.count++; q.count == 1 {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return 0
}

// recordOverhead bounds what a record has besides names and message: its length,
// its kind, the type's number, the forms and lengths of two names.
const recordOverhead = 4*binary.MaxVarintLen64 + 8

// room returns the chunk that has room for size more bytes.
func (q *queue) room(size int) *[]byte {
	n := len(q.chunks)
	if n == 0 || cap(q.chunks[n-1])-len(q.chunks[n-1]) < size {
		q.chunks = append(q.chunks, q.pool.get(size))
		n++
	}
	return &q.chunks[n-1]
}

// appendEnvelope appends a record to a chunk that has room for it. It fails for
// messages that protobuf refuses or that changed since their size was taken.
func appendEnvelope(chunk, header []byte, m proto.Message, size int) ([]byte, bool) {
	chunk = binary.AppendUvarint(chunk, uint64(1+len(header)+size))
	chunk = append(chunk, kindEnvelope)
	chunk = append(chunk, header...)
	start := len(chunk)
	chunk, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(chunk, m)
	return chunk, err == nil && len(chunk)-start == size
}

// take returns everything that waits.
func (q *queue) take() batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := batch{chunks: q.chunks, count: q.count}
	for _, c := range b.chunks {
		b.bytes += len(c)
	}
	q.chunks, q.count = nil, 0
	return b
}

// done gives back what take returned.
func (q *queue) done(b batch) {
	q.pool.put(b.chunks)
	q.mu.Lock()
	q.bytes -= b.bytes
	q.mu.Unlock()
}

// clear drops what waits and starts the names over, for a new connection. refuse
// is what pushes are answered from now on; 0 accepts them. It returns how many
// messages were dropped.
func (q *queue) clear(refuse Reason) (dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.chunks {
		q.bytes -= len(c)
	}
	q.pool.put(q.chunks)
	dropped = q.count
	q.chunks, q.count = nil, 0
	q.enc.reset()
	q.refuse = refuse
	return dropped
}

// accept takes pushes again after clear refused them.
func (q *queue) accept() {
	q.mu.Lock()
	q.refuse = 0
	q.mu.Unlock()
}

// queued returns the bytes that wait or are being written.
func (q *queue) queued() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
