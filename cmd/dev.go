package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster"
)

const (
	// devReadyTimeout is how long dev waits for its nodes to serve.
	devReadyTimeout = 60 * time.Second
	// devStopTimeout bounds the end of dev's nodes.
	devStopTimeout = 20 * time.Second
	// devPortStep is between the ports of dev's nodes, and devBlockStep between the
	// blocks of ports that are tried.
	devPortStep  = 10
	devBlockStep = 100
	devBlocks    = 20
)

// devConfig is what the flags of dev say.
type devConfig struct {
	listen                      string
	nodes, partitions, replicas int
	dataDir                     string
	log                         logging
}

func (a *app) devCommand() *cobra.Command {
	var d devConfig
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole cluster in this process",
		Long: `Runs a cluster of several nodes in this process, each with its own ports and
its own disk; in memory, unless --data-dir says where to keep them. Where the
ports are taken, the next free block is used. Ctrl-C stops it.`,
		Example: "  ringmaster dev\n  ringmaster dev --nodes 5 --data-dir ./data\n  ringmaster dev --listen 127.0.0.1:9000",
		Args:    between(0, 0, "no arguments"),
		RunE:    func(c *cobra.Command, _ []string) error { return a.dev(c.Context(), &d) },
	}
	f := c.Flags()
	f.StringVar(&d.listen, "listen", cluster.DefaultListen, "host:port of the first node; the others follow in steps of 10")
	f.IntVar(&d.nodes, "nodes", 3, "how many nodes")
	f.IntVar(&d.partitions, "partitions", cluster.DefaultPartitions, "slices of the ring, fixed when the cluster begins")
	f.IntVar(&d.replicas, "replicas", cluster.DefaultReplicas, "copies of each partition, fixed when the cluster begins")
	f.StringVar(&d.dataDir, "data-dir", "", "where to keep the data; default: in memory")
	d.log.flags(c, "error")
	return c
}

func (a *app) dev(ctx context.Context, d *devConfig) error {
	logger, err := d.log.logger(a.streams.Err)
	if err != nil {
		return err
	}
	listen, err := a.freeBlock(ctx, d)
	if err != nil {
		return err
	}
	started := time.Now()
	local, err := cluster.StartLocal(ctx, d.nodes, cluster.Config{
		Dir: d.dataDir, Behaviors: a.behaviors, Listen: listen, Partitions: d.partitions, Replicas: d.replicas,
		Version: version, Logger: logger,
	})
	if err != nil {
		return startError(ctx, err)
	}
	fmt.Fprint(a.streams.Out, a.banner(d, local))
	stop := func() error {
		// ctx has ended, and the end of the nodes takes its time.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), devStopTimeout)
		defer cancel()
		return local.Stop(ctx)
	}
	ready, cancel := context.WithTimeout(ctx, devReadyTimeout)
	defer cancel()
	if err := local.Ready(ready); err != nil {
		if ctx.Err() != nil {
			return stop()
		}
		return errors.Join(err, stop())
	}
	fmt.Fprintf(a.streams.Out, "Ready in %.1f s. Ctrl-C stops it.\n", time.Since(started).Seconds())
	if err := a.awaitEnd(ctx, local); err != nil {
		return errors.Join(err, stop())
	}
	a.say("stopping")
	return stop()
}

