package actors_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// The roster is a kind with a nested state; its one command does whatever a test
// wants a handler to do.
type (
	rosterTx   = *actors.Tx[*messages.Table]
	rosterView = actors.View[*messages.Table]
)

var (
	enter = actors.NewCommand[*messages.Member, *messages.Table]("roster", "Enter")
	show  = actors.NewQuery[*messages.Member, *messages.Table]("roster", "Show")
	room  = actors.ActorID{Kind: "roster", Key: "room"}
)

type roster struct {
	t        *testing.T
	behavior *actors.Behavior
	live     *actors.Activation
	onEnter  func(tx rosterTx, m *messages.Member) (*messages.Table, error)
	onShow   func(v rosterView, m *messages.Member) (*messages.Table, error)
}

func newRoster(t *testing.T, state []byte, options ...actors.Option) *roster {
	t.Helper()
	r := &roster{t: t}
	r.onEnter = func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
		tx.State.Members = append(tx.State.Members, m)
		tx.State.Epoch++
		return &messages.Table{Epoch: tx.State.GetEpoch()}, nil
	}
	r.onShow = func(v rosterView, _ *messages.Member) (*messages.Table, error) { return v.State, nil }
	r.behavior = actors.Define("roster", append(options,
		actors.On(enter, func(tx rosterTx, m *messages.Member) (*messages.Table, error) { return r.onEnter(tx, m) }),
		actors.Read(show, func(v rosterView, m *messages.Member) (*messages.Table, error) { return r.onShow(v, m) }),
	)...)
	r.activate(state)
	return r
}

func (r *roster) activate(state []byte) {
	r.t.Helper()
	live, err := r.behavior.Activate(room, state)
	if err != nil {
		r.t.Fatal(err)
	}
	r.live = live
}

func (r *roster) input(method, name string) actors.Input {
	r.t.Helper()
	m, ok := r.behavior.Method(method)
	if !ok {
		r.t.Fatalf("no method %s", method)
	}
	payload, err := proto.Marshal(&messages.Member{Name: name})
	if err != nil {
		r.t.Fatal(err)
	}
	return actors.Input{Method: m, Payload: payload, Now: time.Unix(5, 0), Seed: 7}
}

func (r *roster) enter(name string) (actors.Effects, error) {
	return r.live.Command(r.input("Enter", name))
}

func (r *roster) mustEnter(name string) actors.Effects {
	r.t.Helper()
	effects, err := r.enter(name)
	if err != nil || effects.Rejection != nil {
		r.t.Fatalf("Enter %s: %v %v", name, err, effects.Rejection)
	}
	return effects
}

// names asks the live actor.
func (r *roster) names() string {
	r.t.Helper()
	effects, err := r.live.Query(r.input("Show", ""))
	if err != nil {
		r.t.Fatal(err)
	}
	var table messages.Table
	if err := proto.Unmarshal(effects.Reply, &table); err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, m := range table.GetMembers() {
		names = append(names, m.GetName())
	}
	return strings.Join(names, " ")
}

