package sim

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// moody is a behavior that rejects, fails and panics now and then, as its requests
// have it: none of that may change anything, or be forgotten.
func moody() *actors.Behavior {
	type number = *wrapperspb.Int64Value
	poke := actors.NewCommand[number, number]("moody", "Poke")
	look := actors.NewQuery[number, number]("moody", "Look")
	return actors.Define("moody",
		actors.On(poke, func(tx *actors.Tx[number], m number) (number, error) {
			tx.State.Value = tx.State.GetValue()*3 + m.GetValue()
			switch m.GetValue() {
			case 3:
				return nil, actors.Reject("odd", "%d is too much", tx.State.GetValue())
			case 4:
				return nil, errors.New("no good")
			case 5:
				panic(fmt.Sprintf("moody about %d", tx.State.GetValue()))
			}
			return wrapperspb.Int64(tx.State.GetValue()), nil
		}),
		actors.Read(look, func(v actors.View[number], m number) (number, error) {
			if m.GetValue() == 6 {
				return nil, actors.Reject("blind", "nothing to see")
			}
			if m.GetValue() == 7 {
				panic("do not look")
			}
			return wrapperspb.Int64(v.State.GetValue()), nil
		}),
	)
}

func TestMoodyActors(t *testing.T) {
	for _, seed := range seeds(5) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := Test(t, flags.Apply(Config{Seed: seed, Behaviors: []*actors.Behavior{moody()}, Faults: Swarm(), Duration: time.Minute}), nil)
			failed, rejected := 0, 0
			for _, op := range r.History.Ops() {
				if op.Failed {
					failed++
				}
				if op.Rejection != nil {
					rejected++
				}
			}
			t.Logf("%d failed, %d rejected; %v", failed, rejected, r)
			if failed < 10 || rejected < 10 {
				t.Error("hardly anything went wrong")
			}
		})
	}
}
