package sim

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// gossip is a model of what memberlist tells each node of the others: hints that
// come late, and sometimes lies. A node is seen alive if some path leads to it, and
// gone some seconds after the last one was lost.
type gossip struct {
	w *World
	// seen holds what each node believes of each other one.
	seen [][]sighting
	// lies makes a node believe until then that all others are gone.
	lies []int64
}

// sighting is what one node was told of another.
type sighting struct {
	told      bool
	boot      uint64
	clusterID string
	gone      bool
	// lost is since when no path leads there; -1: one does.
	lost int64
	// patience is how long after that it counts as gone.
	patience int64
}

func newGossip(w *World, nodes int) *gossip {
	g := &gossip{w: w, seen: make([][]sighting, nodes), lies: make([]int64, nodes)}
	for i := range g.seen {
		g.seen[i] = make([]sighting, nodes)
	}
	return g
}

// join begins the rounds of gossip of a node's new life, which knows nothing.
func (g *gossip) join(h *host) {
	clear(g.seen[h.index])
	g.lies[h.index] = 0
	g.later(h)
}

func (g *gossip) later(h *host) {
	wait := between(g.w.rng.network, int64(150*time.Millisecond), int64(500*time.Millisecond))
	g.w.schedule(event{at: g.w.now + wait, kind: evMember, node: h.index, boot: h.boot, run: func() {
		for _, about := range g.w.hosts {
			g.look(h, about)
		}
		g.later(h)
	}})
}

// look has a node form its opinion of another one, or of itself.
func (g *gossip) look(h, about *host) {
	s := &g.seen[h.index][about.index]
	reached := h == about || g.path(h, about) && g.w.now >= g.lies[h.index]
	switch {
	case reached:
		s.lost = -1
	case s.lost < 0:
		s.lost = g.w.now
		s.patience = between(g.w.rng.network, int64(2500*time.Millisecond), int64(8*time.Second))
		if g.w.now < g.lies[h.index] {
			s.patience = 0
		}
	}
	if reached && about.self != nil && (!s.told || s.gone || s.boot != about.boot || s.clusterID != about.clusterID) {
		s.told, s.gone, s.boot, s.clusterID = true, false, about.boot, about.clusterID
		g.tell(h, about, false)
	}
	if !reached && s.told && !s.gone && g.w.now-s.lost >= s.patience {
		s.gone = true
		g.tell(h, about, true)
	}
}

func (g *gossip) tell(h, about *host, gone bool) {
	n, ok := h.program.(interface{ MemberEvent(node.Gossip) })
	if !ok {
		return
	}
	member, _ := proto.Clone(about.self).(*messages.Member)
	n.MemberEvent(node.Gossip{Member: member, ClusterID: g.seen[h.index][about.index].clusterID, Expect: uint32(g.w.cfg.Nodes), Gone: gone})
}

// path reports whether news of a node reach another one, directly or by way of a
// third.
func (g *gossip) path(h, about *host) bool {
	if g.w.net.connected(h.index, about.index) {
		return true
	}
	for i := range g.w.hosts {
		if i != h.index && i != about.index && g.w.net.connected(h.index, i) && g.w.net.connected(i, about.index) {
			return true
		}
	}
	return false
}
