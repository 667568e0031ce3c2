// Package register is a versioned register: actors that hold one string, with
// compare-and-swap. It is the classic object to check a cluster's consistency
// with, since every operation's reply tells of those before it.
package register

import (
	"github.com/seed-49de4af9/ringmaster/actors"
	pb "github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
)

// The contract.
var (
	// Write sets the value, whatever it was.
	Write = actors.NewCommand[*pb.WriteRequest, *pb.WriteReply]("register", "Write")
	// CompareAndSwap sets the value if the present one is as expected; a register
	// never written to holds the empty string.
	CompareAndSwap = actors.NewCommand[*pb.CompareAndSwapRequest, *pb.CompareAndSwapReply]("register", "CompareAndSwap")
	// Read gives the value and how many times it was set.
	Read = actors.NewQuery[*pb.ReadRequest, *pb.ReadReply]("register", "Read")
)

// Behavior is what a register does.
func Behavior() *actors.Behavior {
	return actors.Define("register",
		actors.On(Write, write),
		actors.On(CompareAndSwap, compareAndSwap),
		actors.Read(Read, read),
	)
}

func write(tx *actors.Tx[*pb.Register], m *pb.WriteRequest) (*pb.WriteReply, error) {
	set(tx.State, m.GetValue())
	return &pb.WriteReply{Version: tx.State.GetVersion()}, nil
}

// compareAndSwap replies with the value after the operation, so that a caller who
// lost sees what it lost to.
func compareAndSwap(tx *actors.Tx[*pb.Register], m *pb.CompareAndSwapRequest) (*pb.CompareAndSwapReply, error) {
	swapped := tx.State.GetValue() == m.GetExpected()
	if swapped {
		set(tx.State, m.GetValue())
	}
	return &pb.CompareAndSwapReply{Swapped: swapped, Value: tx.State.GetValue()}, nil
}

func read(v actors.View[*pb.Register], _ *pb.ReadRequest) (*pb.ReadReply, error) {
	return &pb.ReadReply{
		Value:   v.State.GetValue(),
		Version: v.State.GetVersion(),
		Found:   v.State.GetVersion() > 0,
	}, nil
}

// set makes a new version.
func set(r *pb.Register, value string) {
	r.Value = value
	r.Version++
}
