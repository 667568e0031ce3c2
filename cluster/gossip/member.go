package gossip

import (
	"fmt"
	"time"
)

// State is how gossip sees a member.
type State uint8

// The states.
const (
	// Alive: it answers, or was not missed yet.
	Alive State = iota + 1
	// Failed: it answered nobody for a while.
	Failed
	// Left: it said good-bye.
	Left
)

func (s State) String() string {
	switch s {
	case Alive:
		return "alive"
	case Failed:
		return "failed"
	case Left:
		return "left"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Member is a node as gossip sees it.
type Member struct {
	NodeID string
	Name   string
	Boot   uint64
	// ClusterID is empty while the node belongs to no cluster.
	ClusterID string
	// Where clients, other nodes and gossip reach it, as host:port.
	APIAddress    string
	PeerAddress   string
	GossipAddress string
	Zone          string
	Version       string
	Weight        uint32
	Expect        uint32
	// Started is when this boot started, by the node's own clock.
	Started time.Time
	State   State
	// Since is when State or Boot last changed, by our clock.
	Since time.Time
	// RTT is the time of the newest answered probe; zero before the first.
	RTT time.Duration
	// Self marks this node's own entry.
	Self bool
}

// EventKind says what happened.
type EventKind uint8

// The kinds of events.
const (
	// Joined: a member is alive that was not, or a newer boot of one that was.
	Joined EventKind = iota + 1
	// Updated: an alive member tells something new about itself.
	Updated
	// MemberFailed: an alive member answers nobody any more.
	MemberFailed
	// MemberLeft: an alive member left on purpose.
	MemberLeft
	// Trouble: a person should look; see Err. Nothing changed for Member.
	Trouble
)

func (k EventKind) String() string {
	switch k {
	case Joined:
		return "joined"
	case Updated:
		return "updated"
	case MemberFailed:
		return "failed"
	case MemberLeft:
		return "left"
	case Trouble:
		return "trouble"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is a change of one member, or trouble.
type Event struct {
	Kind   EventKind
	Member Member
	// Err is set for Trouble: it wraps ErrNameTaken or ErrNodeIDTaken, after
	// which this node must stop, or ErrKeyMismatch or ErrOtherCluster, after which
	// it goes on trying.
	Err error
}
