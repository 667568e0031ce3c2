package sim

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	"github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// told is one operation of a history made up for the checker.
type told struct {
	method     string
	request    proto.Message
	call, done int64 // done 0: the outcome is unknown
	reply      proto.Message
	rejected   string
	refused    bool
}

func add(delta, call, done, value int64) told {
	o := told{method: "Add", request: &counterpb.AddRequest{Delta: delta}, call: call, done: done}
	if done > 0 {
		o.reply = &counterpb.Count{Value: value}
	}
	return o
}

func get(call, done, value int64) told {
	return told{method: "Get", request: &counterpb.GetRequest{}, call: call, done: done, reply: &counterpb.Count{Value: value}}
}

func write(value string, call, done int64, version uint64) told {
	return told{method: "Write", request: &registerpb.WriteRequest{Value: value}, call: call, done: done, reply: &registerpb.WriteReply{Version: version}}
}

func read(value string, version uint64, call, done int64) told {
	return told{
		method: "Read", request: &registerpb.ReadRequest{}, call: call, done: done,
		reply: &registerpb.ReadReply{Value: value, Version: version, Found: version > 0},
	}
}

func swap(expected, value string, call, done int64, swapped bool, now string) told {
	return told{
		method: "CompareAndSwap", request: &registerpb.CompareAndSwapRequest{Expected: expected, Value: value}, call: call, done: done,
		reply: &registerpb.CompareAndSwapReply{Swapped: swapped, Value: now},
	}
}

// TestCheckerCorpus holds histories whose verdict is known.
func TestCheckerCorpus(t *testing.T) {
	tests := []struct {
		name string
		ops  []told
		want bool
	}{
		{"counter: one after the other", []told{add(1, 1, 2, 1), add(2, 3, 4, 3), get(5, 6, 3)}, true},
		{"counter: concurrent, in the other order", []told{add(1, 1, 10, 3), add(2, 2, 9, 2), get(11, 12, 3)}, true},
		{"counter: an acknowledged add is lost", []told{add(1, 1, 2, 1), get(3, 4, 0)}, false},
		{"counter: an add happened twice", []told{add(1, 1, 2, 1), get(3, 4, 2)}, false},
		{"counter: two adds saw the same value", []told{add(1, 1, 10, 1), add(1, 2, 9, 1)}, false},
		{"counter: unknown add happened", []told{add(5, 1, 0, 0), get(2, 3, 5)}, true},
		{"counter: unknown add never happened", []told{add(5, 1, 0, 0), get(2, 3, 0)}, true},
		{"counter: unknown add happens late", []told{add(5, 1, 0, 0), get(2, 3, 0), get(4, 5, 5)}, true},
		{"counter: unknown add comes and goes", []told{add(5, 1, 0, 0), get(2, 3, 5), get(4, 5, 0)}, false},
		{"counter: unknown add happened twice", []told{add(5, 1, 0, 0), get(2, 3, 10)}, false},
		{"counter: refused add did not happen", []told{{method: "Add", request: &counterpb.AddRequest{Delta: 1}, call: 1, done: 2, refused: true}, get(3, 4, 0)}, true},
		{"counter: refused add happened", []told{{method: "Add", request: &counterpb.AddRequest{Delta: 1}, call: 1, done: 2, refused: true}, get(3, 4, 1)}, false},
		{"counter: overflow is rejected", []told{add(1<<62, 1, 2, 1<<62), {method: "Add", request: &counterpb.AddRequest{Delta: 1 << 62}, call: 3, done: 4, rejected: "overflow"}, get(5, 6, 1<<62)}, true},
		{"counter: rejected without a reason", []told{{method: "Add", request: &counterpb.AddRequest{Delta: 1}, call: 3, done: 4, rejected: "overflow"}}, false},
		{"counter: stale read", []told{add(1, 1, 2, 1), add(1, 3, 4, 2), get(5, 6, 1)}, false},
		{"counter: a read during the add may see either", []told{add(1, 1, 10, 1), get(2, 3, 0), get(4, 5, 1)}, true},
		{"counter: a read during the add may not go back", []told{add(1, 1, 10, 1), get(2, 3, 1), get(4, 5, 0)}, false},
		{"register: write, read", []told{read("", 0, 1, 2), write("a", 3, 4, 1), read("a", 1, 5, 6)}, true},
		{"register: version skips", []told{write("a", 1, 2, 1), write("b", 3, 4, 3)}, false},
		{"register: swap", []told{write("a", 1, 2, 1), swap("a", "b", 3, 4, true, "b"), read("b", 2, 5, 6)}, true},
		{"register: two swaps of one value", []told{write("a", 1, 2, 1), swap("a", "b", 3, 10, true, "b"), swap("a", "c", 4, 9, true, "c")}, false},
		{"register: swap that lost saw what it lost to", []told{write("a", 1, 2, 1), swap("a", "b", 3, 10, true, "b"), swap("a", "c", 4, 9, false, "b")}, true},
		{"register: old value after a new one", []told{write("a", 1, 2, 1), write("b", 3, 4, 2), read("a", 1, 5, 6)}, false},
		{"register: read from the future", []told{read("a", 1, 1, 2), write("a", 3, 4, 1)}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := counter.Behavior()
			if strings.HasPrefix(test.name, "register") {
				b = register.Behavior()
			}
			v, err := NewChecker(b).Check(tell(t, b, test.ops))
			if err != nil {
				t.Fatal(err)
			}
			if v.OK != test.want || v.Undecided {
				t.Errorf("got linearizable %v, undecided %v, want %v", v.OK, v.Undecided, test.want)
			}
		})
	}
}

// tell makes operations of a told history.
func tell(t *testing.T, b *actors.Behavior, all []told) []*Op {
	t.Helper()
	h := History{}
	for i, o := range all {
		m, ok := b.Method(o.method)
		if !ok {
			t.Fatalf("no method %s", o.method)
		}
		op := h.Begin(i, actors.ActorID{Kind: b.Kind(), Key: "x"}, m, encode(t, o.request), o.call)
		op.Call = o.call
		switch {
		case o.refused:
			op.Outcome, op.Return = Refused, o.done
		case o.done > 0:
			op.Outcome, op.Return = Acked, o.done
			if o.rejected != "" {
				op.Rejection = &messages.Rejection{Code: o.rejected}
			} else {
				op.Reply = encode(t, o.reply)
			}
		}
	}
	return h.Ops()
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
