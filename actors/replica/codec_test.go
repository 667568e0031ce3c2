package replica

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/messages"
)

func sampleMessages() []*pb.Message {
	u := proto.Uint64
	return []*pb.Message{
		{Type: pb.MsgHeartbeat.Enum(), From: u(1), To: u(2), Term: u(3), LogTerm: u(0), Index: u(0), Commit: u(9), Context: []byte("ctx")},
		{Type: pb.MsgAppResp.Enum(), From: u(1), To: u(2), Term: u(3), LogTerm: u(2), Index: u(300), Commit: u(0), Reject: new(true), RejectHint: u(77)},
		{
			Type: pb.MsgApp.Enum(), From: u(1), To: u(2), Term: u(3), LogTerm: u(2), Index: u(10), Commit: u(9),
			Entries: []*pb.Entry{
				{Term: u(3), Index: u(11), Type: pb.EntryNormal.Enum(), Data: []byte("data")},
				{Term: u(3), Index: u(12), Type: pb.EntryConfChangeV2.Enum(), Data: []byte{}},
			},
		},
	}
}

func TestMessagesTravel(t *testing.T) {
	var frame []byte
	want := sampleMessages()
	for i, m := range want {
		frame = appendMessage(frame, uint64(i), m)
	}
	var got []*pb.Message
	err := decodeMessages(frame, func(p uint64, m *pb.Message) {
		if p != uint64(len(got)) {
			t.Errorf("message %d came for partition %d", len(got), p)
		}
		got = append(got, m)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("what came is not what was sent (-want +got):\n%s", diff)
	}
	for cut := range frame {
		n := 0
		if err := decodeMessages(frame[:cut], func(uint64, *pb.Message) { n++ }); err == nil && n == len(want) {
			t.Errorf("a frame cut at %d was read as whole", cut)
		}
	}
}

func TestLocalMessagesDoNotTravel(t *testing.T) {
	for _, kind := range []pb.MessageType{pb.MsgHup, pb.MsgBeat, pb.MsgProp, pb.MsgSnap, pb.MsgStorageAppendResp, pb.MsgTransferLeader, 99} {
		frame := appendMessage(nil, 1, &pb.Message{Type: &kind, From: proto.Uint64(1), To: proto.Uint64(2)})
		if err := decodeMessages(frame, func(uint64, *pb.Message) { t.Errorf("a %v came through", kind) }); err == nil {
			t.Errorf("a %v was read without an error", kind)
		}
	}
}

func FuzzDecodeMessages(f *testing.F) {
	for _, m := range sampleMessages() {
		f.Add(appendMessage(nil, 7, m))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		var again []byte
		if decodeMessages(frame, func(p uint64, m *pb.Message) { again = appendMessage(again, p, m) }) != nil {
			return
		}
		var third []byte
		if err := decodeMessages(again, func(p uint64, m *pb.Message) { third = appendMessage(third, p, m) }); err != nil || !bytes.Equal(again, third) {
			t.Errorf("the same messages encode differently: %x, %x: %v", again, third, err)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(uint64(7), encodeEntry(&pb.Entry{Term: proto.Uint64(3), Data: []byte("x")}))
	f.Fuzz(func(t *testing.T, index uint64, b []byte) {
		e, err := decodeEntry(index, b)
		if err != nil {
			return
		}
		again, err := decodeEntry(index, encodeEntry(e))
		if err != nil || !proto.Equal(e, again) {
			t.Errorf("%v came back as %v, %v", e, again, err)
		}
	})
}

func sampleEntry(turns int) *messages.Entry {
	e := &messages.Entry{Term: 7, Time: 1 << 60}
	for i := range turns {
		e.Turns = append(e.Turns, &messages.Turn{
			Kind: "counter", Key: fmt.Sprintf("key-%d", i), Method: "Add", BehaviorVersion: 1, Version: uint64(i), Digest: 1 << 63,
			Request: &messages.RequestID{Client: []byte("0123456789abcdef"), Sequence: uint64(i), LowWater: 1},
			State:   &messages.StateChange{Change: &messages.StateChange_Whole{Whole: make([]byte, 64)}}, Reply: []byte{8, 1},
		})
	}
	e.Turns = append(e.Turns, &messages.Turn{
		Kind: "counter", Key: "k", Rejection: &messages.Rejection{Code: "no", Message: "not now"},
		State: &messages.StateChange{Change: &messages.StateChange_Deleted{Deleted: true}},
	})
	return e
}

// FuzzDecodeEffects holds decodeEffects equal to proto.Unmarshal on everything
// that a program could have written.
func FuzzDecodeEffects(f *testing.F) {
	for _, n := range []int{0, 1, 3} {
		b, err := proto.Marshal(sampleEntry(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := &messages.Entry{}
		err := proto.Unmarshal(b, want)
		if err == nil {
			// What a program writes: each field once, in order.
			if b, err = (proto.MarshalOptions{Deterministic: true}).Marshal(want); err != nil {
				return
			}
		}
		got, errGot := decodeEffects(b)
		if err != nil {
			return // garbage: no panic is all that is asked
		}
		discardUnknown(want)
		if errGot != nil || !proto.Equal(want, got) {
			t.Errorf("%x: %v, %v; want %v", b, got, errGot, want)
		}
	})
}

func discardUnknown(e *messages.Entry) {
	b, err := proto.Marshal(e)
	if err == nil {
		proto.Reset(e)
		_ = proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, e)
	}
}

func BenchmarkDecodeEffects(b *testing.B) {
	data, err := proto.Marshal(sampleEntry(8))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeEffects(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("protobuf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := proto.Unmarshal(data, &messages.Entry{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
