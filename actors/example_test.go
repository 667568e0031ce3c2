package actors_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// The contract of a counter that only counts up: tokens, without any code.
var (
	add = actors.NewCommand[*pb.AddRequest, *pb.Count]("counter", "Add")
	get = actors.NewQuery[*pb.GetRequest, *pb.Count]("counter", "Get")
)

func counter() *actors.Behavior {
	return actors.Define("counter",
		actors.On(add, func(tx *actors.Tx[*pb.Counter], m *pb.AddRequest) (*pb.Count, error) {
			tx.State.Value += m.Delta
			if m.Delta < 0 {
				return nil, actors.Reject("negative", "%s only counts up, not by %d", tx.Actor(), m.Delta)
			}
			return &pb.Count{Value: tx.State.Value}, nil
		}),
		actors.Read(get, func(v actors.View[*pb.Counter], _ *pb.GetRequest) (*pb.Count, error) {
			return &pb.Count{Value: v.State.Value}, nil
		}),
	)
}

// inMemory is a client whose actors live in a map: what a cluster does, without
// the cluster.
type inMemory struct {
	behavior *actors.Behavior
	actors   map[actors.ActorID]*actors.Activation
}

func (c *inMemory) Invoke(_ context.Context, inv actors.Invocation) ([]byte, error) {
	method, ok := c.behavior.Method(inv.Method)
	if !ok {
		return nil, errors.New("no such method")
	}
	live, ok := c.actors[inv.Actor]
	if !ok {
		var err error
		if live, err = c.behavior.Activate(inv.Actor, nil); err != nil {
			return nil, err
		}
		c.actors[inv.Actor] = live
	}
	run := live.Command
	if inv.Query {
		run = live.Query
	}
	effects, err := run(actors.Input{Method: method, Payload: inv.Payload, Now: time.Unix(0, 0), Seed: 1})
	if err != nil {
		return nil, err
	}
	if r := effects.Rejection; r != nil {
		return nil, actors.Reject(r.GetCode(), "%s", r.GetMessage())
	}
	return effects.Reply, nil
}

func Example() {
	client := &inMemory{behavior: counter(), actors: make(map[actors.ActorID]*actors.Activation)}
	ctx := context.Background()

	for _, delta := range []int64{3, 4, -1} {
		n, err := add.Call(ctx, client, "page-42", &pb.AddRequest{Delta: delta})
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(n.GetValue())
	}
	n, err := get.Call(ctx, client, "page-42", &pb.GetRequest{})
	fmt.Println(n.GetValue(), err)
	// Output:
	// 3
	// 7
	// rejected (negative): counter/page-42 only counts up, not by -1
	// 7 <nil>
}

func ExampleReject() {
	err := fmt.Errorf("withdraw: %w", actors.Reject("insufficient_funds", "%d is less than %d", 3, 5))
	fmt.Println(actors.RejectionOf(err).GetCode())
	fmt.Println(err)
	// Output:
	// insufficient_funds
	// withdraw: rejected (insufficient_funds): 3 is less than 5
}

func ExampleTx() {
	roll := actors.NewCommand[*pb.GetRequest, *pb.Count]("die", "Roll")
	die := actors.Define("die", actors.On(roll, func(tx *actors.Tx[*pb.Counter], _ *pb.GetRequest) (*pb.Count, error) {
		fmt.Println(tx.Actor(), "at", tx.Now().Format(time.TimeOnly))
		tx.State.Value = 1 + tx.Rand().Int64N(6)
		return nil, nil // The empty reply.
	}))
	live, _ := die.Activate(actors.ActorID{Kind: "die", Key: "red"}, nil)
	method, _ := die.Method("Roll")
	in := actors.Input{Method: method, Now: time.Unix(3600, 0), Seed: rand.Uint64()}
	first, _ := live.Command(in)
	second, _ := live.Command(in) // The same seed: the same number.
	fmt.Println(first.Changed, second.Changed, len(second.Reply))
	// Output:
	// die/red at 01:00:00
	// die/red at 01:00:00
	// true false 0
}

func ExampleMethod_DecodeJSON() {
	method, _ := counter().Method("Add")
	payload, err := method.DecodeJSON([]byte(`{"delta": 5}`))
	fmt.Printf("%x %v\n", payload, err)
	_, err = method.DecodeJSON([]byte(`{"delat": 5}`))
	fmt.Println(err)
	// Output:
	// 0805 <nil>
	// invalid: counter.Add has no field "delat" (line 1:2). Did you mean "delta"? AddRequest { int64 delta }
}

func ExampleMethod_EncodeJSON() {
	method, _ := counter().Method("Add")
	line, err := method.EncodeJSON(nil)
	fmt.Println(string(line), err)
	// Output:
	// {"value":"0"} <nil>
}

func ExampleNearest() {
	fmt.Printf("%q\n", actors.Nearest("ad", []string{"Get", "Add"}))
	fmt.Printf("%q\n", actors.Nearest("Withdraw", []string{"Get", "Add"}))
	// Output:
	// "Add"
	// ""
}
