package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Transport is a node's links. Its methods may be called from any goroutine, but
// Close not from a callback.
type Transport struct {
	config   Config
	types    *Types
	instance []byte
	targets  targets
	pool     chunkPool

	clientConfig, serverConfig *tls.Config

	listener net.Listener
	// ctx ends with Close; everything that waits watches it.
	ctx  context.Context
	stop context.CancelFunc
	// running counts the transport's goroutines.
	running sync.WaitGroup

	counters counters
	muffler  muffler

	// mu guards what is below.
	mu        sync.Mutex
	clusterID string
	peers     map[string]*peer
	inbound   map[inboundKey]*inbound
	// accepted counts open accepted connections, with those in handshake.
	accepted int
	closed   bool

	// known is peers once more, for the resolver's fast path.
	known sync.Map
	done  atomic.Bool
}

// Start listens, and from then on serves the remote PIDs of the actor system. An
// actor system can have one transport in its life.
func Start(config Config) (*Transport, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	types, err := NewTypes(config.Types)
	if err != nil {
		return nil, fmt.Errorf("transport config: %w", err)
	}
	listener, err := net.Listen("tcp", config.Listen)
	if err != nil {
		return nil, listenError(config.Listen, err)
	}
	t := &Transport{
		config:    config,
		types:     types,
		instance:  newInstance(),
		targets:   newTargets(config.Targets),
		listener:  listener,
		clusterID: config.ClusterID,
		peers:     make(map[string]*peer),
		inbound:   make(map[inboundKey]*inbound),
	}
	if config.TLS != nil {
		t.clientConfig, t.serverConfig = t.clientTLS(), t.serverTLS()
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	config.System.ProcessRegistry.RegisterAddressResolver(t.resolve)
	t.running.Go(t.accept)
	return t, nil
}

func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen for other nodes on %s: another process has this address; stop it or choose another with --peer-listen: %w", address, err)
	}
	return fmt.Errorf("listen for other nodes on %s: choose another address with --peer-listen: %w", address, err)
}

// Addr returns the address that other nodes are accepted on.
func (t *Transport) Addr() net.Addr { return t.listener.Addr() }

// Close ends all links and waits for every goroutine of the transport. Messages
// sent from then on are dropped; no event comes after it.
func (t *Transport) Close() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		t.running.Wait()
		return nil
	}
	t.closed = true
	t.done.Store(true)
	t.stop()
	for _, in := range t.inbound {
		in.conn.Close()
	}
	t.mu.Unlock()
	err := t.listener.Close()
	t.running.Wait()
	return err
}

// ClusterID returns the cluster this node belongs to; empty for none.
func (t *Transport) ClusterID() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clusterID
}

// SetClusterID says to which cluster the node now belongs. Links with nodes of
// other clusters end. A node never changes from one cluster to another.
func (t *Transport) SetClusterID(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clusterID == id {
		return nil
	}
	if t.clusterID != "" {
		return fmt.Errorf("set cluster id %q: the node belongs to cluster %s already", id, t.clusterID)
	}
	t.clusterID = id
	foreign := func(theirs string) bool { return theirs != "" && theirs != id }
	for _, in := range t.inbound {
		if foreign(in.hello.GetClusterId()) {
			in.conn.Close()
		}
	}
	for _, p := range t.peers {
		p.closeLinks(foreign)
	}
	return nil
}

// Connect opens the fast lane to a node and keeps it open, so that Notify tells
// whether the node is up although nothing is sent. A lane that pauses between
// attempts tries at once: call it when the node's address became known.
func (t *Transport) Connect(nodeID string) {
	if p := t.peer(nodeID); p != nil {
		p.lane(Fast)
		p.kick()
	}
}

// Forget closes the links to a node that is not a member any more. A message to
// it opens them again. Notify hears that the node is down, if it was up.
func (t *Transport) Forget(nodeID string) {
	if p, ok := t.known.Load(nodeID); ok {
		p.(*peer).forget()
	}
}

// resolve is protoactor's address resolver.
func (t *Transport) resolve(pid *actor.PID) (actor.Process, bool) {
	if p := t.peer(pid.GetAddress()); p != nil {
		return p, true
	}
	return nil, false
}

// peer returns the peer for a node id, nil if there cannot be one.
func (t *Transport) peer(nodeID string) *peer {
	if p, ok := t.known.Load(nodeID); ok {
		return p.(*peer)
	}
	if nodeID == "" || len(nodeID) > nodeIDMax || nodeID == t.config.NodeID {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[nodeID]; p != nil {
		return p
	}
	if len(t.peers) >= t.config.PeersMax {
		t.counters.peersRefused.Add(1)
		return nil
	}
	p := &peer{t: t, id: nodeID}
	t.peers[nodeID] = p
	t.known.Store(nodeID, p)
	return p
}

// targets says which actors other nodes may send to.
type targets struct {
	exact    map[string]struct{}
	prefixes []string
}

func newTargets(patterns []string) targets {
	t := targets{exact: make(map[string]struct{})}
	for _, p := range patterns {
		if strings.HasSuffix(p, "/") {
			t.prefixes = append(t.prefixes, p)
		} else {
			t.exact[p] = struct{}{}
		}
	}
	return t
}

func (t *targets) allow(name string) bool {
	if _, ok := t.exact[name]; ok {
		return true
	}
	for _, p := range t.prefixes {
		if len(name) > len(p) && strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// pause waits; it is cut short by the end of ctx and by a kick.
func pause(ctx context.Context, d time.Duration, kick <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-kick:
	case <-ctx.Done():
	}
}
