package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
)

// peerState is what Notify was told last.
type peerState uint8

const (
	peerUnknown peerState = iota
	peerUp
	peerDown
)

// peer is another node. It is the process that every PID of that node resolves
// to and caches, so it lives as long as the transport.
type peer struct {
	t  *Transport
	id string
	// lanes are nil until they are used, and again after forget.
	lanes [laneCount]atomic.Pointer[lane]

	// mu guards what is below.
	mu sync.Mutex
	// ended is closed when the lane before the present one has ended.
	ended [laneCount]chan struct{}
	state peerState
	since time.Time
	// lastErr is why the node is down.
	lastErr error

	sent      [laneCount]atomic.Uint64
	sentBytes [laneCount]atomic.Uint64
	received  atomic.Uint64
	dropped   [reasonCount]atomic.Uint64
	rtt       atomic.Int64
}

var _ actor.Process = (*peer)(nil)

// SendUserMessage implements actor.Process: it sends a message to an actor of
// this node.
func (p *peer) SendUserMessage(pid *actor.PID, message any) {
	_, body, from := actor.UnwrapEnvelope(message)
	m, ok := body.(proto.Message)
	if !ok {
		p.drop(Drop{Lane: Fast, Reason: DropType, Count: 1, Target: pid.GetId()})
		return
	}
	sender := ""
	if from != nil {
		if from.GetAddress() != p.t.config.NodeID {
			p.drop(Drop{Lane: Fast, Reason: DropSender, Count: 1, Target: pid.GetId()})
			return
		}
		sender = from.GetId()
	}
	kind := p.t.config.Lane(m)
	l := p.lane(kind)
	if l == nil {
		p.drop(Drop{Lane: kind, Reason: DropClosed, Count: 1, Target: pid.GetId()})
		return
	}
	if reason := l.queue.push(pid.GetId(), sender, m); reason != 0 {
		p.drop(Drop{Lane: kind, Reason: reason, Count: 1, Target: pid.GetId()})
	}
}

// SendSystemMessage implements actor.Process: system messages stay on their node.
func (p *peer) SendSystemMessage(*actor.PID, any) { p.t.counters.systemDropped.Add(1) }

// Stop implements actor.Process: nobody stops an actor of another node.
func (p *peer) Stop(*actor.PID) { p.t.counters.systemDropped.Add(1) }

func (p *peer) drop(d Drop) {
	d.Peer = p.id
	p.dropped[d.Reason].Add(uint64(d.Count))
	if p.t.config.Dropped != nil {
		p.t.config.Dropped(d)
	}
}

// lane returns a lane, which it opens if need be; nil once the transport closed.
func (p *peer) lane(kind Lane) *lane {
	if kind >= laneCount {
		kind = Fast
	}
	if p.t.done.Load() {
		return nil
	}
	if l := p.lanes[kind].Load(); l != nil {
		return l
	}
	return p.open(kind)
}

func (p *peer) open(kind Lane) *lane {
	// The transport's lock keeps Close from waiting before the lane is counted.
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if p.t.closed {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[kind].Load(); l != nil {
		return l
	}
	ctx, cancel := context.WithCancel(p.t.ctx)
	l := &lane{
		t: p.t, peer: p, kind: kind,
		ctx: ctx, cancel: cancel,
		before: p.ended[kind],
		ended:  make(chan struct{}),
		kick:   make(chan struct{}, 1),
		queue: queue{
			types: p.t.types, pool: &p.t.pool,
			bytesMax: p.t.config.QueueBytes, frameMax: p.t.config.FrameBytes,
			wake: make(chan struct{}, 1),
			enc:  encoder{inline: p.t.config.Intercept != nil},
		},
	}
	p.ended[kind] = l.ended
	p.lanes[kind].Store(l)
	p.t.running.Go(l.run)
	return l
}

func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.lanes {
		if l := p.lanes[i].Swap(nil); l != nil {
			l.cancel()
		}
	}
}

// kick ends the pauses between attempts to connect: the node is there.
func (p *peer) kick() {
	for i := range p.lanes {
		if l := p.lanes[i].Load(); l != nil {
			select {
			case l.kick <- struct{}{}:
			default:
			}
		}
	}
}

func (p *peer) closeLinks(foreign func(clusterID string) bool) {
	for i := range p.lanes {
		if l := p.lanes[i].Load(); l != nil {
			l.closeLink(foreign)
		}
	}
}

// setState is called by the fast lane only; it tells of changes, once each.
func (p *peer) setState(s peerState, cause error) {
	p.mu.Lock()
	changed := p.state != s
	p.lastErr = cause
	if changed {
		p.state, p.since = s, time.Now()
	}
	p.mu.Unlock()
	if !changed || p.t.done.Load() {
		return
	}
	if s == peerUp {
		p.t.config.Logger.Info("link is up", "peer", p.id)
	} else {
		p.t.config.Logger.Warn("link is down", "peer", p.id, "cause", cause)
	}
	if p.t.config.Notify != nil {
		p.t.config.Notify(p.id, s == peerUp)
	}
}
