// Package actors is what a behavior's author imports: it turns a few typed
// handlers over a protobuf state into a kind of actor.
//
// # A behavior
//
// A contract is a set of tokens, one for each method, which carry no code:
//
//	var (
//		Add = actors.NewCommand[*pb.AddRequest, *pb.Count]("counter", "Add")
//		Get = actors.NewQuery[*pb.GetRequest, *pb.Count]("counter", "Get")
//	)
//
// A behavior gives each token its handler:
//
//	func Behavior() *actors.Behavior {
//		return actors.Define("counter",
//			actors.On(Add, func(tx *actors.Tx[*pb.Counter], m *pb.AddRequest) (*pb.Count, error) {
//				tx.State.Value += m.Delta
//				return &pb.Count{Value: tx.State.Value}, nil
//			}),
//			actors.Read(Get, func(v actors.View[*pb.Counter], _ *pb.GetRequest) (*pb.Count, error) {
//				return &pb.Count{Value: v.State.Value}, nil
//			}),
//		)
//	}
//
// Callers need the tokens alone: Add.Call(ctx, client, "page-42", &pb.AddRequest{Delta: 1}).
//
// # A turn
//
// A turn is one command handled by one actor, as a transaction:
//
//  1. The handler sees the state as the previous successful turn left it, and
//     nothing of a turn that failed.
//  2. What it does to [Tx.State] takes effect if and only if it returns no error.
//  3. [Reject] is a durable answer to the caller, who gets the same one when the
//     request is repeated; any other error is a failure. Both change nothing.
//  4. The handler runs once, on the master of the actor's partition. Its effects
//     are replicated, not the command: it may read [Tx.Now] and draw from
//     [Tx.Rand], and slaves will agree.
//  5. The turns of one actor never overlap.
//
// A handler must not block, start goroutines or keep the Tx. A Tx is not a
// [Client]: a turn that waits for another actor's turn does not compile, so no
// two actors can wait for each other.
//
// # The engine's side
//
// [Behavior.Activate] makes an actor live, [Activation.Command] and
// [Activation.Query] run its handlers and hand back their [Effects]. A Behavior
// and its Methods are constant once defined and may be shared by goroutines; an
// Activation belongs to one goroutine at a time.
//
// Later parts of a turn have their places: Effects gathers what a turn does
// beyond its state (sends, timers, bucket writes, events), Tx is where a handler
// asks for it, and [Option] is how a behavior declares it (buckets, upgrades from
// older versions of its state).
package actors