func TestTurnGivesReplyAndWholeState(t *testing.T) {
	r := newRoster(t, nil)
	first := r.mustEnter("ann")
	second := r.mustEnter("bob")
	if !first.Changed || !second.Changed {
		t.Errorf("got Changed %t, %t, want both", first.Changed, second.Changed)
	}
	var got messages.Table
	if err := proto.Unmarshal(second.State, &got); err != nil {
		t.Fatal(err)
	}
	want := &messages.Table{Epoch: 2, Members: []*messages.Member{{Name: "ann"}, {Name: "bob"}}}
	if diff := cmp.Diff(want, &got, protocmp.Transform()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	var reply messages.Table
	if err := proto.Unmarshal(second.Reply, &reply); err != nil || reply.GetEpoch() != 2 {
		t.Errorf("got reply %v, %v, want epoch 2", &reply, err)
	}
	// A later turn does not write into effects that were handed out.
	before := bytes.Clone(first.State)
	r.mustEnter("cid")
	if !bytes.Equal(before, first.State) {
		t.Error("a turn changed the effects of an earlier one")
	}
}

func TestActivateContinuesWhereStateWasLeft(t *testing.T) {
	r := newRoster(t, nil)
	r.mustEnter("ann")
	state := bytes.Clone(r.mustEnter("bob").State)
	r.activate(state)
	clear(state) // The caller may reuse its bytes.
	if got := r.names(); got != "ann bob" {
		t.Errorf("got %q, want ann bob", got)
	}
}

func TestUnsuccessfulTurnsLeaveNoTrace(t *testing.T) {
	half := func(tx rosterTx, m *messages.Member) {
		tx.State.Members[0].Name = "spoilt"
		tx.State.Members = append(tx.State.Members, m)
		tx.State.ClusterId = "half"
	}
	cause := errors.New("disk on fire")
	for _, test := range []struct {
		name    string
		handle  func(tx rosterTx, m *messages.Member) (*messages.Table, error)
		want    messages.Code
		message string
	}{
		{"error", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			return tx.State, cause
		}, messages.Code_CODE_FAILED, "Enter of roster/room: disk on fire"},
		{"other code", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			return nil, &actors.Error{Code: messages.Code_CODE_UNAVAILABLE, Message: "elsewhere"}
		}, messages.Code_CODE_FAILED, "elsewhere"},
		{"new state and error", func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
			tx.State = &messages.Table{ClusterId: "new"}
			return nil, cause
		}, messages.Code_CODE_FAILED, "disk on fire"},
		{"nil state", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			tx.State = nil
			return nil, nil
		}, messages.Code_CODE_FAILED, "set tx.State to nil"},
		{"bad text in state", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			tx.State.ClusterId = "\xff"
			return nil, nil
		}, messages.Code_CODE_FAILED, "state does not encode"},
		{"bad text in reply", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			return &messages.Table{ClusterId: "\xff"}, nil
		}, messages.Code_CODE_FAILED, "reply does not encode"},
		{"large state", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			tx.State.ClusterId = strings.Repeat("x", 300)
			return nil, nil
		}, messages.Code_CODE_FAILED, "more than the 200 that actors.MaxState allows"},
		{"large reply", func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			half(tx, m)
			return &messages.Table{ClusterId: strings.Repeat("x", 300)}, nil
		}, messages.Code_CODE_FAILED, "more than the 100 that actors.MaxReply allows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRoster(t, nil, actors.MaxState(200), actors.MaxReply(100))
			state := r.mustEnter("ann").State
			normal := r.onEnter
			r.onEnter = test.handle
			effects, err := r.enter("eve")
			if got := actors.CodeOf(err); got != test.want || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got %v, want %s with %q", err, test.want, test.message)
			}
			if diff := cmp.Diff(actors.Effects{}, effects); diff != "" {
				t.Errorf("effects of a failed turn:\n%s", diff)
			}
			r.onEnter = normal
			if got := r.names(); got != "ann" {
				t.Errorf("got %q after a failed turn, want ann", got)
			}
			next := r.mustEnter("bob").State
			r.activate(state)
			if want := r.mustEnter("bob").State; !bytes.Equal(next, want) {
				t.Errorf("the turn after the failed one gave %x, want %x", next, want)
			}
		})
	}
}

func TestFailedTurnKeepsItsCause(t *testing.T) {
	cause := errors.New("disk on fire")
	r := newRoster(t, nil)
	r.onEnter = func(rosterTx, *messages.Member) (*messages.Table, error) { return nil, fmt.Errorf("enter: %w", cause) }
	if _, err := r.enter("ann"); !errors.Is(err, cause) {
		t.Errorf("got %v, want an error that wraps %v", err, cause)
	}
}

func TestRejectionIsAnAnswerAndChangesNothing(t *testing.T) {
	r := newRoster(t, nil)
	r.mustEnter("ann")
	normal := r.onEnter
	for _, test := range []struct {
		err  error
		want *messages.Rejection
	}{
		{actors.Reject("full", "no room for %s", "eve"), &messages.Rejection{Code: "full", Message: "no room for eve"}},
		{fmt.Errorf("door: %w", actors.Reject("full", "no")), &messages.Rejection{Code: "full", Message: "no"}},
		{actors.Reject("", "\xff%s", ""), &messages.Rejection{Code: "rejected", Message: "�"}},
		{&actors.Error{Code: messages.Code_CODE_REJECTED, Message: "by hand"}, &messages.Rejection{Code: "rejected", Message: "by hand"}},
		{
			actors.Reject(strings.Repeat("é", 33), "%s", strings.Repeat("é", 600)),
			&messages.Rejection{Code: strings.Repeat("é", 32), Message: strings.Repeat("é", 512)},
		},
	} {
		r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
			tx.State.Members[0].Name = "spoilt"
			return tx.State, test.err
		}
		effects, err := r.enter("eve")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(actors.Effects{Rejection: test.want}, effects, protocmp.Transform()); diff != "" {
			t.Errorf("%v: effects (-want +got):\n%s", test.err, diff)
		}
		r.onEnter = normal
		if got := r.names(); got != "ann" {
			t.Errorf("got %q after a rejection, want ann", got)
		}
	}
}

