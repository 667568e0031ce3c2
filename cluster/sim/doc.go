// Package sim runs a whole cluster in one goroutine, on virtual time, from one
// seed. The code of the nodes is the real one; only the world around it is made
// up: a network that loses, repeats, delays and cuts, disks that forget what was
// not synced, clocks that disagree, and clients that retry.
//
// The world is a heap of events. Each one is delivered to a node, whose actors
// then run until none is runnable, in an order drawn from the seed. Nothing else
// decides anything: no goroutine is scheduled, no timer of the machine is read.
// So one seed always gives one run, and a failure is a line that repeats it.
//
// A run has two phases. In the first, faults are drawn from the seed while
// clients work. Then everything is healed, and the cluster must make progress,
// answer for every actor and end with equal replicas. What clients saw is judged
// by a model derived from the behaviors themselves: a behavior is a sequential
// function from state and request to state and reply, and the history of each of
// its actors must be explained by some order of such steps.
//
// A test of a behavior of one's own:
//
//	func TestBank(t *testing.T) {
//		sim.Test(t, sim.Config{Behaviors: []*actors.Behavior{bank.Behavior()}, Faults: sim.Swarm()}, nil)
//	}
package sim
