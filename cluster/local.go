package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/seed-49de4af9/ringmaster/cluster/storage"
)

// Local is a cluster within one process: nodes n1, n2, ... on loopback, each with
// its own disk and its own sockets. It is for development, examples and tests.
// Its methods may be called from any goroutine.
type Local struct {
	// life guards the starts and ends of nodes, one at a time.
	life sync.Mutex

	mu    sync.Mutex
	nodes []*localNode
}

// localNode is one node of a Local, running or not.
type localNode struct {
	cfg Config
	// disk is the node's disk in memory; nil if it has a directory.
	disk *storage.Disk
	// node is nil while the node is down.
	node *Node
}

// localNodesMax bounds what one process is asked to be.
const localNodesMax = 100

// portStep lies between the API ports of a Local's nodes: 7420, 7430, ... Links
// and gossip have the two ports above.
const portStep = 10

// StartLocal runs a cluster of n nodes in this process and returns when all of
// them work; Ready waits until they can serve. Of cfg, Name, Join and Expect are
// chosen for each node, and Dir gets a directory for each; without Dir the disks
// are in memory. Listen is the first node's port (default 127.0.0.1:7420); the
// others' follow at steps of 10. With port 0 all ports are picked.
func StartLocal(ctx context.Context, n int, cfg Config) (*Local, error) {
	if n < 1 || n > localNodesMax {
		return nil, fmt.Errorf("a local cluster of %d nodes: between 1 and %d are possible (--nodes)", n, localNodesMax)
	}
	l := &Local{}
	var seed string
	for i := range n {
		c, err := cfg.forLocal(i, n, seed)
		if err != nil {
			return nil, err
		}
		ln := &localNode{cfg: c}
		if c.Dir == "" {
			ln.disk = storage.NewDisk()
		}
		l.nodes = append(l.nodes, ln)
		if err := ln.start(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start node %s: %w", c.Name, err), l.Kill())
		}
		if seed == "" {
			seed = ln.node.GossipAddr()
		}
	}
	return l, nil
}

// forLocal is the config of node i of n.
func (c Config) forLocal(i, n int, seed string) (Config, error) {
	c.Name = "n" + strconv.Itoa(i+1)
	c.Expect = n
	c.Join = nil
	if seed != "" {
		c.Join = []string{seed}
	}
	if c.Dir != "" {
		c.Dir = filepath.Join(c.Dir, c.Name)
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	host, portText, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c, fmt.Errorf("Listen (--listen) %q is not host:port: %w", c.Listen, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return c, fmt.Errorf("Listen (--listen) %q: the port is not a number: %w", c.Listen, err)
	}
	ports := [3]int{}
	if port != 0 {
		port += i * portStep
		ports = [3]int{port, port + 1, port + 2}
	}
	for j, address := range []*string{&c.Listen, &c.PeerListen, &c.GossipListen} {
		*address = net.JoinHostPort(host, strconv.Itoa(ports[j]))
	}
	return c, nil
}

func (ln *localNode) start(ctx context.Context) (err error) {
	var disk storage.FS
	if ln.disk != nil {
		disk = ln.disk.FS()
	}
	ln.node, err = start(ctx, ln.cfg, disk)
	if err != nil {
		ln.node = nil
		return err
	}
	// The node comes back where it was, so that others find it at once.
	for address, now := range map[*string]string{
		&ln.cfg.Listen: ln.node.Addr(), &ln.cfg.PeerListen: ln.node.PeerAddr(), &ln.cfg.GossipListen: ln.node.GossipAddr(),
	} {
		*address = now
	}
	return nil
}

// Ready waits until every node that is up can serve.
func (l *Local) Ready(ctx context.Context) error {
	for _, n := range l.Nodes() {
		select {
		case <-n.Ready():
		case err := <-n.Fatal():
			return fmt.Errorf("node %s: %w", n.Name(), err)
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %w; GET http://%s/readyz?verbose says why", n.Name(), ctx.Err(), n.Addr())
		}
	}
	return nil
}

// Nodes returns the nodes that are up, in the order of their names.
func (l *Local) Nodes() []*Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	var up []*Node
	for _, ln := range l.nodes {
		if ln.node != nil {
			up = append(up, ln.node)
		}
	}
	return up
}

// Names returns the names of all nodes, up or down.
func (l *Local) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, len(l.nodes))
	for i, ln := range l.nodes {
		names[i] = ln.cfg.Name
	}
	return names
}

// Addrs returns where clients reach the nodes that are up, for Dial.
func (l *Local) Addrs() []string {
	var addrs []string
	for _, n := range l.Nodes() {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Node returns a node by its name; nil if it is down or there is none.
func (l *Local) Node(name string) *Node {
	for _, n := range l.Nodes() {
		if n.Name() == name {
			return n
		}
	}
	return nil
}

// Kill ends nodes abruptly, as kill -9 and a power loss do: sockets close, no
// mastership is handed over, and what was not synced is gone. No name means all.
func (l *Local) Kill(names ...string) error {
	return l.end(names, func(ln *localNode) error {
		// First the node, which from then on acknowledges nothing, then the power.
		err := ln.node.Kill()
		if ln.disk != nil {
			ln.disk = ln.disk.Crash(0, nil)
		}
		return err
	})
}

// Stop ends nodes in good order, one after the other. No name means all; then no
// masterships are handed over, as there would be nobody left to have them.
func (l *Local) Stop(ctx context.Context, names ...string) error {
	all := len(names) == 0
	return l.end(names, func(ln *localNode) error {
		if all {
			return ln.node.stop(ctx, false)
		}
		return ln.node.Stop(ctx)
	})
}

// Restart starts a node that was killed or stopped, on what its disk kept.
func (l *Local) Restart(ctx context.Context, name string) error {
	l.life.Lock()
	defer l.life.Unlock()
	ln, err := l.find(name)
	if err != nil {
		return err
	}
	if l.Node(name) != nil {
		return fmt.Errorf("node %s is up already", name)
	}
	again := &localNode{cfg: ln.cfg, disk: ln.disk}
	if err := again.start(ctx); err != nil {
		return fmt.Errorf("start node %s: %w", name, err)
	}
	l.mu.Lock()
	ln.cfg, ln.node = again.cfg, again.node
	l.mu.Unlock()
	return nil
}

// end ends nodes that are up, each in the given way.
func (l *Local) end(names []string, way func(*localNode) error) error {
	l.life.Lock()
	defer l.life.Unlock()
	all := len(names) == 0
	if all {
		names = l.Names()
	}
	var errs []error
	for _, name := range names {
		ln, err := l.find(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if l.Node(name) == nil {
			if !all {
				errs = append(errs, fmt.Errorf("node %s is down already", name))
			}
			continue
		}
		if err := way(ln); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w", name, err))
		}
		l.mu.Lock()
		ln.node = nil
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (l *Local) find(name string) (*localNode, error) {
	for i, known := range l.Names() {
		if known == name {
			return l.nodes[i], nil
		}
	}
	return nil, fmt.Errorf("there is no node %q; the nodes are %v", name, l.Names())
}
