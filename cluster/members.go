package cluster

import (
	"errors"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/cluster/gossip"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// This file passes on what links and gossip see to the engine, and what the ring's
// table says to links and gossip.

// tick is called at each tick of the node's clock.
func (n *Node) tick() {
	n.engine.Tick()
	n.connectMembers()
	select {
	case <-n.ready:
	default:
		n.engine.Status(func(s *node.Status) {
			if len(n.status(s).Unready()) == 0 {
				n.readyOnce.Do(func() { close(n.ready) })
			}
		})
	}
}

// overstay is called when a handler had the loop taken away from it.
func (n *Node) overstay(held time.Duration) {
	n.logger.Warn("a handler of user code does not return; other actors go on without waiting for it", "held_longer_than", held)
}

// connectMembers keeps links to the members that the table names, whether gossip
// sees them or not.
func (n *Node) connectMembers() {
	route := n.engine.Route()
	if route == n.route {
		return
	}
	n.route = route
	for _, m := range route.GetMembers() {
		if m.GetNodeId() != n.ID() {
			n.links.Connect(m.GetNodeId())
		}
	}
}

// peerEvent is called by the links.
func (n *Node) peerEvent(nodeID string, up bool) {
	if n.awaitEngine() {
		n.engine.PeerEvent(nodeID, up)
	}
}

// awaitEngine waits until the engine runs; false means that it never will.
func (n *Node) awaitEngine() bool {
	<-n.running
	return n.engine != nil
}

// gossipEvent is called by gossip, for one event after the other.
func (n *Node) gossipEvent(e gossip.Event) {
	if !n.awaitEngine() {
		return
	}
	if e.Kind == gossip.Trouble {
		if errors.Is(e.Err, gossip.ErrNameTaken) || errors.Is(e.Err, gossip.ErrNodeIDTaken) {
			n.fail(e.Err)
		}
		return
	}
	m := e.Member
	gone := m.State != gossip.Alive
	n.engine.MemberEvent(node.Gossip{Member: memberOf(m), ClusterID: m.ClusterID, Expect: m.Expect, Gone: gone})
	switch {
	case m.NodeID == n.ID():
	case !gone:
		n.links.Connect(m.NodeID)
	case m.State == gossip.Left && !n.inTable(m.NodeID):
		n.links.Forget(m.NodeID)
	}
}

func memberOf(m gossip.Member) *messages.Member {
	return &messages.Member{
		NodeId: m.NodeID, Name: m.Name, Zone: m.Zone, Weight: m.Weight, Version: m.Version, Boot: m.Boot,
		ApiAddress: m.APIAddress, PeerAddress: m.PeerAddress, GossipAddress: m.GossipAddress,
	}
}

func (n *Node) inTable(nodeID string) bool {
	for _, m := range n.engine.Table().GetMembers() {
		if m.GetNodeId() == nodeID {
			return true
		}
	}
	return false
}

// peerAddress finds the address of a node's links: what the node itself says by
// gossip is newer than what the table has.
func (n *Node) peerAddress(nodeID string) (address string, ok bool) {
	if !n.awaitEngine() {
		return "", false
	}
	for _, m := range n.gossip.Members() {
		if m.NodeID == nodeID && m.PeerAddress != "" {
			return m.PeerAddress, true
		}
	}
	for _, m := range n.engine.Table().GetMembers() {
		if m.GetNodeId() == nodeID && m.GetPeerAddress() != "" {
			return m.GetPeerAddress(), true
		}
	}
	return "", false
}

// table is the ring's table as this node knows it; nil before the engine runs.
func (n *Node) table() *messages.Table {
	select {
	case <-n.running:
	default:
		return nil
	}
	if n.engine == nil {
		return nil
	}
	return n.engine.Table()
}

// knownMembers tells gossip whom the table names. Gossip asks again and again.
func (n *Node) knownMembers() []gossip.Known {
	var known []gossip.Known
	for _, m := range n.table().GetMembers() {
		if m.GetNodeId() != n.ID() && m.GetGossipAddress() != "" {
			known = append(known, gossip.Known{NodeID: m.GetNodeId(), GossipAddress: m.GetGossipAddress()})
		}
	}
	return known
}

// clustered is called on the loop when the node begins to belong to a cluster.
func (n *Node) clustered(clusterID string) {
	// On a goroutine of its own, as gossip waits until the news is on its way.
	go func() {
		if err := errors.Join(n.links.SetClusterID(clusterID), n.gossip.UpdateMeta()); err != nil {
			n.logger.Error("other nodes cannot be told of the cluster", "cluster", clusterID, "error", err)
		}
	}()
}
