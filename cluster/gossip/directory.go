package gossip

import (
	"sort"
	"time"
)

// directory is what this node believes about the members, fed by memberlist's
// callbacks. One boot of each node counts: the newest ever seen. It is not safe
// for concurrent use.
type directory struct {
	self    record
	members map[string]*record
	forget  time.Duration
	now     func() time.Time
}

func newDirectory(self record, forget time.Duration, now func() time.Time) *directory {
	return &directory{self: self, members: make(map[string]*record), forget: forget, now: now}
}

// alive takes in that a boot of a node is alive and says r about itself. It
// returns no event (Kind 0) when that is no news.
func (d *directory) alive(r record) Event {
	if r.NodeID == d.self.NodeID {
		return Event{}
	}
	r.State, r.Since, r.Self = Alive, d.now(), false
	before := d.members[r.NodeID]
	switch {
	case before == nil || r.Boot > before.Boot:
	case r.Boot < before.Boot:
		return Event{}
	case before.State == Alive:
		r.Since, r.RTT = before.Since, before.RTT
		d.members[r.NodeID] = &r
		if r.Member == before.Member {
			return Event{}
		}
		return Event{Kind: Updated, Member: r.Member}
	}
	d.members[r.NodeID] = &r
	return Event{Kind: Joined, Member: r.Member}
}

// gone takes in that a boot of a node does not answer any more.
func (d *directory) gone(r record) Event {
	m := d.members[r.NodeID]
	if m == nil || m.Boot != r.Boot || m.State != Alive {
		return Event{}
	}
	m.State, m.Since = Failed, d.now()
	kind := MemberFailed
	if m.leaving || r.leaving {
		m.State, kind = Left, MemberLeft
	}
	return Event{Kind: kind, Member: m.Member}
}

// answered notes the time of an answered probe.
func (d *directory) answered(nodeID string, boot uint64, rtt time.Duration) {
	if m := d.members[nodeID]; m != nil && m.Boot == boot {
		m.RTT = rtt
	}
}

// prune forgets those that failed or left long ago.
func (d *directory) prune() {
	for id, m := range d.members {
		if m.State != Alive && d.now().Sub(m.Since) > d.forget {
			delete(d.members, id)
		}
	}
}

// list returns all members with this node, in the order of node ids.
func (d *directory) list() []Member {
	all := make([]Member, 0, len(d.members)+1)
	all = append(all, d.self.Member)
	for _, m := range d.members {
		all = append(all, m.Member)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].NodeID < all[j].NodeID })
	return all
}

// startedApart is how far apart two starts must lie for the earlier one to be
// surely the earlier one, by clocks that roughly agree.
const startedApart = 2 * time.Second

// yields says which of two nodes with one name must stop: one without a cluster
// before one with, then the one that started later, then the higher node id. Both
// come to the same conclusion.
func yields(m, other *Member) bool {
	if (m.ClusterID == "") != (other.ClusterID == "") {
		return m.ClusterID == ""
	}
	if apart := m.Started.Sub(other.Started); apart.Abs() > startedApart {
		return apart > 0
	}
	if m.NodeID != other.NodeID {
		return m.NodeID > other.NodeID
	}
	return m.GossipAddress > other.GossipAddress
}

// rivals returns the alive members that use this node's name.
func (d *directory) rivals() []Member {
	var found []Member
	for _, m := range d.list() {
		if m.Name == d.self.Name && m.NodeID != d.self.NodeID && m.State == Alive {
			found = append(found, m)
		}
	}
	return found
}
