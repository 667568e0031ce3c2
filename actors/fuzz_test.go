package actors_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// FuzzDecodeJSON: whatever a caller sends, the answer is a payload that decodes
// and has a JSON form, or an error that says CODE_INVALID; never a panic.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"lins":[1]}`, `{"items":[{"sku":"a","unitPrice":1.5,"size":"SIZE_SMALL"}]} x`,
		`{"byName":{"a":{"zku":1}},"at":"2024-05-01T12:00:00Z","extra":{"k":[1,null]}}`, "{\"giftFor\":\"\xff\"}",
		`{"again":{"again":{"first":{"size":9}}},"note":"AAE=","nothing":null}`, `{"paid":`, `{,}`, `{"a":1:2}`,
	} {
		f.Add([]byte(seed))
	}
	method := orderMethod(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		payload, err := method.DecodeJSON(body)
		if err != nil {
			if actors.CodeOf(err) != messages.Code_CODE_INVALID || len(err.Error()) > 4096 {
				t.Fatalf("got %v, want a short error that says CODE_INVALID", err)
			}
			return
		}
		line, err := method.EncodeJSON(payload)
		if err != nil {
			t.Skip(err) // A timestamp or a number that only the binary form can hold.
		}
		again, err := method.DecodeJSON(line)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%s: got %x, %v, then %x", line, payload, err, again)
		}
	})
}

// FuzzActivation: whatever lies on the disk and comes over the wire, a turn gives
// a state that activates again to the same, or it gives an error and changes
// nothing.
func FuzzActivation(f *testing.F) {
	f.Add([]byte(nil), []byte(nil))
	f.Add([]byte{0x0a, 1, 'c', 0x10, 4}, []byte{0x12, 1, 'n'})
	f.Add([]byte{0x10, 4, 0x0a, 1, 'c'}, []byte{0x0a, 5})
	f.Add([]byte{0xa2, 6, 1, 'x'}, []byte{0xff})
	behavior := actors.Define("roster",
		actors.On(enter, func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			tx.State.Members = append(tx.State.Members, m)
			if m.GetWeight() == 7 {
				return nil, actors.Reject("seven", "no")
			}
			return tx.State, nil
		}),
		actors.Read(show, func(v rosterView, _ *messages.Member) (*messages.Table, error) { return v.State, nil }),
	)
	enter, _ := behavior.Method("Enter")
	show, _ := behavior.Method("Show")
	f.Fuzz(func(t *testing.T, state, payload []byte) {
		live, err := behavior.Activate(room, state)
		if err != nil {
			return
		}
		before := mustShow(t, live, show)
		effects, err := live.Command(actors.Input{Method: enter, Payload: payload})
		after := mustShow(t, live, show)
		switch {
		case err != nil && actors.CodeOf(err) != messages.Code_CODE_INVALID:
			t.Fatalf("got %v, want CODE_INVALID", err)
		case (err != nil || effects.Rejection != nil) && !bytes.Equal(before, after):
			t.Fatalf("a turn without success led from %x to %x", before, after)
		case effects.Changed && !bytes.Equal(effects.State, after):
			t.Fatalf("the effects say %x, the actor %x", effects.State, after)
		}
		next, err := behavior.Activate(room, after)
		if err != nil {
			t.Fatal(err)
		}
		if got := mustShow(t, next, show); !bytes.Equal(got, after) {
			t.Fatalf("activated again: got %x, want %x", got, after)
		}
	})
}

// mustShow gives the whole state in deterministic encoding.
func mustShow(t *testing.T, live *actors.Activation, show *actors.Method) []byte {
	t.Helper()
	effects, err := live.Query(actors.Input{Method: show})
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(effects.Reply, new(messages.Table)); err != nil {
		t.Fatal(err)
	}
	return effects.Reply
}
