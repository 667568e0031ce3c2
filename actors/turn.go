package actors

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"
)

// Tx is one turn in the hands of its handler. It ends with the turn: keeping it
// longer is a mistake that its methods answer with a panic, and State is nil by
// then. It belongs to the handler's goroutine.
type Tx[S proto.Message] struct {
	// State is the actor's state, the handler's own until the turn ends: change
	// it in place, or put another message here. It is never nil at the start.
	State S

	turn
}

// View is an actor's state in the hands of a query's handler. It is valid until
// the handler returns.
type View[S proto.Message] struct {
	// State is the actor's state, to be read only.
	State S

	actor ActorID
	now   time.Time
}

// Actor is the actor that is asked.
func (v View[S]) Actor() ActorID { return v.actor }

// Now is the time of the query, by the clock of the node that answers, in UTC.
func (v View[S]) Now() time.Time { return wallTime(v.now) }

// turn is what a Tx knows whatever its state is.
type turn struct {
	actor ActorID
	now   time.Time
	seed  uint64
	// rand is made when first asked for.
	rand  *rand.Rand
	ended bool
}

// Actor is the actor whose turn it is.
func (t *turn) Actor() ActorID {
	t.check("Actor")
	return t.actor
}

// Now is the time of the turn, by the master's clock, in UTC. It is the same
// during the whole turn, never goes back from turn to turn of an actor, and is
// recorded with the effects.
func (t *turn) Now() time.Time {
	t.check("Now")
	return wallTime(t.now)
}

// Rand is a source of random numbers for this turn alone, seeded by the engine;
// the same within a turn at each call. It is not fit for secrets.
func (t *turn) Rand() *rand.Rand {
	t.check("Rand")
	if t.rand == nil {
		t.rand = rand.New(rand.NewPCG(t.seed, randStream))
	}
	return t.rand
}

// randStream tells the numbers of turns from others drawn from the same seed.
const randStream = 0x7475726e // "turn"

func (t *turn) check(method string) {
	if t.ended {
		panic(fmt.Sprintf("actors: Tx.%s was called after the turn on %s had ended; a handler must not keep its Tx", method, t.actor))
	}
}

// end closes the Tx, whichever way the handler was left.
func (tx *Tx[S]) end() {
	var none S
	tx.State = none
	tx.ended = true
}

// wallTime drops the monotonic clock and the node's time zone, which must not
// show in any result.
func wallTime(t time.Time) time.Time { return t.Round(0).UTC() }
