package cluster

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/cluster/gossip"
	"github.com/seed-49de4af9/ringmaster/cluster/storage"
	"github.com/seed-49de4af9/ringmaster/cluster/transport"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Node is a running node. Its methods may be called from any goroutine.
type Node struct {
	cfg    Config
	logger *slog.Logger

	// The parts, in the order in which they are started; see Start. A part that
	// was not started yet is nil.
	store  *storage.Store
	port   net.Listener
	self   *messages.Member
	system *actor.ActorSystem
	links  *transport.Transport
	gossip *gossip.Gossip
	runner *runner
	engine *node.Node
	server *api.Server
	client *Client

	started time.Time
	// running is closed when the engine can be told what gossip and links see.
	running chan struct{}
	// ready is closed when the node can serve for the first time.
	ready     chan struct{}
	readyOnce sync.Once
	// fatal gets the first failure that ended the node.
	fatal   chan error
	failure failure
	// route is the newest one whose members were connected; used by ticks.
	route *messages.Route
	ends  ending
}

// Start runs a node until Stop. It returns when the node listens and works; Ready
// tells when it can serve.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	return start(ctx, cfg, nil)
}

// start is Start on a given disk; nil is what the config says.
func start(ctx context.Context, cfg Config, disk storage.FS) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, logger: cfg.Logger, started: time.Now(),
		running: make(chan struct{}), ready: make(chan struct{}), fatal: make(chan error, 1),
	}
	// Each step needs those before it. Whatever was opened is closed again in the
	// opposite order, here if a step fails, else in Stop.
	for _, step := range []func() error{
		func() error { return n.openStore(disk) }, // who we are, and what we remember
		n.openPort,    // where clients will come; they wait until the last step
		n.openLinks,   // the way to other nodes; what they send is dropped until the engine runs
		n.openGossip,  // who else is there; events wait until the engine runs
		n.startEngine, // replicas load from the store, the loop and the clock begin
		n.startServer, // clients are answered
	} {
		if err = errors.Join(ctx.Err(), n.failure.get()); err == nil {
			err = step()
		}
		if err != nil {
			return nil, errors.Join(err, n.Kill())
		}
	}
	if err := n.failure.arm(); err != nil {
		return nil, errors.Join(err, n.Kill())
	}
	n.logger.Info("node started", "cluster", n.clusterID(), "boot", n.self.GetBoot(),
		"api", n.self.GetApiAddress(), "peer", n.self.GetPeerAddress(), "gossip", n.self.GetGossipAddress())
	return n, nil
}

// storeDir is the store's directory within the data directory.
const storeDir = "store"

