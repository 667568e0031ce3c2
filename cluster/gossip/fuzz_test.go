package gossip

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// FuzzMeta feeds the metadata of strangers. What is accepted has a sound identity
// and survives its own form.
func FuzzMeta(f *testing.F) {
	whole := record{Member: Member{
		NodeID: "01J0000000000000000000000A", Name: "n1", Boot: 7, ClusterID: "c", Zone: "z", Version: "v", Weight: 1, Expect: 3,
		APIAddress: "h:1", PeerAddress: "h:2", GossipAddress: "[::1]:3", Started: time.Unix(1, 2),
	}, leaving: true}
	b, err := encodeMeta(whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add([]byte("\x0a\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeMeta(b)
		if err != nil {
			return
		}
		if !identityOK(r.NodeID) || !identityOK(r.Name) || len(memberName(&r.Member)) > 100 {
			t.Fatalf("accepted %+v", r)
		}
		again, err := encodeMeta(r)
		if err != nil {
			// Varints may be longer than they need be, never shorter.
			t.Fatalf("%+v does not fit any more: %v", r, err)
		}
		if r2, err := decodeMeta(again); err != nil || r2 != r {
			t.Fatalf("%+v became %+v, %v", r, r2, err)
		}
	})
}

// FuzzStreamHello feeds the first bytes of strangers' streams.
func FuzzStreamHello(f *testing.F) {
	var b bytes.Buffer
	if err := writeMessage(&b, &messages.GossipHello{Protocol: 1, Instance: make([]byte, instanceSize), Nonce: make([]byte, nonceSize), Proof: []byte("p")}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("RMGO\x00\x00"))
	s := &streams{clusterID: func() string { return "c1" }, instance: bytes.Repeat([]byte{1}, instanceSize)}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := &messages.GossipHello{}
		if err := readMessage(bytes.NewReader(b), h); err != nil {
			return
		}
		v, err := s.judge(h)
		if welcome := v.GetCode() == messages.GossipVerdictCode_GOSSIP_VERDICT_CODE_WELCOME; welcome != (err == nil) {
			t.Fatalf("verdict %v with error %v", v, err)
		}
		if proto.Size(v) > helloMax {
			t.Fatalf("verdict of %d bytes cannot be sent", proto.Size(v))
		}
	})
}
