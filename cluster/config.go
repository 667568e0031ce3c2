package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/fault"
)

// Defaults of Config.
const (
	DefaultListen       = "127.0.0.1:7420"
	DefaultPeerListen   = "127.0.0.1:7421"
	DefaultGossipListen = "127.0.0.1:7422"
	DefaultPartitions   = 64
	DefaultReplicas     = 3
	DefaultTickInterval = 50 * time.Millisecond
	DefaultDrainTimeout = 30 * time.Second
)

// Config describes a node. The zero value is one node on its own that works: it
// listens on loopback, keeps its data in memory and is a whole cluster.
type Config struct {
	// Dir is the data directory; the node's identity and all its copies of data
	// live there. It is created if need be, and used by one process at a time.
	// Default: memory, which forgets everything when the process ends.
	Dir string
	// Name is what people call the node; unique in its cluster, kept in Dir.
	// Default: the name kept in Dir, else the end of the node id.
	Name string
	// Behaviors are the kinds of actors that live on the node. Every node of a
	// cluster should have the same ones. Default: none.
	Behaviors []*actors.Behavior

	// Join lists gossip addresses, host:port, of nodes that may be up; the node's
	// own is fine, and so are nodes that start later. Default: none.
	Join []string
	// Expect is how many nodes a new cluster is made of: it begins when that many
	// see each other, and never again. Nodes that join later, or again, may keep
	// it. Default: 1 without Join; with Join 0, which never begins a cluster.
	Expect int
	// Partitions is the number of slices of the ring, fixed when the cluster
	// begins. Default 64: about 20 nodes still get 3 masters each, and more of
	// them make each group of writes smaller.
	Partitions int
	// Replicas is how many nodes hold each partition, fixed when the cluster
	// begins. Default 3: one may fail. Fewer nodes hold fewer copies until others
	// join.
	Replicas int
	// Zone says where the node is (rack, data center); copies are spread over
	// zones first. Default: none.
	Zone string
	// Weight is the node's capacity beside that of the others. Default 1.
	Weight uint32

	// Listen is the host:port for clients. Default 127.0.0.1:7420. Here and below
	// port 0 picks one; see Node.Addr.
	Listen string
	// PeerListen is the host:port for other nodes. Default: port 7421 on the host
	// of Listen.
	PeerListen string
	// GossipListen is the host:port, TCP and UDP, for gossip. Default: port 7422
	// on the host of Listen; not memberlist's own 7946, which Docker Swarm uses.
	GossipListen string
	// Advertise is the host name or IP that others reach this node at. Default:
	// the host it listens on, or the machine's first address if it listens on all.
	Advertise string

	// APITLS secures the clients' port. Default: none, on loopback only.
	APITLS *tls.Config
	// PeerTLS secures the links between nodes, in both directions: it holds this
	// node's certificate, valid for the node's name, and the roots (RootCAs) that
	// the others' descend from. Default: none, on loopback only.
	PeerTLS *tls.Config
	// GossipKeys encrypt gossip; each has 16, 24 or 32 bytes. The first one
	// encrypts, all decrypt. Default: none, on loopback only.
	GossipKeys [][]byte
	// Insecure allows to listen off loopback without the three above. Whoever
	// reaches such a node can read and change everything. Default off.
	Insecure bool

	// DrainTimeout bounds how long Drain waits for others to take the masterships
	// over. Default 30 s: more than a hand-over of every partition takes.
	DrainTimeout time.Duration
	// TickInterval is the engine's clock. Default 50 ms: an election takes some
	// twenty ticks, so a second.
	TickInterval time.Duration
	// MemTableBytes and CacheBytes size the store's memory; see storage.Config.
	// Defaults 64 MiB each.
	MemTableBytes, CacheBytes int

	// Version of the program, shown to people. Default: none.
	Version string
	// Logger gets a line for each thing that happens to the node. Default:
	// slog.Default.
	Logger *slog.Logger
	// Faults injects faults; see package fault. Nil in production.
	Faults fault.Points
}

// withDefaults checks the config and fills in the defaults.
func (c Config) withDefaults() (Config, error) {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c, fmt.Errorf("cluster config: Listen (--listen) %q is not host:port: %w", c.Listen, err)
	}
	if c.PeerListen == "" {
		c.PeerListen = withHost(host, DefaultPeerListen)
	}
	if c.GossipListen == "" {
		c.GossipListen = withHost(host, DefaultGossipListen)
	}
	if c.Expect == 0 && len(c.Join) == 0 {
		c.Expect = 1
	}
	setDefault(&c.Partitions, DefaultPartitions)
	setDefault(&c.Replicas, DefaultReplicas)
	setDefault(&c.DrainTimeout, DefaultDrainTimeout)
	setDefault(&c.TickInterval, DefaultTickInterval)
	if c.Weight == 0 {
		c.Weight = 1
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("cluster config: %w", err)
	}
	return c, nil
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

func withHost(host, address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address // check says what is wrong with it
	}
	return net.JoinHostPort(host, port)
}

// Limits of what Config may ask for.
const (
	partitionsMax = 4096
	replicasMax   = 9
	expectMax     = 1000
)

func (c Config) check() error {
	for _, r := range []struct {
		field              string
		value, least, most int
	}{
		{"Partitions (--partitions)", c.Partitions, 1, partitionsMax},
		{"Replicas (--replicas)", c.Replicas, 1, replicasMax},
		{"Expect (--expect)", c.Expect, 0, expectMax},
	} {
		if r.value < r.least || r.value > r.most {
			return fmt.Errorf("%s is %d; it must be between %d and %d", r.field, r.value, r.least, r.most)
		}
	}
	if c.DrainTimeout < 0 || c.TickInterval < 0 {
		return errors.New("DrainTimeout (--drain-timeout) and TickInterval must not be negative")
	}
	if c.TickInterval > time.Second {
		return fmt.Errorf("TickInterval is %v; above 1s no master would ever be noticed missing in time", c.TickInterval)
	}
	for _, l := range c.listeners() {
		if err := l.check(c.Insecure); err != nil {
			return err
		}
	}
	return nil
}

// listener is one address that the node listens on.
type listener struct {
	field, flag, address string
	// secure says that nobody can listen in or join in without a secret; lacks
	// names what would make it so.
	secure bool
	lacks  string
}

func (c Config) listeners() []listener {
	return []listener{
		{"Listen", "--listen", c.Listen, c.APITLS != nil, "a certificate (APITLS, --certs-dir)"},
		{"PeerListen", "--peer-listen", c.PeerListen, c.PeerTLS != nil, "a certificate (PeerTLS, --certs-dir)"},
		{"GossipListen", "--gossip-listen", c.GossipListen, len(c.GossipKeys) > 0, "a gossip key (GossipKeys, --gossip-key-file)"},
	}
}

func (l *listener) check(insecure bool) error {
	host, port, err := net.SplitHostPort(l.address)
	if err != nil {
		return fmt.Errorf("%s (%s) %q is not host:port: %w", l.field, l.flag, l.address, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s (%s) %q has no port between 0 and 65535", l.field, l.flag, l.address)
	}
	if l.secure || insecure || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s (%s) %s can be reached from other machines and has no %s: "+
		"start with --certs-dir, a directory with ca.crt, node.crt, node.key (a certificate for the node's name) and gossip.key, "+
		"or say Insecure (--insecure) if everyone who can reach it may read and change everything",
		l.field, l.flag, l.address, l.lacks)
}

// isLoopback reports whether only this machine reaches what listens on host. An
// empty host is all addresses of the machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
