package storage

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/messages"
)

func TestNewIDSortsByAge(t *testing.T) {
	random := bytes.NewReader(bytes.Repeat([]byte{0xff}, 30))
	var ids []string
	for _, millis := range []int64{0, 1, 1_700_000_000_000} {
		id, err := newID(millis, random)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	want := []string{
		"0000000000" + strings.Repeat("Z", 16),
		"0000000001" + strings.Repeat("Z", 16),
		"01HF7YAT00" + strings.Repeat("Z", 16),
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if _, err := newID(0, random); err == nil {
		t.Errorf("an id was made without randomness")
	}
}

func FuzzDecodeVersion(f *testing.F) {
	f.Add(encodeVersion(1))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, row []byte) {
		version, err := decodeVersion(row)
		if err == nil && !bytes.Equal(encodeVersion(version), row) {
			t.Errorf("decodeVersion(%x) = %d, which is encoded otherwise", row, version)
		}
	})
}

func FuzzDecodeIdentity(f *testing.F) {
	for _, id := range []*messages.Identity{
		{},
		{NodeId: "01HF7YAT00ZZZZZZZZZZZZZZZZ", StoreId: "01HF7YAT01ZZZZZZZZZZZZZZZZ", Boot: 7, Name: "ada"},
		{NodeId: "n", StoreId: "s", Plan: &messages.BootstrapPlan{ClusterId: "c", Table: &messages.Table{Epoch: 1}}},
	} {
		row, err := encodeIdentity(id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(row)
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		id, err := decodeIdentity(row)
		if err != nil {
			return
		}
		again, err := encodeIdentity(id)
		if err != nil {
			t.Fatalf("what was decoded from %x cannot be encoded: %v", row, err)
		}
		same, err := decodeIdentity(again)
		if err != nil {
			t.Fatalf("what was encoded from %x cannot be decoded: %v", row, err)
		}
		if diff := cmp.Diff(id, same, protocmp.Transform()); diff != "" {
			t.Errorf("the identity changed on its way (-want +got):\n%s", diff)
		}
	})
}
