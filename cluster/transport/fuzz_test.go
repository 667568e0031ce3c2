package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// FuzzFrame feeds the bytes of a connection. Records come out that are within
// bounds, or an error.
func FuzzFrame(f *testing.F) {
	f.Add(appendRecord(nil, kindPing, 1))
	f.Add([]byte("\x05\x03abcd\x02\x01\x00"))
	f.Add([]byte("\xff\xff\x03\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 4096
		// A buffer smaller than a record makes both ways of reading work.
		r := newRecordReader(bytes.NewReader(b), most, 64)
		total := 0
		for {
			_, body, err := r.next()
			if err != nil {
				break
			}
			if total += len(body); len(body) >= most || total > len(b) {
				t.Fatalf("record of %d bytes, %d in all, out of %d", len(body), total, len(b))
			}
		}
	})
}

// FuzzHello feeds the first bytes of a connection. A hello that is accepted
// survives its own form.
func FuzzHello(f *testing.F) {
	var b bytes.Buffer
	if err := writeHello(&b, validHello()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(helloMagic + "\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err != nil {
			return
		}
		if h.GetRefusal() == nil && (h.GetNodeId() == "" || len(h.GetNodeId()) > nodeIDMax || h.GetLane() >= uint32(laneCount)) {
			t.Fatalf("accepted %v", h)
		}
		var again bytes.Buffer
		if err := writeHello(&again, h); err != nil {
			t.Fatal(err)
		}
		if h2, err := readHello(&again); err != nil || !proto.Equal(h, h2) {
			t.Fatalf("%v became %v, %v", h, h2, err)
		}
	})
}

// FuzzEnvelope feeds records of one connection, each with its length in front.
// Whatever they are, the decoder neither panics nor loses count of names.
func FuzzEnvelope(f *testing.F) {
	types, err := NewTypes(testTypes())
	if err != nil {
		f.Fatal(err)
	}
	var enc encoder
	var seed []byte
	for range 2 {
		b := enc.header(nil, 1, "raft", "replica/1")
		b, _ = proto.MarshalOptions{}.MarshalAppend(b, &messages.Call{Id: 1, Key: "k", Payload: []byte("p")})
		seed = append(binary.AppendUvarint(seed, uint64(len(b))), b...)
	}
	f.Add(seed)
	f.Add([]byte("\x04\x01\x02\x01a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := decoder{types: types.types, elementsMax: 64}
		r := bytes.NewReader(b)
		for {
			n, err := binary.ReadUvarint(r)
			if err != nil || n > 1<<16 {
				return
			}
			record := make([]byte, n)
			if _, err := io.ReadFull(r, record); err != nil {
				return
			}
			e, err := d.decode(record)
			if errors.Is(err, errEnvelope) {
				return
			}
			if !nameOK(e.Target) || len(e.Sender) > nameMax || len(d.names) > namesMax {
				t.Fatalf("decoded %+v with %d names", e, len(d.names))
			}
			if err == nil {
				again, err := EncodeEnvelope(types, nil, e)
				if err != nil {
					t.Fatalf("%+v: %v", e, err)
				}
				if e2, err := DecodeEnvelope(types, again); err != nil || !proto.Equal(e.Message, e2.Message) {
					t.Fatalf("%+v became %+v, %v", e, e2, err)
				}
			}
		}
	})
}