// awaitEnd waits until the context ends, or a node fails.
func (a *app) awaitEnd(ctx context.Context, local *cluster.Local) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(local.Nodes()))
	for _, n := range local.Nodes() {
		go func() {
			select {
			case err := <-n.Fatal():
				failed <- fmt.Errorf("node %s: %w", n.Name(), err)
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// freeBlock finds ports for all nodes: those asked for, or the next free ones.
func (a *app) freeBlock(ctx context.Context, d *devConfig) (string, error) {
	host, portText, err := net.SplitHostPort(d.listen)
	if err != nil {
		return "", exitf(ExitUsage, "--listen %q is not host:port: %w", d.listen, err)
	}
	first, err := strconv.Atoi(portText)
	if err != nil || first < 0 || first > 65535 {
		return "", exitf(ExitUsage, "--listen %q has no port between 0 and 65535", d.listen)
	}
	if first == 0 || d.nodes < 1 {
		return d.listen, nil
	}
	var taken error
	for block := range devBlocks {
		port := first + block*devBlockStep
		if port+d.nodes*devPortStep > 65535 {
			break
		}
		err := blockIsFree(ctx, host, port, d.nodes)
		if err == nil {
			if block > 0 {
				a.say("%v; this cluster listens from port %d on", taken, port)
			}
			return net.JoinHostPort(host, strconv.Itoa(port)), nil
		}
		if !errors.As(err, new(portTakenError)) {
			return "", exitf(ExitUsage, "--listen %s: %w", d.listen, err)
		}
		if taken == nil {
			taken = err
		}
	}
	return "", exitf(ExitUsage, "--listen %s: no free block of %d ports near it: %w", d.listen, d.nodes*devPortStep, taken)
}

// portTakenError says that another process has a port.
type portTakenError struct{ port int }

func (e portTakenError) Error() string {
	return fmt.Sprintf("port %d is in use by another process", e.port)
}

// blockIsFree tries the three ports of each node.
func blockIsFree(ctx context.Context, host string, port, nodes int) error {
	var lc net.ListenConfig
	for i := range nodes {
		for j := range 3 {
			at := port + i*devPortStep + j
			l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(at)))
			if errors.Is(err, syscall.EADDRINUSE) {
				return portTakenError{at}
			}
			if err != nil {
				return plain(err)
			}
			l.Close()
		}
	}
	return nil
}

// banner says what runs, where, and what to try.
func (a *app) banner(d *devConfig, local *cluster.Local) string {
	nodes := local.Nodes()
	base := friendly(nodes[0].Addr())
	copies := min(d.replicas, d.nodes)
	kept := "In memory: nothing is kept after Ctrl-C."
	if d.dataDir != "" {
		kept = "Data is kept in " + d.dataDir + "."
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ringmaster %s dev cluster: %s, %s, %s each. %s\n\n", version,
		counted(d.nodes, "node", "nodes"), counted(d.partitions, "partition", "partitions"), counted(copies, "copy", "copies"), kept)
	fmt.Fprintf(&b, "  API        http://%-21s (curl, gRPC, Connect)\n", base)
	fmt.Fprintf(&b, "  Metrics    http://%s/metrics\n", base)
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Name()+" "+n.Addr())
	}
	fmt.Fprintf(&b, "  Nodes      %s\n", strings.Join(addrs, "   "))
	var kinds []string
	for _, k := range a.behaviors {
		kinds = append(kinds, k.Kind())
	}
	if len(kinds) == 0 {
		kinds = []string{"none: this program was given no behaviors"}
	}
	fmt.Fprintf(&b, "  Kinds      %s\n\n", strings.Join(kinds, ", "))
	a.writeTries(&b, base)
	return b.String()
}

// writeTries suggests the first calls.
func (a *app) writeTries(b *strings.Builder, base string) {
	if len(a.behaviors) == 0 {
		return
	}
	kind, key, method, body := a.behaviors[0].Kind(), "alice", a.behaviors[0].Methods()[0].Name, "{}"
	if k := a.behavior("counter"); k != nil && slices.ContainsFunc(k.Methods(), func(m *actors.Method) bool { return m.Name == "Add" }) {
		kind, method, body = "counter", "Add", `{"delta":1}`
	}
	addr := ""
	if base != friendly(cluster.DefaultListen) {
		addr = " --addr " + base
	}
	fmt.Fprintf(b, "  Try, in another terminal:\n")
	fmt.Fprintf(b, "    curl %s/v1/actors/%s/%s/%s -d '%s'\n", base, kind, key, method, body)
	fmt.Fprintf(b, "    ringmaster call %s/%s %s '%s'%s\n", kind, key, method, body, addr)
	fmt.Fprintf(b, "    ringmaster status%s\n", addr)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// friendly is an address as people type it.
func friendly(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host != "127.0.0.1" {
		return addr
	}
	return "localhost:" + port
}

// startError gives an error of a start its exit code.
func startError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return exitf(ExitFailed, "stopped before it was started: %w", context.Cause(ctx))
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL), strings.Contains(err.Error(), "cluster config: "):
		return &exitError{ExitUsage, err}
	}
	return &exitError{ExitFailed, err}
}
