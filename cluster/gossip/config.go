package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Config says who this node is and whom it looks for. NodeID, Name and Bind are
// required; every other zero value means its default.
type Config struct {
	// NodeID never changes; Name is for people and must be unique in the cluster;
	// Boot grows with each start of the node.
	NodeID string
	Name   string
	Boot   uint64
	// ClusterID returns the cluster the node belongs to, empty for none. Members
	// of other clusters are refused. It is called from any goroutine; call
	// UpdateMeta when its value changed. Default: none.
	ClusterID func() string
	// Meta is what else the others hear about this node.
	Meta Meta

	// Bind is the host:port for TCP and UDP; port 0 picks one.
	Bind string
	// Advertise is the host or host:port that others reach this node at. Default:
	// the bound address, or a private address of the machine when all are bound.
	Advertise string
	// Join lists addresses, host:port, of nodes that may be up. One's own is
	// fine, and so are nodes that are not up yet.
	Join []string
	// Known returns members known from elsewhere, such as the ring's table; those
	// that gossip does not see alive are tried again and again. It is called from
	// any goroutine. Default: none.
	Known func() []Known
	// Keys encrypt all gossip with AES-GCM; each has 16, 24 or 32 bytes. The
	// first one encrypts, all decrypt. Empty: in the clear, for loopback only.
	Keys [][]byte

	// Notify hears each event, one at a time, in order. It may call the methods of
	// Gossip except Close and Leave. Nil is fine.
	Notify func(Event)
	// Logger gets a line for each change. Default: discard.
	Logger *slog.Logger

	// ProbeInterval and ProbeTimeout pace the failure detector. Defaults 500 ms
	// and 200 ms: a crash is noticed by all within about 3 s at 3 to 9 nodes.
	ProbeInterval, ProbeTimeout time.Duration
	// SuspicionMult scales how long a suspect may defend itself. Default 3: no
	// false alarm in 240 simulated runs.
	SuspicionMult int
	// GossipInterval is how often news is passed on. Default 100 ms.
	GossipInterval time.Duration
	// PushPullInterval is how often two members compare all they know. Default
	// 15 s.
	PushPullInterval time.Duration
	// StreamTimeout bounds one exchange over TCP. Default 2 s.
	StreamTimeout time.Duration
	// RejoinInterval is how often missing members are tried, jittered by a fifth;
	// until the first success it is a fifth of that. Default 5 s: a split of two
	// minutes heals within that time, memberlist alone never heals it.
	RejoinInterval time.Duration
	// MembersMax bounds the members that are remembered. Default 1024; more are
	// refused, as a flood of forged members must not fill the memory.
	MembersMax int
	// Forget is how long a member that failed or left is remembered. Default 24 h.
	Forget time.Duration
}

// Meta is what a node tells about itself, besides its identity.
type Meta struct {
	// APIAddress and PeerAddress are where clients and other nodes reach it, as
	// host:port. The gossip address is filled in.
	APIAddress  string
	PeerAddress string
	Zone        string
	Version     string
	// Weight is the relative capacity; 0 means 1.
	Weight uint32
	// Expect is how many nodes the first boot of a cluster waits for.
	Expect uint32
}

// Known is a member known from elsewhere.
type Known struct {
	NodeID string
	// GossipAddress is its host:port.
	GossipAddress string
}

// identityMax bounds names and ids in bytes, so that a member's record fits
// memberlist's 512 bytes.
const identityMax = 64

func (c Config) withDefaults() (Config, error) {
	if err := c.check(); err != nil {
		return c, fmt.Errorf("gossip config: %w", err)
	}
	setDefault(&c.ProbeInterval, 500*time.Millisecond)
	setDefault(&c.ProbeTimeout, 200*time.Millisecond)
	setDefault(&c.SuspicionMult, 3)
	setDefault(&c.GossipInterval, 100*time.Millisecond)
	setDefault(&c.PushPullInterval, 15*time.Second)
	setDefault(&c.StreamTimeout, 2*time.Second)
	setDefault(&c.RejoinInterval, 5*time.Second)
	setDefault(&c.MembersMax, 1024)
	setDefault(&c.Forget, 24*time.Hour)
	if c.ClusterID == nil {
		c.ClusterID = func() string { return "" }
	}
	if c.Known == nil {
		c.Known = func() []Known { return nil }
	}
	if c.Notify == nil {
		c.Notify = func(Event) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func setDefault[T time.Duration | int](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func (c *Config) check() error {
	switch {
	case !identityOK(c.NodeID):
		return fmt.Errorf("NodeID %q must have 1 to %d bytes and no # or control character", c.NodeID, identityMax)
	case !identityOK(c.Name):
		return fmt.Errorf("Name %q must have 1 to %d bytes and no #; choose another with --name", c.Name, identityMax)
	case c.Bind == "":
		return errors.New("Bind is missing")
	}
	for i, key := range c.Keys {
		if n := len(key); n != 16 && n != 24 && n != 32 {
			return fmt.Errorf("gossip key %d has %d bytes; it must have 16, 24 or 32 (--gossip-key)", i+1, n)
		}
	}
	for _, address := range c.Join {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("--join %q is not host:port: %w", address, err)
		}
	}
	return nil
}
