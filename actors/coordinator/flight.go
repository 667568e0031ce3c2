package coordinator

import (
	"cmp"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// flight holds the requests under way: at the replica of this node, and at
// masters elsewhere.
//
// The replica answers straight to the asker, and the coordinator is not told.
// So the local ones are a list from which the answered are dropped now and then;
// the list is there to answer those that the replica never will.
type flight struct {
	self      string
	local     []*call.Request
	localHead int
	// remote holds forwarded requests by number. Iterated only with byNumber.
	remote map[uint64]*call.Request
	// due is at or before the earliest deadline of all.
	due int64
}

func newFlight(self string) flight {
	return flight{self: self, remote: make(map[uint64]*call.Request), due: math.MaxInt64}
}

func (f *flight) addLocal(r *call.Request) {
	f.due = min(f.due, r.Deadline)
	f.trim()
	if !r.Trail.Listed {
		r.Trail.Listed = true
		f.local = append(f.local, r)
	}
}

func (f *flight) addRemote(r *call.Request) {
	f.due = min(f.due, r.Deadline)
	f.remote[r.Trail.Number] = r
}

// trim drops the answered at the front of the local list.
func (f *flight) trim() {
	for f.localHead < len(f.local) && f.local[f.localHead].Answered() {
		f.local[f.localHead] = nil
		f.localHead++
	}
	if f.localHead == len(f.local) {
		f.local, f.localHead = f.local[:0], 0
	}
}

// sweepLocal drops the local requests that were answered or are elsewhere by now,
// and those for which drop says so.
func (f *flight) sweepLocal(drop func(*call.Request) bool) {
	kept := f.local[:0]
	for _, r := range f.local[f.localHead:] {
		if !r.Answered() && r.Trail.Node == f.self && !drop(r) {
			kept = append(kept, r)
			continue
		}
		r.Trail.Listed = false
	}
	clear(f.local[len(kept):])
	f.local, f.localHead = kept, 0
}

// localFull reports whether limit local requests are under way, as far as is
// known since the last sweep.
func (f *flight) localFull(limit int) bool {
	f.trim()
	return len(f.local)-f.localHead >= limit
}

// byNumber lists the forwarded requests that pick chooses, in order.
func (f *flight) byNumber(pick func(*call.Request) bool) []*call.Request {
	var found []*call.Request
	for _, r := range f.remote {
		if pick(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *call.Request) int { return cmp.Compare(a.Trail.Number, b.Trail.Number) })
	return found
}

// A forwarded call's id names the request and the attempt, so that a late reply
// to an earlier attempt is known as such.
const attemptBits = 16

func forwardID(r *call.Request) uint64 {
	return r.Trail.Number<<attemptBits | uint64(r.Trail.Attempt)
}

// firstNumber is where an incarnation begins to count its requests. A reply to a
// request of an earlier incarnation may still come — the master was paused, or a
// link held it back, while this node started again — and must not be taken for
// the reply to a new request. So every incarnation counts from a place of its own.
func firstNumber(session []byte) uint64 {
	return xxhash.Sum64(session) >> (attemptBits + 2)
}

func splitForwardID(id uint64) (number uint64, attempt uint16) {
	return id >> attemptBits, uint16(id)
}

// forwardCopy is the call as it goes to another node. The original stays as it
// is: an earlier copy may still be on its way out.
func forwardCopy(r *call.Request, now int64) *messages.Call {
	c := r.Call
	left := max(1, (r.Deadline-now)/1e6)
	return &messages.Call{
		Id:             forwardID(r),
		Kind:           c.GetKind(),
		Key:            c.GetKey(),
		Method:         c.GetMethod(),
		Payload:        c.GetPayload(),
		Request:        c.GetRequest(),
		TimeoutMs:      uint32(min(left, math.MaxUint32)),
		IdempotencyKey: c.GetIdempotencyKey(),
		Query:          c.GetQuery(),
	}
}
