package actors_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func benchCounter(b *testing.B, method string, request proto.Message) {
	behavior := counter()
	live, err := behavior.Activate(actors.ActorID{Kind: "counter", Key: "page-42"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	payload, err := proto.Marshal(request)
	if err != nil {
		b.Fatal(err)
	}
	m, _ := behavior.Method(method)
	in := actors.Input{Method: m, Payload: payload, Now: time.Unix(5, 0), Seed: 1}
	run := live.Command
	if m.Query {
		run = live.Query
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := run(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCounterAdd(b *testing.B) { benchCounter(b, "Add", &pb.AddRequest{Delta: 1}) }

func BenchmarkCounterReject(b *testing.B) { benchCounter(b, "Add", &pb.AddRequest{Delta: -1}) }

func BenchmarkCounterGet(b *testing.B) { benchCounter(b, "Get", &pb.GetRequest{}) }

// BenchmarkState8K shows what a turn costs on a nested state of 8 KiB: when it
// changes, when it fails, and when it is read.
func BenchmarkState8K(b *testing.B) {
	refuse := errors.New("no")
	behavior := actors.Define("roster",
		actors.On(enter, func(tx rosterTx, m *messages.Member) (*messages.Table, error) {
			tx.State.Epoch++
			if m.GetWeight() > 0 {
				return nil, refuse
			}
			return nil, nil
		}),
		actors.Read(show, func(rosterView, *messages.Member) (*messages.Table, error) { return nil, nil }),
	)
	table := new(messages.Table)
	for range 64 {
		table.Members = append(table.Members, &messages.Member{NodeId: strings.Repeat("n", 60), Name: strings.Repeat("m", 60)})
	}
	state, err := proto.Marshal(table)
	if err != nil {
		b.Fatal(err)
	}
	enter, _ := behavior.Method("Enter")
	show, _ := behavior.Method("Show")
	for _, bench := range []struct {
		name   string
		method *actors.Method
		weight uint32
	}{{"change", enter, 0}, {"fail", enter, 1}, {"read", show, 0}} {
		b.Run(bench.name, func(b *testing.B) {
			live, err := behavior.Activate(room, state)
			if err != nil {
				b.Fatal(err)
			}
			payload, err := proto.Marshal(&messages.Member{Weight: bench.weight})
			if err != nil {
				b.Fatal(err)
			}
			in := actors.Input{Method: bench.method, Payload: payload}
			b.SetBytes(int64(len(state)))
			b.ReportAllocs()
			for b.Loop() {
				if bench.method.Query {
					_, err = live.Query(in)
				} else {
					_, err = live.Command(in)
				}
				if err != nil && !errors.Is(err, refuse) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	m, _ := counter().Method("Add")
	body := []byte(`{"delta":1}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.DecodeJSON(body); err != nil {
			b.Fatal(err)
		}
	}
}
