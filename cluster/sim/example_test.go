package sim_test

import (
	"fmt"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/sim"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// Half a minute of random requests to counters, while nodes crash, links break and
// disks forget: whatever the clients saw can be explained by the counters running
// one request after the other.
func ExampleRun() {
	r := sim.Run(sim.Config{
		Seed:      42,
		Behaviors: []*actors.Behavior{counter.Behavior()},
		Duration:  30 * time.Second,
		Faults:    sim.Swarm(),
	}, nil)
	fmt.Println(r.OK(), r.Violations)
	// Output: true []
}

// A body says what happens, step by step, in virtual time.
func ExampleRun_body() {
	behaviors := []*actors.Behavior{counter.Behavior()}
	r := sim.Run(sim.Config{Behaviors: behaviors}, func(w *sim.World) {
		c := w.Client()
		w.Sleep(5 * time.Second)
		for i := range w.Nodes() {
			w.Crash(i)
			n, err := counter.Add.Call(c.Context(), c, "alice", &counterpb.AddRequest{Delta: 1})
			fmt.Println(n.GetValue(), err)
			w.Start(i)
			w.Sleep(5 * time.Second)
		}
	})
	fmt.Println(r.OK())
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
	// true
}
