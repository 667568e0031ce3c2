package counter_test

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// live is a counter in memory, without a cluster.
type live struct {
	t          *testing.T
	activation *actors.Activation
	add, get   *actors.Method
}

func start(t *testing.T, state *pb.Counter) *live {
	t.Helper()
	behavior := counter.Behavior()
	data, err := proto.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	activation, err := behavior.Activate(actors.ActorID{Kind: "counter", Key: "page-42"}, data)
	if err != nil {
		t.Fatal(err)
	}
	add, _ := behavior.Method(counter.Add.Name())
	get, _ := behavior.Method(counter.Get.Name())
	return &live{t: t, activation: activation, add: add, get: get}
}

// count reads a reply, or gives the code of the rejection.
func (l *live) count(effects actors.Effects, err error) (int64, string) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	var reply pb.Count
	if err := proto.Unmarshal(effects.Reply, &reply); err != nil {
		l.t.Fatal(err)
	}
	return reply.GetValue(), effects.Rejection.GetCode()
}

func (l *live) adds(delta int64) (int64, string) {
	l.t.Helper()
	payload, err := proto.Marshal(&pb.AddRequest{Delta: delta})
	if err != nil {
		l.t.Fatal(err)
	}
	return l.count(l.activation.Command(actors.Input{Method: l.add, Payload: payload}))
}

func (l *live) value() int64 {
	l.t.Helper()
	value, _ := l.count(l.activation.Query(actors.Input{Method: l.get}))
	return value
}

func TestCounterCounts(t *testing.T) {
	c := start(t, nil)
	if got := c.value(); got != 0 {
		t.Errorf("a new counter has %d, want 0", got)
	}
	var want int64
	for _, delta := range []int64{1, 41, -50, 0} {
		want += delta
		if got, code := c.adds(delta); got != want || code != "" {
			t.Errorf("Add %d: got %d %q, want %d", delta, got, code, want)
		}
		if got := c.value(); got != want {
			t.Errorf("Get after Add %d: got %d, want %d", delta, got, want)
		}
	}
}

func TestCounterDoesNotOverflow(t *testing.T) {
	for _, test := range []struct {
		value, delta int64
		overflow     bool
	}{
		{math.MaxInt64, 1, true},
		{math.MaxInt64, 0, false},
		{math.MaxInt64, -1, false},
		{math.MaxInt64 - 5, 5, false},
		{math.MaxInt64 - 5, 6, true},
		{1, math.MaxInt64, true},
		{-1, math.MaxInt64, false},
		{math.MinInt64, -1, true},
		{math.MinInt64, math.MinInt64, true},
		{math.MinInt64, math.MaxInt64, false},
		{-1, math.MinInt64, true},
		{0, math.MinInt64, false},
		{math.MaxInt64, math.MinInt64, false},
	} {
		c := start(t, &pb.Counter{Value: test.value})
		got, code := c.adds(test.delta)
		if test.overflow {
			if code != "overflow" || c.value() != test.value {
				t.Errorf("%d + %d: got %d %q, then %d, want a rejection", test.value, test.delta, got, code, c.value())
			}
			continue
		}
		if want := test.value + test.delta; code != "" || got != want || c.value() != want {
			t.Errorf("%d + %d: got %d %q, want %d", test.value, test.delta, got, code, want)
		}
	}
}
