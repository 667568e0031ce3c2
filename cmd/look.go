package cmd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

// view is a command that prints something about a cluster, once or again and
// again.
type view struct {
	remote   remote
	out      output
	watch    bool
	interval time.Duration
}

// lookTimeout is how long a view waits: nodes answer at once, or something is
// wrong.
const lookTimeout = 3 * time.Second

func (v *view) flags(c *cobra.Command) {
	v.remote.flags(c, lookTimeout, "how long to wait for an answer")
	v.out.flags(c)
	c.Flags().BoolVarP(&v.watch, "watch", "w", false, "look again and again: in place on a terminal, else a line of JSON each time")
	c.Flags().DurationVar(&v.interval, "interval", time.Second, "how often --watch looks")
}

// shown is one look at a cluster.
type shown struct {
	value any
	text  func(*page)
	names func() []string
	// err is returned after the output, for its exit code.
	err error
}

// run looks, once or until the context ends.
func (v *view) run(ctx context.Context, a *app, look func(context.Context, *caller) (*shown, error)) error {
	if err := v.out.check(); err != nil {
		return err
	}
	if v.watch && v.interval < 100*time.Millisecond {
		return exitf(ExitUsage, "--interval %v: at least 100ms, to spare the nodes", v.interval)
	}
	c, err := v.remote.caller()
	if err != nil {
		return err
	}
	defer c.close()
	if !v.watch {
		s, err := look(ctx, c)
		if err != nil {
			return err
		}
		return errors.Join(a.print(&v.out, s.value, s.text, s.names), s.err)
	}
	ticker := time.NewTicker(v.interval)
	defer ticker.Stop()
	for {
		if err := v.again(ctx, a, c, look); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// again prints one look of many. A look that fails is shown, and followed by
// others.
func (v *view) again(ctx context.Context, a *app, c *caller, look func(context.Context, *caller) (*shown, error)) error {
	s, err := look(ctx, c)
	if ctx.Err() != nil {
		return nil
	}
	terminal := isTerminal(a.streams.Out)
	format := v.out.format
	if !terminal && (format == "table" || format == "wide" || format == "json") {
		format = "jsonl"
	}
	if err != nil {
		if !terminal {
			a.say("%v", err)
			return nil
		}
		s = &shown{value: map[string]string{"error": err.Error()}, text: func(p *page) { p.linef("%v", err) }, names: func() []string { return nil }}
	}
	out, err := a.render(format, s.value, s.text, s.names)
	if err != nil {
		return err
	}
	if terminal {
		out = append([]byte("\x1b[H\x1b[2J"), out...)
	}
	_, err = a.streams.Out.Write(out)
	return err
}

func (a *app) statusCommand() *cobra.Command {
	var v view
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how the cluster is: the verdict first",
		Long: `Asks one node, then every member that it knows, and puts their views
together. Exits with 4 when a partition has no master.`,
		Example: "  ringmaster status\n  ringmaster status --addr 10.0.0.5:7420,10.0.0.6:7420 -o json\n  ringmaster status -w",
		Args:    between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return v.run(c.Context(), a, func(ctx context.Context, c *caller) (*shown, error) {
				o, err := c.look(ctx)
				if err != nil {
					return nil, err
				}
				s := &shown{value: o, text: o.text, names: func() []string { return []string{o.Verdict} }}
				if o.WithMaster < o.PartitionCount || o.Epoch == 0 {
					s.err = &exitError{ExitUnavailable, o.trouble()}
				}
				return s, nil
			})
		},
	}
	v.flags(c)
	return c
}

// trouble is the error of a cluster that does not serve everything.
func (o *overview) trouble() error {
	if o.Epoch == 0 {
		return fmt.Errorf("the cluster is not formed: %s", strings.Join(o.Reasons, "; "))
	}
	return fmt.Errorf("%d of %d partitions have no master", o.PartitionCount-o.WithMaster, o.PartitionCount)
}

