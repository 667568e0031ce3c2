package gossip

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// notice is something that memberlist told, copied out of its hands.
type notice struct {
	kind   noticeKind
	record record
	rtt    time.Duration
	err    error
}

type noticeKind uint8

const (
	noticeAlive noticeKind = iota
	noticeGone
	noticeAnswered
	noticeConflict
	noticeTrouble
)

// mailbox passes notices to the one goroutine that acts on them. memberlist calls
// back under its lock, where nothing may block: put never does.
type mailbox struct {
	mu    sync.Mutex
	queue []notice
	// wake has room for one: the mailbox was empty.
	wake chan struct{}
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) put(n notice) {
	m.mu.Lock()
	m.queue = append(m.queue, n)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mailbox) takeAll() []notice {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := m.queue
	m.queue = nil
	return all
}

// delegate is what memberlist calls back. Every method copies what it needs and
// returns; none calls memberlist.
type delegate struct{ g *Gossip }

var (
	_ memberlist.Delegate         = delegate{}
	_ memberlist.EventDelegate    = delegate{}
	_ memberlist.AliveDelegate    = delegate{}
	_ memberlist.ConflictDelegate = delegate{}
	_ memberlist.PingDelegate     = delegate{}
)

// NodeMeta returns what this node tells about itself.
func (d delegate) NodeMeta(int) []byte { return *d.g.meta.Load() }

// NotifyMsg ignores user messages: there are none.
func (delegate) NotifyMsg([]byte) {}

// GetBroadcasts returns none.
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState returns none.
func (delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState ignores the state of others: there is none.
func (delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive refuses members that do not belong here, however they came: a
// member of another cluster would else be passed on by nodes that have none yet.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	r, err := read(n)
	if err != nil {
		return err
	}
	if r.NodeID == d.g.config.NodeID {
		return nil
	}
	ours := d.g.config.ClusterID()
	if ours != "" && r.ClusterID != "" && r.ClusterID != ours {
		return fmt.Errorf("%w: %s belongs to %s and this node to %s", ErrOtherCluster, r.Name, r.ClusterID, ours)
	}
	return d.g.room(r.NodeID)
}

// NotifyJoin hears of a member that is alive.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.tell(noticeAlive, n) }

// NotifyUpdate hears of a member's new record.
func (d delegate) NotifyUpdate(n *memberlist.Node) { d.tell(noticeAlive, n) }

// NotifyLeave hears of a member that failed or left.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.tell(noticeGone, n) }

// NotifyConflict hears of two addresses for one boot of one node.
func (d delegate) NotifyConflict(_, other *memberlist.Node) {
	if other.Name == d.g.name {
		d.tell(noticeConflict, other)
	}
}

// AckPayload adds nothing to answered probes.
func (delegate) AckPayload() []byte { return nil }

// NotifyPingComplete hears of an answered probe.
func (d delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	if r, err := read(n); err == nil {
		d.g.mailbox.put(notice{kind: noticeAnswered, record: r, rtt: rtt})
	}
}

func (d delegate) tell(kind noticeKind, n *memberlist.Node) {
	if r, err := read(n); err == nil {
		d.g.mailbox.put(notice{kind: kind, record: r})
	}
}

// read copies what a node says about itself. Its gossip address is the one that
// memberlist reaches it at; its name must be the one its record stands for.
func read(n *memberlist.Node) (record, error) {
	r, err := decodeMeta(n.Meta)
	if err != nil {
		return record{}, err
	}
	if want := memberName(&r.Member); n.Name != want {
		return record{}, fmt.Errorf("member %q has the record of %q", n.Name, want)
	}
	r.GossipAddress = n.Address()
	return r, nil
}