func (n *Node) openStore(disk storage.FS) error {
	dir := storeDir
	if n.cfg.Dir == "" {
		if disk == nil {
			disk = storage.Memory()
		}
	} else {
		dir = filepath.Join(n.cfg.Dir, storeDir)
	}
	store, err := storage.Open(storage.Config{
		Dir: dir, FS: disk, MemTableBytes: n.cfg.MemTableBytes, CacheBytes: n.cfg.CacheBytes,
		OnFatal: n.fail, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.store = store
	return n.nameNode()
}

// nameNode settles the node's name and keeps it.
func (n *Node) nameNode() error {
	id := n.store.Identity()
	name := n.cfg.Name
	if name == "" {
		name = id.GetName()
	}
	if name == "" {
		const digits = 6
		name = "node-" + strings.ToLower(id.GetNodeId()[len(id.GetNodeId())-digits:])
	}
	n.self = &messages.Member{
		NodeId: id.GetNodeId(), Name: name, Boot: id.GetBoot(),
		Zone: n.cfg.Zone, Weight: n.cfg.Weight, Version: n.cfg.Version,
	}
	n.logger = n.logger.With("node", name)
	if name == id.GetName() {
		return nil
	}
	return n.store.UpdateIdentity(func(id *messages.Identity) { id.Name = name })
}

func (n *Node) openPort() (err error) {
	if n.port, err = listen(n.cfg.listeners()[0]); err != nil {
		return err
	}
	n.self.ApiAddress, err = advertised(n.cfg.Advertise, n.port.Addr())
	return err
}

func (n *Node) openLinks() (err error) {
	n.system = newSystem(n.ID(), n.logger)
	n.links, err = transport.Start(transport.Config{
		System: n.system, NodeID: n.ID(), Name: n.self.GetName(), Boot: n.self.GetBoot(), Version: n.cfg.Version,
		ClusterID: n.clusterID(), Listen: n.cfg.PeerListen, TLS: n.cfg.PeerTLS, VerifyPeer: n.verifyPeer,
		Types: wireTypes(), Targets: wireTargets(),
		Resolve: n.peerAddress, Notify: n.peerEvent, Logger: n.logger,
	})
	if err != nil {
		return err
	}
	n.self.PeerAddress, err = advertised(n.cfg.Advertise, n.links.Addr())
	return err
}

// verifyPeer accepts a certificate that was issued for a node's id, or for its
// name. The name must not be that of another node in the table: who holds the
// certificate of one node cannot speak for another.
func (n *Node) verifyPeer(cert *x509.Certificate, nodeID, name string) error {
	if err := cert.VerifyHostname(nodeID); err == nil {
		return nil
	}
	if err := cert.VerifyHostname(name); err != nil {
		return err
	}
	return nameFits(n.table(), nodeID, name)
}

// nameFits tells whether a node may go by a name, as far as the table knows.
func nameFits(table *messages.Table, nodeID, name string) error {
	owner := ""
	for _, m := range table.GetMembers() {
		switch {
		case m.GetName() != name:
		case m.GetNodeId() == nodeID:
			return nil
		default:
			owner = m.GetNodeId()
		}
	}
	if owner == "" {
		return nil
	}
	return fmt.Errorf("the certificate is for %s, which is the name of node %s and not of node %s; give each node a name and a certificate of its own", name, owner, nodeID)
}

func (n *Node) openGossip() (err error) {
	n.gossip, err = gossip.Start(gossip.Config{
		NodeID: n.ID(), Name: n.self.GetName(), Boot: n.self.GetBoot(), ClusterID: n.clusterID,
		Bind: n.cfg.GossipListen, Advertise: n.cfg.Advertise, Join: n.cfg.Join, Keys: n.cfg.GossipKeys,
		Known: n.knownMembers, Notify: n.gossipEvent, Logger: n.logger,
		Meta: gossip.Meta{
			APIAddress: n.self.GetApiAddress(), PeerAddress: n.self.GetPeerAddress(),
			Zone: n.cfg.Zone, Version: n.cfg.Version, Weight: n.cfg.Weight, Expect: uint32(n.cfg.Expect),
		},
	})
	if err != nil {
		return err
	}
	n.self.GossipAddress = n.gossip.Address()
	return nil
}

func (n *Node) startEngine() error {
	var seed [8]byte
	rand.Read(seed[:]) // never fails
	l := loop.New()
	engine, err := node.Start(node.Config{
		System: n.system, Loop: l, Self: n.self, Store: n.store, Identities: n.store, Behaviors: n.cfg.Behaviors,
		Clock: func() int64 { return time.Now().UnixNano() }, Seed: binary.BigEndian.Uint64(seed[:]),
		After:        func(d time.Duration, f func()) { time.AfterFunc(d, f) },
		TickInterval: n.cfg.TickInterval, Expect: uint32(n.cfg.Expect),
		Partitions: uint32(n.cfg.Partitions), Replication: uint32(n.cfg.Replicas),
		Faults: n.cfg.Faults, Logger: n.logger, Clustered: n.clustered, Fatal: n.fail,
	})
	if err != nil {
		return err
	}
	n.engine = engine
	n.runner = &runner{loop: l, tick: n.tick, interval: n.cfg.TickInterval, overstay: n.overstay}
	close(n.running)
	n.runner.start()
	return nil
}

func (n *Node) startServer() error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(newCollector(n)); err != nil {
		return err
	}
	server, err := api.New(api.Config{Engine: view{n}, Registry: registry, Logger: n.logger, TLS: n.cfg.APITLS})
	if err != nil {
		return err
	}
	n.server, n.client = server, newLocalClient(view{n})
	go func() {
		if err := server.Serve(n.port); err != nil {
			n.fail(err)
		}
	}()
	return nil
}

// ID returns the node's id, which never changes.
func (n *Node) ID() string { return n.self.GetNodeId() }

// Name returns what people call the node.
func (n *Node) Name() string { return n.self.GetName() }

// Addr returns the host:port that clients reach the node at.
func (n *Node) Addr() string { return n.self.GetApiAddress() }

// PeerAddr returns the host:port that other nodes reach the node at.
func (n *Node) PeerAddr() string { return n.self.GetPeerAddress() }

// GossipAddr returns the host:port for other nodes to join.
func (n *Node) GossipAddr() string { return n.self.GetGossipAddress() }

// Client calls actors of the whole cluster through this node, without a connection.
// It ends with the node. To outlive a node, Dial several.
func (n *Node) Client() *Client { return n.client }

// Ready is closed when the node can serve: it belongs to a cluster and knows a
// master for each partition that it holds. It stays closed whatever happens then.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Fatal gets the failure after which the node cannot go on, of its disk above all.
// The node has ended itself then, without a word to others; the process should
// end too.
func (n *Node) Fatal() <-chan error { return n.fatal }

func (n *Node) clusterID() string { return n.store.Identity().GetClusterId() }
