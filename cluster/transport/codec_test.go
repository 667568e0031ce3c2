package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/messages"
)

func mustTypes(t testing.TB) *Types {
	types, err := NewTypes(testTypes())
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func TestEnvelopeStandsForItself(t *testing.T) {
	types := mustTypes(t)
	for _, want := range []Envelope{
		{Target: "raft", Message: &messages.RaftBatch{Frames: []byte("f")}},
		{Target: "calls", Sender: "coordinator/7", Message: &messages.Call{Id: 1, Payload: []byte("p")}},
		{Target: "calls", Message: &messages.Reply{}},
	} {
		b, err := EncodeEnvelope(types, []byte("before"), want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeEnvelope(types, bytes.TrimPrefix(b, []byte("before")))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for _, bad := range []Envelope{
		{Target: "raft", Message: &messages.Table{}},
		{Target: "", Message: &messages.Call{}},
		{Target: "raft", Sender: string(make([]byte, 256)), Message: &messages.Call{}},
	} {
		if _, err := EncodeEnvelope(types, nil, bad); err == nil {
			t.Errorf("encoded %.40q", bad.Target)
		}
	}
}

// A connection's names cost one byte from their second use on, in the order in
// which both ends see them.
func TestNamesAreNumbered(t *testing.T) {
	types := mustTypes(t)
	var enc encoder
	dec := decoder{types: types.types, elementsMax: 100}
	size := map[string]int{}
	for round := range 3 {
		for i := range 5000 {
			name := fmt.Sprintf("replica/%d", i)
			b := enc.header(nil, 1, name, name)
			if round == 1 {
				size[name] = len(b)
			}
			e, err := dec.decode(b)
			if err != nil || e.Target != name || e.Sender != name {
				t.Fatalf("round %d: %q became %+v, %v", round, name, e, err)
			}
		}
	}
	if got := size["replica/7"]; got != 3 {
		t.Errorf("a hot header has %d bytes, want 3", got)
	}
	if got := size["replica/4999"]; got < 2*len("replica/4999") {
		t.Errorf("a header beyond the table has %d bytes", got)
	}
	enc.reset()
	b := enc.header(nil, 1, "new", "")
	enc.undo()
	if again := enc.header(nil, 1, "new", ""); !bytes.Equal(b, again) {
		t.Errorf("after undo: %x, want %x", again, b)
	}
}

func TestHostilePayloads(t *testing.T) {
	types := mustTypes(t)
	chunk := types.byName["ringmaster.SnapshotChunk"]
	rows := protowire.AppendBytes(protowire.AppendTag(nil, 9, protowire.BytesType), nil)
	tests := map[string][]byte{
		"many empty rows":      bytes.Repeat(rows, 1<<20),
		"many unknown numbers": bytes.Repeat(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1), 1<<20),
		"nested groups":        bytes.Repeat(protowire.AppendTag(nil, 99, protowire.StartGroupType), 1<<20),
		"cut off":              {0x4a, 0x7f},
	}
	for name, b := range tests {
		if m, err := decodeMessage(chunk, b, 65536); !errors.Is(err, errPayload) {
			t.Errorf("%s: %v, error %v", name, m, err)
		}
	}
	// As many elements as are allowed are fine.
	if _, err := decodeMessage(chunk, bytes.Repeat(rows, 65536), 65536); err != nil {
		t.Error(err)
	}
	large := &messages.RaftBatch{Frames: make([]byte, 8<<20)}
	b, err := proto.Marshal(large)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeMessage(types.byName["ringmaster.RaftBatch"], b, 65536); err != nil {
		t.Error(err)
	}
}

// slowReader hands out few bytes at a time and notes how many are asked for.
type slowReader struct {
	data  []byte
	asked int
}

func (r *slowReader) Read(b []byte) (int, error) {
	r.asked = max(r.asked, len(b))
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 7)], r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestRecordsOfAllSizes(t *testing.T) {
	q := queue{types: mustTypes(t), pool: &chunkPool{}, bytesMax: 1 << 30, frameMax: 16 << 20, wake: make(chan struct{}, 1)}
	sizes := []int{0, 1, 100, 127, 128, 300_000, 5, 1 << 20, 3 << 20, 6 << 20, 10}
	for _, n := range sizes {
		if r := q.push("raft", "", &messages.RaftBatch{Frames: bytes.Repeat([]byte{7}, n)}); r != 0 {
			t.Fatal(r)
		}
	}
	b := q.take()
	if b.count != len(sizes) || q.queued() != b.bytes {
		t.Errorf("took %d messages of %d bytes, %d bytes are accounted for", b.count, b.bytes, q.queued())
	}
	r := newRecordReader(bytes.NewReader(bytes.Join(b.chunks, nil)), 16<<20, readBuffer)
	dec := decoder{types: q.types.types, elementsMax: 65536}
	for _, n := range sizes {
		kind, body, err := r.next()
		if err != nil || kind != kindEnvelope {
			t.Fatal(kind, err)
		}
		e, err := dec.decode(body)
		if err != nil || len(e.Message.(*messages.RaftBatch).GetFrames()) != n {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := r.next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want EOF", err)
	}
	q.done(b)
	if q.queued() != 0 {
		t.Errorf("%d bytes are still accounted for", q.queued())
	}
}

func TestMemoryIsTakenAsBytesArrive(t *testing.T) {
	s := &slowReader{data: []byte("\x80\x80\x80\x08\x03abc")} // 16 MiB announced
	r := newRecordReader(s, 16<<20, readBuffer)
	if _, _, err := r.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want an unexpected end", err)
	}
	if s.asked > 4*readBuffer {
		t.Errorf("asked for %d bytes at once", s.asked)
	}
}
