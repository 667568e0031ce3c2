package cmd

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/cluster"
)

// nodeConfig is what the flags of node say.
type nodeConfig struct {
	cluster.Config
	memory        bool
	certsDir      string
	gossipKey     string
	gossipKeyFile string
	log           logging
}

// stopGrace is how long the rest of a stop may take after the hand-over.
const stopGrace = 15 * time.Second

func (a *app) nodeCommand() *cobra.Command {
	var n nodeConfig
	c := &cobra.Command{
		Use:   "node",
		Short: "Run one node of a cluster",
		Long: `Runs one node. A new cluster begins when --expect nodes see each other; the
same flags serve for every later start. --join names gossip addresses of any
nodes: its own and those not up yet are fine.

SIGTERM and Ctrl-C hand the node's masterships over and end it with exit code
0; a second one ends it at once.`,
		Example: `  ringmaster node --name n1 --data-dir d1 --expect 3 --listen 127.0.0.1:7420 \
    --join 127.0.0.1:7422,127.0.0.1:7432,127.0.0.1:7442
  ringmaster node --data-dir /var/lib/ringmaster --join 10.0.0.5:7422`,
		Args: between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return a.node(c.Context(), &n) },
	}
	f := c.Flags()
	f.StringVar(&n.Name, "name", "", "what people call it, unique in the cluster; kept in the data directory")
	f.StringVar(&n.Dir, "data-dir", "", "where the node's identity and data live; one process at a time")
	f.BoolVar(&n.memory, "in-memory", false, "keep nothing, instead of --data-dir")
	f.StringSliceVar(&n.Join, "join", nil, "gossip addresses of nodes, host:port")
	f.IntVar(&n.Expect, "expect", 0, "how many nodes a new cluster begins with; default: 1 without --join")
	f.StringVar(&n.Listen, "listen", cluster.DefaultListen, "host:port for clients")
	f.StringVar(&n.PeerListen, "peer-listen", "", "host:port for other nodes; default: port 7421 on the host of --listen")
	f.StringVar(&n.GossipListen, "gossip-listen", "", "host:port for gossip, TCP and UDP; default: port 7422 on that host")
	f.StringVar(&n.Advertise, "advertise", "", "host or IP that others reach this node at")
	f.StringVar(&n.Zone, "zone", "", "where it is (rack, data center); copies are spread over zones")
	f.Uint32Var(&n.Weight, "weight", 1, "capacity beside that of the others")
	f.IntVar(&n.Partitions, "partitions", cluster.DefaultPartitions, "slices of the ring of a new cluster")
	f.IntVar(&n.Replicas, "replicas", cluster.DefaultReplicas, "copies of each partition of a new cluster")
	f.StringVar(&n.certsDir, "certs-dir", "", "directory with ca.crt, node.crt, node.key and gossip.key")
	f.StringVar(&n.gossipKeyFile, "gossip-key-file", "", "file with keys for gossip, one a line; the first one encrypts")
	f.StringVar(&n.gossipKey, "gossip-key", "", "key for gossip: 16, 24 or 32 bytes in base64 or hex")
	f.BoolVar(&n.Insecure, "insecure", false, "listen beyond this machine without certificates and key")
	f.DurationVar(&n.DrainTimeout, "drain-timeout", cluster.DefaultDrainTimeout, "how long a stop may hand masterships over")
	n.log.flags(c, "info")
	return c
}

// complete checks the flags against each other and reads the files they name.
func (n *nodeConfig) complete(a *app) (err error) {
	switch {
	case n.Dir == "" && !n.memory:
		return exitf(ExitUsage, "where does the data live? Give --data-dir DIR, or --in-memory to keep nothing")
	case n.Dir != "" && n.memory:
		return exitf(ExitUsage, "--data-dir and --in-memory exclude each other")
	}
	if n.Logger, err = n.log.logger(a.streams.Err); err != nil {
		return err
	}
	n.Behaviors, n.Version = a.behaviors, version
	if n.certsDir != "" {
		certificates, err := readCertificates(n.certsDir, "node")
		if err != nil {
			return err
		}
		n.APITLS, n.PeerTLS = certificates, certificates.Clone()
		file := filepath.Join(n.certsDir, "gossip.key")
		if _, err := os.Stat(file); n.gossipKeyFile == "" && !errors.Is(err, fs.ErrNotExist) {
			n.gossipKeyFile = file
		}
	}
	return n.readKeys()
}

func (n *nodeConfig) readKeys() error {
	var texts []string
	if n.gossipKey != "" {
		texts = append(texts, n.gossipKey)
	}
	if n.gossipKeyFile != "" {
		file, err := os.ReadFile(n.gossipKeyFile)
		if err != nil {
			return exitf(ExitUsage, "--gossip-key-file: %w", err)
		}
		for line := range strings.Lines(string(file)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				texts = append(texts, line)
			}
		}
		if len(texts) == 0 {
			return exitf(ExitUsage, "--gossip-key-file %s holds no key", n.gossipKeyFile)
		}
	}
	for i, text := range texts {
		key, err := decodeKey(text)
		if err != nil {
			// The key itself must not end up in a log.
			return exitf(ExitUsage, "gossip key %d: %w", i+1, err)
		}
		n.GossipKeys = append(n.GossipKeys, key)
	}
	return nil
}

// decodeKey reads a key in hex or base64. Hex comes first: no key in base64 has
// the length of one in hex and its letters only.
func decodeKey(text string) ([]byte, error) {
	fits := func(key []byte) bool { return len(key) == 16 || len(key) == 24 || len(key) == 32 }
	if key, err := hex.DecodeString(text); err == nil && fits(key) {
		return key, nil
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if key, err := encoding.DecodeString(text); err == nil && fits(key) {
			return key, nil
		}
	}
	return nil, errors.New("it must be 16, 24 or 32 bytes in base64 or hex; make one with 'head -c 32 /dev/urandom | base64'")
}

// node runs a node until the context ends.
func (a *app) node(ctx context.Context, cfg *nodeConfig) error {
	if err := cfg.complete(a); err != nil {
		return err
	}
	started := time.Now()
	n, err := cluster.Start(ctx, cfg.Config)
	if err != nil {
		return startError(ctx, err)
	}
	fmt.Fprintf(a.streams.Out, "%s serves clients at %s; it waits until it belongs to a cluster that can serve\n", n.Name(), n.Addr())
	ready := n.Ready()
	for {
		select {
		case <-ready:
			fmt.Fprintf(a.streams.Out, "%s is ready after %.1f s\n", n.Name(), time.Since(started).Seconds())
			ready = nil
		case err := <-n.Fatal():
			// It has ended itself; what it left open is closed with the process.
			return fmt.Errorf("node %s cannot go on: %w", n.Name(), err)
		case <-ctx.Done():
			return a.stopNode(ctx, n, cfg.DrainTimeout)
		}
	}
}

// stopNode ends a node in good order.
func (a *app) stopNode(ctx context.Context, n *cluster.Node, drain time.Duration) error {
	a.say("%s hands its masterships over and stops; a second signal ends it at once", n.Name())
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain+stopGrace)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		// Its data is complete all the same: the others elect new masters.
		a.say("%s stopped after %.1f s, not in full order: %v", n.Name(), time.Since(begin).Seconds(), err)
		return nil
	}
	a.say("%s stopped after %.1f s", n.Name(), time.Since(begin).Seconds())
	return nil
}
