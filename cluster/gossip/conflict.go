package gossip

import (
	"fmt"
	"net"
	"strconv"
	"time"
)

// doubtsMax bounds the suspected doubles that wait to be checked.
const doubtsMax = 16

// pingTries is how often a rival is asked whether it lives before it is believed
// dead.
const pingTries = 3

// doubt notes a process that seems to run as this very node. The caller holds mu.
func (g *Gossip) doubt(m Member) {
	if len(g.doubts) < doubtsMax && !g.settled[conflictKey(&m)] {
		g.doubts = append(g.doubts, m)
	}
	g.lookNow()
}

func conflictKey(m *Member) string {
	return fmt.Sprintf("%s#%d@%s", m.NodeID, m.Boot, m.GossipAddress)
}

// settle decides who must give way to whom: a name or a node id belongs to one
// process. The rival is asked first whether it lives, as gossip believes in the
// dead for a while, and a node that was replaced must not stop its successor.
func (g *Gossip) settle() {
	g.mu.Lock()
	self := g.directory.self.Member
	rivals := g.directory.rivals()
	doubts := g.doubts
	g.doubts = nil
	g.mu.Unlock()
	for _, m := range rivals {
		g.settleOne(&m, yields(&self, &m), fmt.Errorf("%w: %q belongs to node %s at %s, which was first; choose another --name for this node, %s",
			ErrNameTaken, m.Name, m.NodeID, m.GossipAddress, self.NodeID))
	}
	for _, m := range doubts {
		older := m.Boot > self.Boot || m.Boot == self.Boot && yields(&self, &m)
		g.settleOne(&m, older, fmt.Errorf("%w: node %s also runs at %s (boot %d, this is boot %d): one data directory is a copy of the other; give this node an empty one",
			ErrNodeIDTaken, m.NodeID, m.GossipAddress, m.Boot, self.Boot))
	}
}

func (g *Gossip) settleOne(m *Member, yield bool, err error) {
	key := conflictKey(m)
	g.mu.Lock()
	done := g.settled[key]
	g.mu.Unlock()
	if done || !g.lives(m) {
		return
	}
	g.mu.Lock()
	g.settled[key] = true
	g.mu.Unlock()
	if !yield {
		g.config.Logger.Warn("another process claims this node's name or id; it must stop", "peer", m.NodeID, "name", m.Name, "address", m.GossipAddress)
		return
	}
	g.mailbox.put(notice{kind: noticeTrouble, record: record{Member: *m}, err: err})
}

// lives asks a member directly.
func (g *Gossip) lives(m *Member) bool {
	host, port, err := net.SplitHostPort(m.GossipAddress)
	if err != nil {
		return false
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	address := &net.UDPAddr{IP: net.ParseIP(host), Port: number}
	for range pingTries {
		if g.ctx.Err() != nil {
			return false
		}
		began := time.Now()
		if _, err := g.list.Ping(memberName(m), address); err == nil {
			return true
		}
		// A refused packet fails at once; give the rival its time.
		if left := g.config.ProbeTimeout - time.Since(began); left > 0 {
			timer := time.NewTimer(left)
			select {
			case <-timer.C:
			case <-g.ctx.Done():
			}
			timer.Stop()
		}
	}
	return false
}
