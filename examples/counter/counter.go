// Package counter is the smallest behavior there is: actors that count.
package counter

import (
	"math"

	"github.com/seed-49de4af9/ringmaster/actors"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// The contract: Add changes a counter, Get reads it.
var (
	Add = actors.NewCommand[*pb.AddRequest, *pb.Count]("counter", "Add")
	Get = actors.NewQuery[*pb.GetRequest, *pb.Count]("counter", "Get")
)

// Behavior is what a counter does.
func Behavior() *actors.Behavior {
	return actors.Define("counter", actors.On(Add, add), actors.Read(Get, get))
}

func add(tx *actors.Tx[*pb.Counter], m *pb.AddRequest) (*pb.Count, error) {
	value, delta := tx.State.GetValue(), m.GetDelta()
	if delta > 0 && value > math.MaxInt64-delta || delta < 0 && value < math.MinInt64-delta {
		return nil, actors.Reject("overflow", "%d and %d more do not fit into 64 bits", value, delta)
	}
	tx.State.Value = value + delta
	return &pb.Count{Value: tx.State.Value}, nil
}

func get(v actors.View[*pb.Counter], _ *pb.GetRequest) (*pb.Count, error) {
	return &pb.Count{Value: v.State.GetValue()}, nil
}