func TestPanicComesThroughAndClosesTheActivation(t *testing.T) {
	r := newRoster(t, nil)
	var kept rosterTx
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		kept = tx
		tx.State.ClusterId = "half"
		panic("boom")
	}
	func() {
		defer func() {
			if got := recover(); got != "boom" {
				t.Errorf("got panic %v, want boom", got)
			}
		}()
		_, _ = r.enter("ann")
	}()
	if kept.State != nil {
		t.Error("the Tx of a turn that panicked still has its state")
	}
	if _, err := r.enter("bob"); actors.CodeOf(err) != messages.Code_CODE_FAILED {
		t.Errorf("Command after a panic gave %v, want CODE_FAILED", err)
	}
	if _, err := r.live.Query(r.input("Show", "")); actors.CodeOf(err) != messages.Code_CODE_FAILED {
		t.Errorf("Query after a panic gave %v, want CODE_FAILED", err)
	}
}

func TestTurnsOfAnActorDoNotOverlap(t *testing.T) {
	r := newRoster(t, nil)
	var inner error
	r.onEnter = func(rosterTx, *messages.Member) (*messages.Table, error) {
		_, inner = r.live.Command(r.input("Enter", "inner"))
		return nil, nil
	}
	r.mustEnter("outer")
	if actors.CodeOf(inner) != messages.Code_CODE_FAILED || !strings.Contains(inner.Error(), "still running") {
		t.Errorf("a turn within a turn gave %v, want a failure", inner)
	}
	if got := r.names(); got != "" {
		t.Errorf("got %q, want nobody", got)
	}
}

func TestTxIsUselessAfterItsTurn(t *testing.T) {
	r := newRoster(t, nil)
	var kept rosterTx
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		kept = tx
		return nil, nil
	}
	r.mustEnter("ann")
	r.mustEnter("bob") // Nor does a later turn wake it up.
	for name, use := range map[string]func(){
		"Now":   func() { kept.Now() },
		"Rand":  func() { kept.Rand() },
		"Actor": func() { kept.Actor() },
	} {
		func() {
			defer func() {
				want := "actors: Tx." + name + " was called after the turn on roster/room had ended"
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, want) {
					t.Errorf("got panic %q, want %q", got, want)
				}
			}()
			use()
		}()
	}
	if kept.State != nil {
		t.Error("a Tx still has its state after the turn")
	}
}

func TestQueryThatWritesFailsAndIsUndone(t *testing.T) {
	r := newRoster(t, nil)
	r.mustEnter("ann")
	normal := r.onShow
	for name, answer := range map[string]error{"reply": nil, "rejection": actors.Reject("no", "no"), "error": errors.New("no")} {
		r.onShow = func(v rosterView, _ *messages.Member) (*messages.Table, error) {
			v.State.Members[0].Name = "spoilt"
			return v.State, answer
		}
		effects, err := r.live.Query(r.input("Show", ""))
		if actors.CodeOf(err) != messages.Code_CODE_FAILED || !strings.Contains(err.Error(), "changed the state") {
			t.Errorf("%s: got %v %v, want a failure", name, effects, err)
		}
		r.onShow = normal
		if got := r.names(); got != "ann" {
			t.Errorf("%s: got %q, want ann", name, got)
		}
	}
}

func TestQueryAnswers(t *testing.T) {
	r := newRoster(t, nil)
	r.onShow = func(v rosterView, _ *messages.Member) (*messages.Table, error) {
		return nil, actors.Reject("closed", "%s at %d", v.Actor(), v.Now().Unix())
	}
	effects, err := r.live.Query(r.input("Show", ""))
	want := actors.Effects{Rejection: &messages.Rejection{Code: "closed", Message: "roster/room at 5"}}
	if diff := cmp.Diff(want, effects, protocmp.Transform()); diff != "" || err != nil {
		t.Errorf("rejected query: %v (-want +got):\n%s", err, diff)
	}
	r.onShow = func(rosterView, *messages.Member) (*messages.Table, error) { return nil, errors.New("broken") }
	if _, err := r.live.Query(r.input("Show", "")); actors.CodeOf(err) != messages.Code_CODE_FAILED {
		t.Errorf("got %v, want CODE_FAILED", err)
	}
	r.onShow = func(rosterView, *messages.Member) (*messages.Table, error) { return nil, nil }
	if effects, err := r.live.Query(r.input("Show", "")); err != nil || effects.Reply != nil || effects.Changed {
		t.Errorf("got %+v, %v, want the empty reply", effects, err)
	}
}

