package gossip

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Gossip is this node's part in the cluster's gossip. Its methods may be called
// from any goroutine.
type Gossip struct {
	config Config
	// name is this boot's name in memberlist.
	name    string
	list    *memberlist.Memberlist
	streams *streams
	keyring *memberlist.Keyring
	meta    atomic.Pointer[[]byte]
	mailbox *mailbox
	muffler *muffler

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	// rejoin has room for one: look for missing members now.
	rejoin chan struct{}

	// life guards the order of UpdateMeta, Leave and Close.
	life         sync.Mutex
	left, closed bool

	// mu guards what is below.
	mu        sync.Mutex
	directory *directory
	join      []string
	problems  map[string]error
	// doubts are processes that seem to run as this very node.
	doubts []Member
	// settled are the conflicts that were decided and told.
	settled map[string]bool
}

// Start listens and gossips. It returns as soon as the node can be reached; the
// nodes to join are looked for in the background, for ever.
func Start(config Config) (*Gossip, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Gossip{
		config: config, mailbox: newMailbox(), muffler: &muffler{},
		rejoin: make(chan struct{}, 1), join: config.Join,
		problems: make(map[string]error), settled: make(map[string]bool),
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	if err := g.open(); err != nil {
		g.cancel()
		return nil, err
	}
	g.running.Go(g.dispatch)
	g.running.Go(g.look)
	return g, nil
}

// open listens, and creates the memberlist.
func (g *Gossip) open() error {
	if len(g.config.Keys) > 0 {
		keyring, err := memberlist.NewKeyring(g.config.Keys, g.config.Keys[0])
		if err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
		g.keyring = keyring
	}
	logger := memberlistLog{g.config.Logger, g.muffler}.asLogger()
	inner, err := listen(g.config.Bind, logger)
	if err != nil {
		return err
	}
	g.streams = &streams{
		NetTransport: inner, keyring: g.keyring, clusterID: g.config.ClusterID,
		instance: make([]byte, instanceSize), timeout: g.config.StreamTimeout, refused: g.turnedAway,
	}
	rand.Read(g.streams.instance) // Never fails.
	g.streams.start()
	if err := g.create(logger); err != nil {
		discard(g.streams)
		return err
	}
	return nil
}

func (g *Gossip) create(logger logLogger) error {
	host, port, err := advertised(g.config.Advertise, g.streams.NetTransport)
	if err != nil {
		return err
	}
	self := g.self(net.JoinHostPort(host, strconv.Itoa(port)))
	meta, err := encodeMeta(self)
	if err != nil {
		return err
	}
	g.meta.Store(&meta)
	g.name = memberName(&self.Member)
	g.directory = newDirectory(self, g.config.Forget, time.Now)
	list, err := memberlist.Create(g.memberlistConfig(host, port, logger))
	if err != nil {
		return fmt.Errorf("gossip at %s: %w", self.GossipAddress, err)
	}
	g.list = list
	return nil
}

// self is this node's own record.
func (g *Gossip) self(address string) record {
	m, now := g.config.Meta, time.Now()
	return record{Member: Member{
		NodeID: g.config.NodeID, Name: g.config.Name, Boot: g.config.Boot, ClusterID: g.config.ClusterID(),
		APIAddress: m.APIAddress, PeerAddress: m.PeerAddress, GossipAddress: address,
		Zone: m.Zone, Version: m.Version, Weight: m.Weight, Expect: m.Expect,
		Started: time.Unix(0, now.UnixNano()), State: Alive, Since: now, Self: true,
	}}
}

// memberlistConfig starts from memberlist's own values for local networks.
func (g *Gossip) memberlistConfig(host string, port int, logger logLogger) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = g.name
	c.Transport = g.streams
	c.AdvertiseAddr, c.AdvertisePort, c.BindPort = host, port, port
	c.Logger = logger
	c.Keyring = g.keyring
	c.TCPTimeout = g.config.StreamTimeout
	c.ProbeInterval, c.ProbeTimeout = g.config.ProbeInterval, g.config.ProbeTimeout
	c.SuspicionMult = g.config.SuspicionMult
	c.GossipInterval = g.config.GossipInterval
	c.PushPullInterval = g.config.PushPullInterval
	// The names of dead boots need not be kept for long: each boot has its own.
	c.GossipToTheDeadTime = 15 * time.Second
	c.DeadNodeReclaimTime = time.Second
	// Compression costs more than it saves on records this small.
	c.EnableCompression = false
	d := delegate{g}
	c.Delegate, c.Events, c.Alive, c.Conflict, c.Ping = d, d, d, d, d
	return c
}

