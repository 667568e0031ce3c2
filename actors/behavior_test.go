package actors_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func onAdd(tx *actors.Tx[*pb.Counter], m *pb.AddRequest) (*pb.Count, error) {
	tx.State.Value += m.GetDelta()
	return &pb.Count{Value: tx.State.GetValue()}, nil
}

func TestDefineTellsWhatItWasGiven(t *testing.T) {
	b := actors.Define("counter",
		actors.Version(3),
		actors.On(add, onAdd),
		actors.Read(get, func(actors.View[*pb.Counter], *pb.GetRequest) (*pb.Count, error) { return nil, nil }),
	)
	if b.Kind() != "counter" || b.Version() != 3 {
		t.Errorf("got kind %q version %d, want counter 3", b.Kind(), b.Version())
	}
	if got := b.State().Descriptor().FullName(); got != "counter.Counter" {
		t.Errorf("got state %s, want counter.Counter", got)
	}
	var got []string
	for _, m := range b.Methods() {
		got = append(got, fmt.Sprintf("%s %t %s %s", m, m.Query, m.Request.Descriptor().Name(), m.Reply.Descriptor().Name()))
	}
	want := "counter.Add false AddRequest Count, counter.Get true GetRequest Count"
	if strings.Join(got, ", ") != want {
		t.Errorf("got methods %q, want %q", strings.Join(got, ", "), want)
	}
	if m, ok := b.Method("Add"); !ok || m != b.Methods()[0] {
		t.Errorf("Method(Add) gave %v, %t", m, ok)
	}
	if m, ok := b.Method("add"); ok {
		t.Errorf("Method(add) gave %v; names are exact", m)
	}
	b.Methods()[0] = nil
	if b.Methods()[0] == nil {
		t.Error("a caller changed the behavior through the slice of Methods")
	}
	if got := actors.Define("counter", actors.On(add, onAdd)).Version(); got != 1 {
		t.Errorf("got version %d by default, want 1", got)
	}
}

func TestDefineRefusesWrongPrograms(t *testing.T) {
	onTable := func(*actors.Tx[*messages.Table], *pb.AddRequest) (*pb.Count, error) { return nil, nil }
	sub := actors.NewCommand[*pb.AddRequest, *pb.Count]("counter", "Sub")
	for _, test := range []struct {
		name   string
		define func()
		want   string
	}{
		{"no handler", func() { actors.Define("counter") }, "it has no methods"},
		{"bad kind", func() { actors.Define("Counter", actors.On(add, onAdd)) }, `kind "Counter" is not a name`},
		{"empty kind", func() { actors.Define("", actors.On(add, onAdd)) }, "the kind is empty"},
		{"other kind", func() { actors.Define("clock", actors.On(add, onAdd)) }, "token counter.Add belongs to another kind"},
		{"twice", func() { actors.Define("counter", actors.On(add, onAdd), actors.On(add, onAdd)) }, "method Add is defined twice"},
		{"nil handler", func() { actors.Define("counter", actors.On[*pb.Counter](add, nil)) }, "handler of counter.Add is nil"},
		{"nil query", func() { actors.Define("counter", actors.Read[*pb.Counter](get, nil)) }, "handler of counter.Get is nil"},
		{"nil option", func() { actors.Define("counter", nil) }, "option 1 is nil"},
		{
			"two states", func() { actors.Define("counter", actors.On(add, onAdd), actors.On(sub, onTable)) },
			"handler of Sub works on ringmaster.Table, those before it on counter.Counter",
		},
		{"bad method", func() {
			actors.Define("counter", actors.On(actors.NewCommand[*pb.AddRequest, *pb.Count]("counter", "Add!"), onAdd))
		}, `"Add!" is not a method's name`},
		{"zero token", func() {
			actors.Define("counter", actors.On(actors.Command[*pb.AddRequest, *pb.Count]{}, onAdd))
		}, `"" is not a method's name`},
		{"interface", func() {
			token := actors.NewCommand[proto.Message, *pb.Count]("counter", "Any")
			actors.Define("counter", actors.On(token, func(*actors.Tx[*pb.Counter], proto.Message) (*pb.Count, error) { return nil, nil }))
		}, "the request of Any is an interface"},
		{"version 0", func() { actors.Define("counter", actors.Version(0), actors.On(add, onAdd)) }, "count from 1"},
		{"no state", func() { actors.Define("counter", actors.MaxState(0)) }, "MaxState(0)"},
		{"no reply", func() { actors.Define("counter", actors.MaxReply(-1)) }, "MaxReply(-1)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				got := fmt.Sprint(recover())
				if !strings.Contains(got, test.want) || !strings.HasPrefix(got, "actors.Define(") {
					t.Errorf("got panic %q, want one that says %q", got, test.want)
				}
			}()
			test.define()
		})
	}
}

func TestSystemKindCanBeDefined(t *testing.T) {
	token := actors.NewCommand[*messages.AssignRequest, *messages.Table](actors.SystemKind, "Assign")
	b := actors.Define(actors.SystemKind, actors.On(token,
		func(tx *actors.Tx[*messages.Table], _ *messages.AssignRequest) (*messages.Table, error) {
			return tx.State, nil
		}))
	if b.Kind() != "ring" {
		t.Errorf("got kind %q, want ring", b.Kind())
	}
}

func TestValidateKind(t *testing.T) {
	long := strings.Repeat("k", actors.KindBytesMax)
	for _, kind := range []string{"a", "counter", "a-b_c9", long} {
		if err := actors.ValidateKind(kind); err != nil {
			t.Errorf("%q: %v", kind, err)
		}
	}
	for _, kind := range []string{"", "9a", "-a", "_a", "Counter", "a.b", "a/b", "ä", "a b", "a\n", long + "k"} {
		if got := actors.CodeOf(actors.ValidateKind(kind)); got != messages.Code_CODE_INVALID {
			t.Errorf("%q: got %s, want CODE_INVALID", kind, got)
		}
	}
}

func TestValidateKey(t *testing.T) {
	long := strings.Repeat("k", actors.KeyBytesMax)
	for _, key := range []string{"a", "page-42", "a b/c{d}", "日本", "�", "~", long} {
		if err := actors.ValidateKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"", "\x00", "a\nb", "\x7f", "a\u0085", "\xff", "a\xc3", long + "k"} {
		if got := actors.CodeOf(actors.ValidateKey(key)); got != messages.Code_CODE_INVALID {
			t.Errorf("%q: got %s, want CODE_INVALID", key, got)
		}
	}
}
