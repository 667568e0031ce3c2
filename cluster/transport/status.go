package transport

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// counters are what a transport counts since its start.
type counters struct {
	accepted, refused, peersRefused           atomic.Uint64
	unknownType, unknownTarget, refusedTarget atomic.Uint64
	malformed, systemDropped                  atomic.Uint64
}

// Stats are counts since the start.
type Stats struct {
	// Accepted and Refused count connections of other nodes, after the hellos.
	Accepted, Refused uint64
	// PeersRefused counts look-ups of nodes beyond Config.PeersMax.
	PeersRefused uint64
	// Received messages that were skipped: of a type unknown here, for an actor
	// that does not exist, for one that may not be reached, or malformed.
	UnknownType, UnknownTarget, RefusedTarget, Malformed uint64
	// SystemDropped counts protoactor's own messages to remote actors.
	SystemDropped uint64
}

// Stats returns the counts.
func (t *Transport) Stats() Stats {
	c := &t.counters
	return Stats{
		Accepted: c.accepted.Load(), Refused: c.refused.Load(), PeersRefused: c.peersRefused.Load(),
		UnknownType: c.unknownType.Load(), UnknownTarget: c.unknownTarget.Load(),
		RefusedTarget: c.refusedTarget.Load(), Malformed: c.malformed.Load(),
		SystemDropped: c.systemDropped.Load(),
	}
}

// PeerStatus is how the link to one node is.
type PeerStatus struct {
	NodeID string
	// Known is false until the first attempt to connect ended; then Up says how.
	Known, Up bool
	Since     time.Time
	// Err is why the node is down.
	Err error
	// Boot, Name and Version are what the node said last; empty before.
	Boot          uint64
	Name, Version string
	// RTT is the time of the newest answered heartbeat, queues included.
	RTT time.Duration
	// Sent and so on count messages; by lane, or by reason.
	Sent, SentBytes, Queued [laneCount]uint64
	Received                uint64
	Dropped                 map[Reason]uint64
}

// Peers returns the state of every link, in the order of node ids.
func (t *Transport) Peers() []PeerStatus {
	t.mu.Lock()
	peers := make([]*peer, 0, len(t.peers))
	for _, p := range t.peers {
		peers = append(peers, p)
	}
	t.mu.Unlock()
	sort.Slice(peers, func(i, j int) bool { return peers[i].id < peers[j].id })
	all := make([]PeerStatus, len(peers))
	for i, p := range peers {
		all[i] = p.status()
	}
	return all
}

func (p *peer) status() PeerStatus {
	s := PeerStatus{NodeID: p.id, RTT: time.Duration(p.rtt.Load()), Received: p.received.Load(), Dropped: make(map[Reason]uint64)}
	p.mu.Lock()
	s.Known, s.Up, s.Since, s.Err = p.state != peerUnknown, p.state == peerUp, p.since, p.lastErr
	p.mu.Unlock()
	for kind := range laneCount {
		s.Sent[kind], s.SentBytes[kind] = p.sent[kind].Load(), p.sentBytes[kind].Load()
		l := p.lanes[kind].Load()
		if l == nil {
			continue
		}
		s.Queued[kind] = uint64(l.queue.queued())
		l.mu.Lock()
		if l.link != nil {
			s.Boot, s.Name, s.Version = l.link.hello.GetBoot(), l.link.hello.GetName(), l.link.hello.GetVersion()
		}
		l.mu.Unlock()
	}
	for r := range reasonCount {
		if n := p.dropped[r].Load(); n > 0 {
			s.Dropped[r] = n
		}
	}
	return s
}

// refused tells of a failed handshake, the same one not again and again.
func (t *Transport) refused(err *HandshakeError) {
	if t.done.Load() || !t.muffler.first(err) {
		return
	}
	t.config.Logger.Warn("link refused", "peer", err.Peer, "address", err.Address, "code", err.Code.String(), "reason", err.Reason, "remote", err.Remote)
	if t.config.Refused != nil {
		t.config.Refused(err)
	}
}

// muffler lets each kind of complaint through once in a while.
type muffler struct {
	mu   sync.Mutex
	said map[complaint]time.Time
}

type complaint struct {
	peer   string
	code   int32
	remote bool
}

const (
	mufflerPause = 10 * time.Second
	mufflerMax   = 256
)

func (m *muffler) first(err *HandshakeError) bool {
	key := complaint{err.Peer, int32(err.Code), err.Remote}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.said[key]; ok && now.Sub(at) < mufflerPause {
		return false
	}
	if m.said == nil || len(m.said) >= mufflerMax {
		m.said = make(map[complaint]time.Time)
	}
	m.said[key] = now
	return true
}