// Address returns the host:port that the others reach this node's gossip at.
func (g *Gossip) Address() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.directory.self.GossipAddress
}

// Members returns all that is known, with this node, in the order of node ids.
func (g *Gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.directory.list()
}

// Health is memberlist's score of how well this node keeps up; 0 is best.
func (g *Gossip) Health() int { return g.list.GetHealthScore() }

// UpdateMeta tells the others that ClusterID returns something new. It waits, at
// most a second, until the news is on its way.
func (g *Gossip) UpdateMeta() error { return g.announce(false, time.Second) }

func (g *Gossip) announce(leaving bool, timeout time.Duration) error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed || g.left {
		return nil
	}
	g.mu.Lock()
	self := g.directory.self
	self.ClusterID, self.leaving = g.config.ClusterID(), leaving
	meta, err := encodeMeta(self)
	if err == nil {
		g.directory.self = self
		g.meta.Store(&meta)
	}
	g.mu.Unlock()
	if err != nil {
		return err
	}
	if err := g.list.UpdateNode(timeout); err != nil {
		// Not lost: the next exchange of all state carries it.
		g.config.Logger.Debug("gossip record is not on its way yet", "cause", err)
	}
	g.lookNow()
	return nil
}

// Leave says good-bye, so that the others see this node as left and not as
// failed. The node is still reachable until Close.
func (g *Gossip) Leave(timeout time.Duration) error {
	if err := g.announce(true, timeout/2); err != nil {
		return err
	}
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed || g.left {
		return nil
	}
	g.left = true
	if err := g.list.Leave(timeout / 2); err != nil {
		return fmt.Errorf("leave gossip: %w; the others will see the node as failed", err)
	}
	return nil
}

// Close ends all gossip without a word; the others will see the node as failed
// unless it left. No event comes after it.
func (g *Gossip) Close() error {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed {
		return nil
	}
	g.closed = true
	g.cancel()
	// Exchanges under way end with the transport.
	err := g.list.Shutdown()
	g.running.Wait()
	return err
}

// dispatch acts on notices, one at a time.
func (g *Gossip) dispatch() {
	for {
		select {
		case <-g.mailbox.wake:
		case <-g.ctx.Done():
			return
		}
		for _, n := range g.mailbox.takeAll() {
			e := g.apply(n)
			if e.Kind == 0 || g.ctx.Err() != nil {
				continue
			}
			g.log(e)
			g.config.Notify(e)
		}
	}
}

// apply takes a notice into the directory.
func (g *Gossip) apply(n notice) Event {
	g.mu.Lock()
	defer g.mu.Unlock()
	self := &g.directory.self.Member
	switch n.kind {
	case noticeAlive:
		r := n.record
		if r.NodeID == self.NodeID && r.Boot > self.Boot {
			g.doubt(r.Member)
		}
		if r.Name == self.Name && r.NodeID != self.NodeID {
			g.lookNow()
		}
		return g.directory.alive(r)
	case noticeGone:
		return g.directory.gone(n.record)
	case noticeAnswered:
		g.directory.answered(n.record.NodeID, n.record.Boot, n.rtt)
	case noticeConflict:
		g.doubt(n.record.Member)
	case noticeTrouble:
		return Event{Kind: Trouble, Member: n.record.Member, Err: n.err}
	}
	return Event{}
}

func (g *Gossip) log(e Event) {
	m := e.Member
	switch e.Kind {
	case Trouble:
		g.config.Logger.Error("gossip needs attention", "cause", e.Err)
	case MemberFailed:
		g.config.Logger.Warn("member failed", "peer", m.NodeID, "name", m.Name, "boot", m.Boot, "address", m.GossipAddress)
	default:
		g.config.Logger.Info("member changed", "event", e.Kind.String(), "peer", m.NodeID, "name", m.Name, "boot", m.Boot, "address", m.GossipAddress)
	}
}

// room says whether a member may be remembered.
func (g *Gossip) room(nodeID string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.directory.members[nodeID] == nil && len(g.directory.members) >= g.config.MembersMax {
		return fmt.Errorf("more than %d members", g.config.MembersMax)
	}
	return nil
}

// turnedAway hears of strangers that our streams refused.
func (g *Gossip) turnedAway(from string, err error) {
	host, _, _ := net.SplitHostPort(from)
	if g.ctx.Err() == nil && g.muffler.first(host+" "+err.Error()) {
		g.config.Logger.Warn("gossip stream refused", "from", from, "cause", err)
	}
}
