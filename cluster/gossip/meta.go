package gossip

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// record is what a node tells about itself by gossip.
type record struct {
	Member
	// leaving: its next silence is a departure, not a failure.
	leaving bool
}

// encodeMeta returns a record in the form of memberlist's metadata.
func encodeMeta(r record) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&messages.GossipMeta{
		Member: &messages.Member{
			NodeId: r.NodeID, Name: r.Name, Zone: r.Zone, Weight: r.Weight, Boot: r.Boot, Version: r.Version,
			ApiAddress: r.APIAddress, PeerAddress: r.PeerAddress, GossipAddress: r.GossipAddress,
		},
		ClusterId: r.ClusterID, Expect: r.Expect, Started: r.Started.UnixNano(), Leaving: r.leaving,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the node's gossip record: %w", err)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("the node's gossip record has %d bytes, %d are possible: shorten its name, zone, version or addresses", len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

// decodeMeta reads another node's metadata and believes nothing of it.
func decodeMeta(b []byte) (record, error) {
	if len(b) > memberlist.MetaMaxSize {
		return record{}, fmt.Errorf("gossip record has %d bytes, %d are possible", len(b), memberlist.MetaMaxSize)
	}
	meta := &messages.GossipMeta{}
	if err := (proto.UnmarshalOptions{RecursionLimit: 10}).Unmarshal(b, meta); err != nil {
		return record{}, fmt.Errorf("gossip record: %w", err)
	}
	m := meta.GetMember()
	r := record{
		Member: Member{
			NodeID: m.GetNodeId(), Name: m.GetName(), Boot: m.GetBoot(), ClusterID: meta.GetClusterId(),
			APIAddress: m.GetApiAddress(), PeerAddress: m.GetPeerAddress(), GossipAddress: m.GetGossipAddress(),
			Zone: m.GetZone(), Version: m.GetVersion(), Weight: m.GetWeight(), Expect: meta.GetExpect(),
			Started: time.Unix(0, meta.GetStarted()),
		},
		leaving: meta.GetLeaving(),
	}
	if !identityOK(r.NodeID) || !identityOK(r.Name) {
		return record{}, fmt.Errorf("gossip record: node id %q or name %q is empty, too long or has a #", r.NodeID, r.Name)
	}
	for _, address := range []string{r.APIAddress, r.PeerAddress, r.GossipAddress} {
		if err := checkAddress(address); err != nil {
			return record{}, fmt.Errorf("gossip record of %s: %w", r.Name, err)
		}
	}
	return r, nil
}

func identityOK(s string) bool {
	if s == "" || len(s) > identityMax {
		return false
	}
	for _, c := range s {
		if c == '#' || c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// checkAddress accepts host:port, or nothing.
func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("address %q has no port from 1 to 65535", address)
	}
	return nil
}

// memberName is the name that a boot of a node gossips under.
func memberName(m *Member) string {
	short := m.NodeID
	if len(short) > 6 {
		short = short[len(short)-6:]
	}
	return fmt.Sprintf("%s#%d#%s", m.Name, m.Boot, short)
}