func TestUnchangedStateIsNotShipped(t *testing.T) {
	r := newRoster(t, nil)
	r.mustEnter("ann")
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		// Another message with the same content is no change.
		tx.State = proto.CloneOf(tx.State)
		tx.State.Epoch++
		tx.State.Epoch--
		return tx.State, nil
	}
	effects := r.mustEnter("bob")
	if effects.Changed || effects.State != nil || len(effects.Reply) == 0 {
		t.Errorf("got %+v, want a reply and no change", effects)
	}
}

func TestStateMayBeReplaced(t *testing.T) {
	r := newRoster(t, nil)
	r.mustEnter("ann")
	normal := r.onEnter
	r.onEnter = func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
		tx.State = &messages.Table{Members: []*messages.Member{m}}
		return nil, nil
	}
	r.mustEnter("bob")
	r.onEnter = normal
	r.mustEnter("cid")
	if got := r.names(); got != "bob cid" {
		t.Errorf("got %q, want bob cid", got)
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	// Field 100 is one that a newer version of the program wrote.
	newer := protowire.AppendTag(nil, 100, protowire.BytesType)
	newer = protowire.AppendString(newer, "from the future")
	r := newRoster(t, newer)
	for _, name := range []string{"ann", "bob"} {
		if state := r.mustEnter(name).State; !bytes.Contains(state, newer) {
			t.Fatalf("the state after %s lost a field: %x", name, state)
		}
	}
	r.onEnter = func(rosterTx, *messages.Member) (*messages.Table, error) { return nil, errors.New("no") }
	_, _ = r.enter("eve")
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		tx.State.Epoch = 9
		return nil, nil
	}
	if state := r.mustEnter("cid").State; !bytes.Contains(state, newer) {
		t.Errorf("the state after a failed turn lost a field: %x", state)
	}
}

// TestStoredOrderIsNoChange: a state that was stored in another order of fields
// than ours is not reported as changed by a turn that changes nothing.
func TestStoredOrderIsNoChange(t *testing.T) {
	stored := protowire.AppendTag(nil, 2, protowire.VarintType) // Epoch before cluster id.
	stored = protowire.AppendVarint(stored, 4)
	stored = protowire.AppendTag(stored, 1, protowire.BytesType)
	stored = protowire.AppendString(stored, "c")
	r := newRoster(t, stored)
	r.onEnter = func(rosterTx, *messages.Member) (*messages.Table, error) { return nil, nil }
	if r.mustEnter("ann").Changed {
		t.Error("a turn that did nothing changed the state")
	}
}

func TestStateWithMapsIsDeterministic(t *testing.T) {
	put := actors.NewCommand[*structpb.Struct, *structpb.Struct]("map", "Put")
	b := actors.Define("map", actors.On(put, func(tx *actors.Tx[*structpb.Struct], m *structpb.Struct) (*structpb.Struct, error) {
		tx.State = m
		return nil, nil
	}))
	method, _ := b.Method("Put")
	fields := make(map[string]*structpb.Value)
	for i := range 50 {
		fields[fmt.Sprint("key", i)] = structpb.NewNumberValue(float64(i))
	}
	live, err := b.Activate(actors.ActorID{Kind: "map", Key: "m"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		// Each marshaling orders the map anew.
		payload, err := proto.Marshal(&structpb.Struct{Fields: fields})
		if err != nil {
			t.Fatal(err)
		}
		effects, err := live.Command(actors.Input{Method: method, Payload: payload})
		if err != nil || effects.Changed != (i == 0) {
			t.Fatalf("turn %d: changed %t, %v; want a change in turn 0 alone", i, effects.Changed, err)
		}
	}
}

func TestSeedDecidesRandomNumbers(t *testing.T) {
	r := newRoster(t, nil)
	var drawn []uint64
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		if first, second := tx.Rand(), tx.Rand(); first != second {
			t.Error("a second call of Rand started over")
		}
		drawn = append(drawn, tx.Rand().Uint64())
		return nil, nil
	}
	in := r.input("Enter", "ann")
	for _, seed := range []uint64{1, 2, 1} {
		in.Seed = seed
		if _, err := r.live.Command(in); err != nil {
			t.Fatal(err)
		}
	}
	if drawn[0] != drawn[2] || drawn[0] == drawn[1] {
		t.Errorf("seeds 1, 2, 1 drew %v", drawn)
	}
}

