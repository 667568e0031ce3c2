package register_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	pb "github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
)

// TestRegister tells one register's life, operation by operation.
func TestRegister(t *testing.T) {
	behavior := register.Behavior()
	live, err := behavior.Activate(actors.ActorID{Kind: "register", Key: "r"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		request proto.Message
		want    proto.Message
		changed bool
	}{
		{&pb.ReadRequest{}, &pb.ReadReply{}, false},
		// A register never written to holds the empty string, and is not found.
		{&pb.CompareAndSwapRequest{Expected: "x", Value: "y"}, &pb.CompareAndSwapReply{}, false},
		{&pb.ReadRequest{}, &pb.ReadReply{}, false},
		{&pb.CompareAndSwapRequest{Value: "a"}, &pb.CompareAndSwapReply{Swapped: true, Value: "a"}, true},
		{&pb.ReadRequest{}, &pb.ReadReply{Value: "a", Version: 1, Found: true}, false},
		// Who loses sees what it lost to.
		{&pb.CompareAndSwapRequest{Value: "b"}, &pb.CompareAndSwapReply{Value: "a"}, false},
		{&pb.CompareAndSwapRequest{Expected: "a", Value: "b"}, &pb.CompareAndSwapReply{Swapped: true, Value: "b"}, true},
		// Every write is a version, also one of the same value, also an empty one.
		{&pb.WriteRequest{Value: "b"}, &pb.WriteReply{Version: 3}, true},
		{&pb.CompareAndSwapRequest{Expected: "b", Value: "b"}, &pb.CompareAndSwapReply{Swapped: true, Value: "b"}, true},
		{&pb.WriteRequest{}, &pb.WriteReply{Version: 5}, true},
		{&pb.ReadRequest{}, &pb.ReadReply{Version: 5, Found: true}, false},
	} {
		effects := run(t, behavior, live, step.request)
		got := step.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(effects.Reply, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("step %d, %v (-want +got):\n%s", i, step.request, diff)
		}
		if effects.Changed != step.changed {
			t.Errorf("step %d, %v: got changed %t, want %t", i, step.request, effects.Changed, step.changed)
		}
	}
}

// run runs the method that takes this request.
func run(t *testing.T, behavior *actors.Behavior, live *actors.Activation, request proto.Message) actors.Effects {
	t.Helper()
	payload, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range behavior.Methods() {
		if m.Request.Descriptor() != request.ProtoReflect().Descriptor() {
			continue
		}
		run := live.Command
		if m.Query {
			run = live.Query
		}
		effects, err := run(actors.Input{Method: m, Payload: payload})
		if err != nil || effects.Rejection != nil {
			t.Fatalf("%s: %v %v", m, err, effects.Rejection)
		}
		return effects
	}
	t.Fatalf("no method takes a %T", request)
	return actors.Effects{}
}
