package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// Lane is one of the connections to a peer. Messages on one lane keep their
// order and wait for each other; lanes do not wait for each other.
type Lane uint8

// The lanes.
const (
	// Fast carries everything small and urgent: raft, calls, control. Its state
	// is the peer's state.
	Fast Lane = iota
	// Bulk carries snapshots, which must never delay a heartbeat.
	Bulk

	laneCount
)

func (l Lane) String() string {
	switch l {
	case Fast:
		return "fast"
	case Bulk:
		return "bulk"
	}
	return fmt.Sprintf("lane %d", uint8(l))
}

// DefaultLane puts snapshot chunks on the bulk lane, all else on the fast one.
func DefaultLane(m proto.Message) Lane {
	if _, ok := m.(*messages.SnapshotChunk); ok {
		return Bulk
	}
	return Fast
}

// Config says who this node is, whom it reaches and what it accepts. The fields
// of the first group are required; every other zero value means its default.
// Callbacks are called from the transport's goroutines and from senders; they
// must not block.
type Config struct {
	// System is the actor system whose remote PIDs the transport serves. Its
	// address must be NodeID already.
	System *actor.ActorSystem
	NodeID string
	// Listen is the host:port to accept other nodes on; port 0 picks one.
	Listen string
	// Types are the messages that may be sent and received; nothing else is
	// ever decoded. At most 1024.
	Types []proto.Message
	// Targets are the actors that other nodes may send to: a name, or a prefix
	// that ends in "/" for everything beneath it.
	Targets []string
	// Resolve returns the host:port of a node's links; false while unknown.
	Resolve func(nodeID string) (address string, ok bool)

	// Name, Boot and Version describe this node to its peers. A newer boot of a
	// node replaces the connections of an older one.
	Name    string
	Boot    uint64
	Version string
	// ClusterID is empty while the node belongs to no cluster. Nodes of
	// different clusters refuse each other; an empty id goes with any.
	ClusterID string

	// TLS holds this node's certificate and the roots that peers' certificates
	// must descend from (RootCAs). Both directions are authenticated with TLS
	// 1.3. Nil means plain TCP, for loopback and tests.
	TLS *tls.Config
	// VerifyPeer checks a verified certificate against the node id and name that
	// the peer claims. Default: the certificate is valid for the node id as a
	// DNS name.
	VerifyPeer func(cert *x509.Certificate, nodeID, name string) error

	// Lane chooses a message's lane. Default [DefaultLane].
	Lane func(proto.Message) Lane
	// Notify hears when a peer is first found up or down, and of each change
	// from then on. Calls about one peer come in order, one at a time.
	Notify func(nodeID string, up bool)
	// Dropped hears of messages that were dropped on the sending side. It is
	// called by the sender, or by the lane when a link breaks.
	Dropped func(Drop)
	// Refused hears of handshakes that failed for a reason a person should know:
	// another cluster, another certificate, two processes with one node id.
	Refused func(*HandshakeError)
	// Logger gets a line for each change of a link. Default: discard.
	Logger *slog.Logger
	// Dial opens connections. Default: TCP.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Intercept injects faults: it is asked before each write to a peer with the
	// number of bytes, and with size 0 before each dial. Drop forgets the bytes
	// (or fails the dial); delay holds the lane up. Nil in production.
	Intercept func(peer string, lane Lane, size int) (drop bool, delay time.Duration)

	// Heartbeat is how often a lane proves that it is alive. Default 250 ms: four
	// to a Silence, so that one late heartbeat changes nothing.
	Heartbeat time.Duration
	// Silence is how long a peer may acknowledge nothing before it is down.
	// Default 1 s, about an election: noticing sooner cannot help.
	Silence time.Duration
	// DialTimeout bounds one attempt to connect. Default 1 s.
	DialTimeout time.Duration
	// HandshakeTimeout bounds TLS and hello on a new connection. Default 5 s,
	// room for a starved machine; strangers hold a connection no longer.
	HandshakeTimeout time.Duration
	// BackoffMin and BackoffMax bound the pause between attempts; it doubles and
	// is jittered by half. Defaults 50 ms and 1 s: a node that returns dials us
	// itself, which ends the pause.
	BackoffMin, BackoffMax time.Duration
	// QueueBytes bounds what waits or is being written on one lane of one peer.
	// Default 64 MiB: a second of a gigabit link, and then some.
	QueueBytes int
	// FrameBytes bounds one envelope. Default 16 MiB: a raft batch has at most 4.
	FrameBytes int
	// ElementsMax bounds the fields and elements of one received message, as an
	// empty element costs 2 bytes on the wire and 50 in memory. Default 65536.
	ElementsMax int
	// PeersMax bounds the peers known at once. Default 1024.
	PeersMax int
	// ConnectionsMax bounds accepted connections, handshakes included. Default
	// 4096.
	ConnectionsMax int
}

// typesMax bounds Config.Types and the types a peer may announce.
const typesMax = 1024

// nodeIDMax bounds a node id in bytes.
const nodeIDMax = 128

// withDefaults checks the config and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	if err := c.check(); err != nil {
		return c, fmt.Errorf("transport config: %w", err)
	}
	setDefault(&c.Heartbeat, 250*time.Millisecond)
	setDefault(&c.Silence, time.Second)
	setDefault(&c.DialTimeout, time.Second)
	setDefault(&c.HandshakeTimeout, 5*time.Second)
	setDefault(&c.BackoffMin, 50*time.Millisecond)
	setDefault(&c.BackoffMax, time.Second)
	setDefault(&c.QueueBytes, 64<<20)
	setDefault(&c.FrameBytes, 16<<20)
	setDefault(&c.ElementsMax, 65536)
	setDefault(&c.PeersMax, 1024)
	setDefault(&c.ConnectionsMax, 4096)
	if c.Lane == nil {
		c.Lane = DefaultLane
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.VerifyPeer == nil {
		c.VerifyPeer = verifyNodeID
	}
	if c.Dial == nil {
		c.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}
	}
	if c.FrameBytes > c.QueueBytes {
		return c, fmt.Errorf("transport config: FrameBytes %d must not be more than QueueBytes %d", c.FrameBytes, c.QueueBytes)
	}
	if c.Heartbeat*2 > c.Silence {
		return c, fmt.Errorf("transport config: Heartbeat %s must be at most half of Silence %s", c.Heartbeat, c.Silence)
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
	case c.System == nil:
		return errors.New("System is missing")
	case c.NodeID == "" || len(c.NodeID) > nodeIDMax:
		return fmt.Errorf("NodeID must have 1 to %d bytes, got %d", nodeIDMax, len(c.NodeID))
	case c.System.Address() != c.NodeID:
		return fmt.Errorf("the actor system's address is %q; set ProcessRegistry.Address to the node id %q before anything is spawned", c.System.Address(), c.NodeID)
	case c.Listen == "":
		return errors.New("Listen is missing")
	case len(c.Targets) == 0:
		return errors.New("Targets is empty: no other node could reach an actor")
	case c.Resolve == nil:
		return errors.New("Resolve is missing")
	case c.TLS != nil && c.TLS.RootCAs == nil:
		return errors.New("TLS.RootCAs is missing: peers' certificates could not be checked")
	case c.TLS != nil && len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil:
		return errors.New("TLS has no certificate for this node")
	}
	return nil
}