func TestNowIsUTC(t *testing.T) {
	r := newRoster(t, nil)
	var got time.Time
	r.onEnter = func(tx rosterTx, _ *messages.Member) (*messages.Table, error) {
		got = tx.Now()
		return nil, nil
	}
	in := r.input("Enter", "ann")
	in.Now = time.Date(2024, 5, 1, 12, 0, 0, 1, time.FixedZone("far", 3600))
	if _, err := r.live.Command(in); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2024, 5, 1, 11, 0, 0, 1, time.UTC); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWrongInputIsRefusedBeforeTheHandler(t *testing.T) {
	r := newRoster(t, nil)
	r.onEnter = func(rosterTx, *messages.Member) (*messages.Table, error) {
		t.Error("the handler ran")
		return nil, nil
	}
	good := r.input("Enter", "ann")
	query := r.input("Show", "").Method
	foreign := newRoster(t, nil).input("Enter", "").Method
	for _, test := range []struct {
		name string
		run  func(actors.Input) (actors.Effects, error)
		in   actors.Input
		want string
	}{
		{
			"cut off", r.live.Command,
			actors.Input{Method: good.Method, Payload: []byte{0x0a, 5}},
			"roster.Enter: the payload is not a ringmaster.Member: ",
		},
		{
			"cut off query", r.live.Query,
			actors.Input{Method: query, Payload: []byte{0x0a, 5}},
			"roster.Show: the payload is not a ringmaster.Member: ",
		},
		{"no method", r.live.Command, actors.Input{}, "not a method of this behavior"},
		{"another's method", r.live.Command, actors.Input{Method: foreign}, "not a method of this behavior"},
		{"made up", r.live.Command, actors.Input{Method: &actors.Method{Kind: "roster", Name: "Enter"}}, "not a method of this behavior"},
		{"query as command", r.live.Command, actors.Input{Method: query}, "roster.Show is a query"},
		{"command as query", r.live.Query, good, "roster.Enter is a command"},
	} {
		_, err := test.run(test.in)
		if actors.CodeOf(err) != messages.Code_CODE_INVALID || !strings.Contains(fmt.Sprint(err), test.want) {
			t.Errorf("%s: got %v, want CODE_INVALID with %q", test.name, err, test.want)
		}
	}
}

func TestPayloadDepthIsBounded(t *testing.T) {
	type empty = *structpb.Value
	put := actors.NewCommand[empty, empty]("deep", "Put")
	b := actors.Define("deep", actors.On(put, func(tx *actors.Tx[empty], m empty) (empty, error) { return m, nil }))
	method, _ := b.Method("Put")
	live, err := b.Activate(actors.ActorID{Kind: "deep", Key: "d"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		depth int
		want  messages.Code
	}{{20, messages.Code_CODE_OK}, {200, messages.Code_CODE_INVALID}} {
		v := structpb.NewNullValue()
		for range test.depth {
			v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
		}
		payload, err := proto.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := live.Command(actors.Input{Method: method, Payload: payload}); actors.CodeOf(err) != test.want {
			t.Errorf("depth %d: got %v, want %s", test.depth, err, test.want)
		}
	}
}

func TestActivateRefuses(t *testing.T) {
	b := newRoster(t, nil).behavior
	for _, test := range []struct {
		id    actors.ActorID
		state []byte
		want  messages.Code
	}{
		{actors.ActorID{Kind: "counter", Key: "a"}, nil, messages.Code_CODE_INVALID},
		{actors.ActorID{Kind: "roster", Key: "\n"}, nil, messages.Code_CODE_INVALID},
		{actors.ActorID{Kind: "roster", Key: "a"}, []byte{0xff}, messages.Code_CODE_FAILED},
	} {
		if _, err := b.Activate(test.id, test.state); actors.CodeOf(err) != test.want {
			t.Errorf("%s: got %v, want %s", test.id, err, test.want)
		}
	}
	live, err := b.Activate(room, []byte{})
	if err != nil || live.ID() != room {
		t.Errorf("got %v, %v, want a live %s", live, err, room)
	}
}
