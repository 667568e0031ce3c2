package cluster

import (
	"context"
	"fmt"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// view is the node as its API sees it; it implements api.Engine.
type view struct{ n *Node }

// Submit implements api.Engine.
func (v view) Submit(c *messages.Call, done func(*messages.Reply)) { v.n.engine.Submit(c, done) }

// Route implements api.Engine.
func (v view) Route() *messages.Route { return v.n.engine.Route() }

// Table implements api.Engine.
func (v view) Table() *messages.Table { return v.n.engine.Table() }

// Kinds implements api.Engine.
func (v view) Kinds() []*actors.Behavior { return v.n.cfg.Behaviors }

// Status implements api.Engine.
func (v view) Status(ctx context.Context) (*api.Status, error) {
	if v.n.failed() { // the engine does not answer any more
		return v.n.status(&node.Status{}), nil
	}
	got := make(chan *node.Status, 1)
	v.n.engine.Status(func(s *node.Status) { got <- s })
	select {
	case s := <-got:
		return v.n.status(s), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("node %s: %w", v.n.Name(), ctx.Err())
	}
}

// status joins the engine's view with that of gossip and the links.
func (n *Node) status(s *node.Status) *api.Status {
	table := n.engine.Table()
	status := &api.Status{
		Name: n.Name(), NodeID: n.ID(), Version: n.cfg.Version, Started: n.started,
		ClusterID: s.ClusterID, Draining: s.Draining, Waiting: s.Waiting,
		Epoch: table.GetEpoch(), PartitionCount: int(table.GetPartitionCount()), ReplicationFactor: int(table.GetReplicationFactor()),
	}
	if err := n.failure.get(); err != nil {
		status.Failure = err.Error()
	}
	status.Partitions = n.partitions(s, table)
	status.Members = n.memberList(s, table, status.Partitions)
	return status
}

// partitions lists what the node knows of each partition, in their order.
func (n *Node) partitions(s *node.Status, table *messages.Table) []api.PartitionStatus {
	masters := n.engine.Route().GetMasters()
	reports := map[uint64]*messages.ReplicaReport{}
	for _, r := range s.Replicas {
		reports[r.GetPartition()] = r
	}
	list := make([]api.PartitionStatus, 0, len(masters))
	for i, master := range masters {
		id := uint64(i)
		p := api.PartitionStatus{ID: id, Role: api.RoleNone, Master: ring.NameOf(table, master), MasterID: master}
		if i < len(s.Terms) {
			p.Term = s.Terms[i]
		}
		for _, r := range ring.ReplicasOf(table, id) {
			p.Replicas = append(p.Replicas, ring.NameOf(table, r.GetNodeId()))
		}
		if r := reports[id]; r != nil {
			p.Role, p.Term, p.Commit, p.Applied, p.Failure = r.GetRole(), max(p.Term, r.GetTerm()), r.GetCommit(), r.GetApplied(), r.GetFailure()
			if p.Failure != "" {
				p.Role = api.RoleStopped
			}
		}
		list = append(list, p)
	}
	return list
}

// memberList joins the members of the table with those that gossip sees.
func (n *Node) memberList(s *node.Status, table *messages.Table, partitions []api.PartitionStatus) []api.MemberStatus {
	masters := map[string]int{}
	for _, p := range partitions {
		masters[p.MasterID]++
	}
	linked := map[string]bool{}
	for _, id := range s.Reachable {
		linked[id] = true
	}
	var list []api.MemberStatus
	seen := map[string]bool{}
	for _, m := range n.gossip.Members() {
		seen[m.NodeID] = true
		list = append(list, api.MemberStatus{
			Name: m.Name, NodeID: m.NodeID, Zone: m.Zone, State: m.State.String(), Since: m.Since, Self: m.Self,
			RTTMillis: float64(m.RTT.Microseconds()) / 1000, Version: m.Version, Boot: m.Boot,
			APIAddress: m.APIAddress, PeerAddress: m.PeerAddress, GossipAddress: m.GossipAddress,
		})
	}
	for _, m := range table.GetMembers() {
		if seen[m.GetNodeId()] {
			continue
		}
		list = append(list, api.MemberStatus{
			Name: m.GetName(), NodeID: m.GetNodeId(), Zone: m.GetZone(), State: "unknown", Version: m.GetVersion(), Boot: m.GetBoot(),
			APIAddress: m.GetApiAddress(), PeerAddress: m.GetPeerAddress(), GossipAddress: m.GetGossipAddress(),
		})
	}
	for i := range list {
		m := &list[i]
		m.Linked = m.Self || linked[m.NodeID]
		m.Masters = masters[m.NodeID]
		m.Copies = len(ring.PartitionsOn(table, m.NodeID))
	}
	return list
}
