package coordinator

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// A coordinator that fails answers what it had, and its next incarnation numbers
// under another session: a number is never given twice.
func TestRestartAnswersAllAndNeverRepeatsANumber(t *testing.T) {
	failOn := uint64(3)
	w := newWorld(t, Limits{}, func(e Event) {
		if e.Request == failOn && e.Kind == Routed {
			panic("planted")
		}
	})
	w.startReplica()
	w.master("n2", 1)
	w.call(&messages.Call{Id: 1})
	w.master("n1", 2) // 1 goes to the replica here too
	w.call(&messages.Call{Id: 2, Query: true})
	w.call(&messages.Call{Id: 3})
	for id, want := range map[uint64]messages.Code{
		1: messages.Code_CODE_OUTCOME_UNKNOWN,
		2: messages.Code_CODE_UNAVAILABLE,
		3: messages.Code_CODE_OUTCOME_UNKNOWN,
	} {
		if got := w.answers[id]; len(got) != 1 || got[0].GetCode() != want {
			t.Errorf("request %d: got %v, want one %s", id, got, want)
		}
	}
	failOn = 0
	w.tick(1)
	w.master("n1", 2)
	w.call(&messages.Call{Id: 4})
	first, next := w.requests[1].Call.GetRequest(), w.requests[4].Call.GetRequest()
	if string(first.GetClient()) == string(next.GetClient()) {
		t.Errorf("both incarnations number under %x", first.GetClient())
	}
	if next.GetSequence() != 1 || next.GetLowWater() != 1 {
		t.Errorf("the new session starts with %v, want sequence 1 and low water 1", next)
	}
}

// A request that the replica answers twice, or after its deadline, is answered
// once.
func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	w := newWorld(t, Limits{}, nil)
	w.startReplica()
	w.master("n1", 1)
	r := w.call(&messages.Call{Id: 1, TimeoutMs: 200})
	w.tick(10)
	r.Answer(&messages.Reply{Code: messages.Code_CODE_OK})
	r.Answer(&messages.Reply{Code: messages.Code_CODE_NOT_MASTER})
	w.loop.Drain(nil)
	if got := w.answers[1]; len(got) != 1 || got[0].GetCode() != messages.Code_CODE_OUTCOME_UNKNOWN {
		t.Errorf("got %v, want one OUTCOME_UNKNOWN", got)
	}
}

// The forwarded call is a copy with what is left of the time.
func TestForwardedCall(t *testing.T) {
	w := newWorld(t, Limits{}, nil)
	c := &messages.Call{
		Id: 9, Kind: "k", Key: "a", Method: "m", Payload: []byte("p"), TimeoutMs: 1000, IdempotencyKey: true,
		Request: &messages.RequestID{Client: []byte("digest")},
	}
	w.call(c)
	w.tick(4)
	w.master("n2", 1)
	if len(w.out) != 1 {
		t.Fatalf("%d calls were forwarded, want 1", len(w.out))
	}
	f := w.out[0]
	if f.node != "n2" || f.sender.GetId() != Name(testPartition) || f.sender.GetAddress() != "n1" {
		t.Errorf("went to %s from %v", f.node, f.sender)
	}
	got := f.call
	if got == c || got.GetKind() != "k" || got.GetKey() != "a" || got.GetMethod() != "m" || string(got.GetPayload()) != "p" ||
		!got.GetIdempotencyKey() || string(got.GetRequest().GetClient()) != "digest" || got.GetRequest().GetSequence() != 0 {
		t.Errorf("forwarded %v for %v", got, c)
	}
	if got.GetTimeoutMs() != 800 {
		t.Errorf("time left is %d ms, want 800", got.GetTimeoutMs())
	}
}

func TestBacklogKeepsTheOrder(t *testing.T) {
	var b backlog
	for _, n := range []uint64{2, 5, 9, 4, 1, 7} {
		b.add(&call.Request{Call: &messages.Call{Payload: make([]byte, n)}, Trail: call.Trail{Number: n}})
	}
	if got := b.take().Trail.Number; got != 1 {
		t.Fatalf("first is %d, want 1", got)
	}
	b.add(&call.Request{Call: &messages.Call{Payload: make([]byte, 1)}, Trail: call.Trail{Number: 1}})
	b.expire(func(r *call.Request) bool { return r.Trail.Number == 5 })
	var got []uint64
	for b.len() > 0 {
		got = append(got, b.take().Trail.Number)
	}
	want := []uint64{1, 2, 4, 7, 9}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if b.bytes != 0 {
		t.Errorf("%d bytes are left in an empty backlog", b.bytes)
	}
}

// The cost of a request whose master is here: the coordinator and a replica that
// answers at once, in batches of 64, without and with a number of the client's.
func BenchmarkLocal(b *testing.B) {
	for _, numbered := range []bool{true, false} {
		name := "client-numbers"
		if !numbered {
			name = "coordinator-numbers"
		}
		b.Run(name, func(b *testing.B) { benchmarkLocal(b, numbered) })
	}
}

func benchmarkLocal(b *testing.B, numbered bool) {
	w := newWorld(b, Limits{}, nil)
	ok := &messages.Reply{Code: messages.Code_CODE_OK}
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		if r, is := ctx.Message().(*call.Request); is {
			r.Answer(ok)
		}
	}, actor.WithDispatcher(w.loop))
	if _, err := w.system.Root.SpawnNamed(props, ReplicaName(testPartition)); err != nil {
		b.Fatal(err)
	}
	w.master("n1", 1)
	id := &messages.RequestID{Client: make([]byte, 16), Sequence: 1, LowWater: 1}
	answered := 0
	done := func(*messages.Reply) { answered++ }
	const batch = 64
	requests := make([]*call.Request, batch)
	b.ReportAllocs()
	for i := 0; i < b.N; i += batch {
		b.StopTimer()
		for j := range requests {
			c := &messages.Call{Id: 1, Key: "k"}
			if numbered {
				c.Request = id
			}
			requests[j] = &call.Request{Call: c, Done: done}
		}
		b.StartTimer()
		for _, r := range requests {
			w.system.Root.Send(w.pid, r)
		}
		w.loop.Drain(nil)
	}
	if answered < b.N {
		b.Fatalf("%d of %d were answered", answered, b.N)
	}
}

// TestNumbersOfIncarnationsDiffer: a reply that was held up while the node started
// again once answered another request, because both incarnations counted from 1.
func TestNumbersOfIncarnationsDiffer(t *testing.T) {
	numbers := map[uint64]bool{}
	for boot := range byte(4) {
		produce := Producer(Config{Partition: 7, Self: "N1", ClientID: [16]byte{1, boot}})
		for range 4 {
			c, ok := produce().(*coordinator)
			if !ok {
				t.Fatal("the producer makes something else than a coordinator")
			}
			if numbers[c.number>>20] {
				t.Fatalf("boot %d: an incarnation counts on from %d, where another one counts", boot, c.number)
			}
			numbers[c.number>>20] = true
		}
	}
}