// text is what status shows to people.
func (o *overview) text(p *page) {
	shade := map[string]color{"HEALTHY": green, "DEGRADED": yellow}[o.Verdict]
	if shade == "" {
		shade = red
	}
	verdict := p.app.paint(p.app.streams.Out, shade, o.Verdict)
	if o.Epoch == 0 {
		p.linef("%s  %s", verdict, strings.Join(o.Reasons, "; "))
		return
	}
	copies := fmt.Sprintf("%d copies", min(o.ReplicationFactor, o.Nodes))
	if min(o.ReplicationFactor, o.Nodes) == 1 {
		copies = "1 copy"
	}
	masters := fmt.Sprintf("%d of %d partitions have a master and %s", o.WithMaster, o.PartitionCount, copies)
	if o.FullyCopied < o.PartitionCount || o.WithMaster < o.PartitionCount {
		masters = fmt.Sprintf("%d of %d partitions have a master, %d have %s", o.WithMaster, o.PartitionCount, o.FullyCopied, copies)
	}
	p.linef("%s  %d of %d nodes, %s   epoch %d", verdict, o.NodesUp, o.Nodes, masters, o.Epoch)
	var gone []string
	for _, m := range o.Members {
		if m.State != "alive" {
			since := ""
			if m.State != "unreachable" {
				since = " " + ago(m.Since) + " ago"
			}
			p.linef("  %s  %s  %s%s", m.Name, m.APIAddress, m.State, since)
			gone = append(gone, m.Name)
		}
	}
	switch {
	case o.CanLose < 0:
		p.linef("  calls to partitions without a master fail until a majority of their copies is up")
	case o.CanLose == 0:
		p.linef("  can lose: no node")
	case o.CanLose == 1:
		p.linef("  can lose: any 1 node")
	default:
		p.linef("  can lose: any %d nodes", o.CanLose)
	}
	if len(gone) > 0 {
		p.linef("  fix: start %s again; the data there is intact", strings.Join(gone, " or "))
	}
}

func (a *app) membersCommand() *cobra.Command {
	var v view
	c := &cobra.Command{
		Use:     "members",
		Short:   "List the nodes as one of them sees them",
		Example: "  ringmaster members\n  ringmaster members -o wide\n  ringmaster members -o name",
		Args:    between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return v.run(c.Context(), a, func(ctx context.Context, c *caller) (*shown, error) {
				m, err := get[api.MembersView](ctx, c, "/v1/members")
				if err != nil {
					return nil, err
				}
				return &shown{
					value: m,
					text:  func(p *page) { membersText(p, &m) },
					names: func() []string { return memberNames(&m) },
				}, nil
			})
		},
	}
	v.flags(c)
	return c
}

func memberNames(v *api.MembersView) []string {
	var names []string
	for _, m := range v.Members {
		names = append(names, m.Name)
	}
	return names
}

func membersText(p *page, v *api.MembersView) {
	head := []string{"NODE", "ADDRESS", "ZONE", "STATE", "SINCE", "RTT", "MASTERS", "COPIES", "VERSION"}
	if p.wide {
		head = append(head, "LINK", "PEER", "GOSSIP", "BOOT", "ID")
	}
	var rows [][]string
	for _, m := range v.Members {
		rtt := ""
		if m.RTTMillis > 0 {
			rtt = fmt.Sprintf("%.1f ms", m.RTTMillis)
		}
		state := m.State
		if state != "alive" {
			state = p.app.paint(p.app.streams.Out, yellow, state)
		}
		row := []string{m.Name, m.APIAddress, m.Zone, state, ago(m.Since), rtt, strconv.Itoa(m.Masters), strconv.Itoa(m.Copies), m.Version}
		if p.wide {
			link := "down"
			if m.Linked {
				link = "up"
			}
			row = append(row, link, m.PeerAddress, m.GossipAddress, strconv.FormatUint(m.Boot, 10), m.NodeID)
		}
		rows = append(rows, row)
	}
	p.table(head, rows)
}
