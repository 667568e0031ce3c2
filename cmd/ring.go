package cmd

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

func (a *app) ringCommand() *cobra.Command {
	var v view
	c := &cobra.Command{
		Use:   "ring",
		Short: "Show the ring: each node's share, and with -o wide each slice",
		Long: `Shows the ring's table as one node knows it. R = N / M is the number of
copies for each partition; balance is the largest share of a node divided by
the mean.`,
		Example: "  ringmaster ring\n  ringmaster ring -o wide",
		Args:    between(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return v.run(c.Context(), a, func(ctx context.Context, c *caller) (*shown, error) {
				r, err := get[api.RingView](ctx, c, "/v1/ring")
				if err != nil {
					return nil, err
				}
				return &shown{value: r, text: func(p *page) { ringText(p, &r) }, names: func() []string {
					var names []string
					for _, n := range r.Nodes {
						names = append(names, n.Name)
					}
					return names
				}}, nil
			})
		},
	}
	v.flags(c)
	return c
}

func ringText(p *page, r *api.RingView) {
	slicesOfRing, copies := 0, 0
	for _, part := range r.Partitions {
		if part.ID != 0 {
			slicesOfRing++
			copies += len(part.Replicas)
		}
	}
	p.linef("epoch %d   R = N / M = %d / %d = %.2f   balance %.2f", r.Epoch, copies, slicesOfRing, r.ReplicationFactor, r.Balance)
	var rows [][]string
	for _, n := range r.Nodes {
		share := 0.0
		if copies > 0 {
			share = 100 * float64(n.Copies) / float64(copies)
		}
		rows = append(rows, []string{
			n.Name, n.Zone, strconv.FormatUint(uint64(n.Weight), 10), strconv.Itoa(n.Masters), strconv.Itoa(n.WantedMasters),
			strconv.Itoa(n.Copies), fmt.Sprintf("%.1f %%", share),
		})
	}
	p.table([]string{"NODE", "ZONE", "WEIGHT", "MASTERS", "SHOULD", "COPIES", "SHARE"}, rows)
	if !p.wide {
		return
	}
	p.linef("")
	rows = nil
	for _, part := range r.Partitions {
		rows = append(rows, []string{strconv.FormatUint(part.ID, 10), part.From, part.To, part.Master, strings.Join(part.Replicas, " ")})
	}
	p.table([]string{"ID", "FROM", "TO", "MASTER", "COPIES"}, rows)
}

func (a *app) partitionsCommand() *cobra.Command {
	var v view
	var problems bool
	c := &cobra.Command{
		Use:   "partitions [ID]",
		Short: "List the partitions: master, copies, how far behind",
		Long: `Asks every node about its own copies. Under COPIES, * marks the master and !
a copy that is not there. Partition 0 holds the ring's table.`,
		Example: "  ringmaster partitions\n  ringmaster partitions 17\n  ringmaster partitions --problems -w",
		Args:    between(0, 1, "at most one partition"),
		RunE: func(c *cobra.Command, args []string) error {
			only := -1
			if len(args) == 1 {
				id, err := strconv.ParseUint(args[0], 10, 31)
				if err != nil {
					return exitf(ExitUsage, "%q is not the number of a partition", args[0])
				}
				only = int(id)
			}
			return v.run(c.Context(), a, func(ctx context.Context, c *caller) (*shown, error) {
				return lookAtPartitions(ctx, c, only, problems)
			})
		},
	}
	v.flags(c)
	c.Flags().BoolVar(&problems, "problems", false, "only those with a problem")
	return c
}

// lookAtPartitions shows all partitions, or the one given.
func lookAtPartitions(ctx context.Context, c *caller, only int, problems bool) (*shown, error) {
	o, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	list := slices.DeleteFunc(o.Partitions, func(p partitionView) bool {
		return only >= 0 && p.ID != uint64(only) || problems && p.State == stateOK
	})
	if only >= 0 && len(list) == 0 && !problems {
		return nil, exitf(ExitNotFound, "there is no partition %d; there are 0 to %d", only, o.PartitionCount)
	}
	if list == nil {
		list = []partitionView{}
	}
	return &shown{
		value: map[string]any{"epoch": o.Epoch, "partitions": list},
		text: func(p *page) {
			if problems && len(list) == 0 {
				p.linef("no partition has a problem")
				return
			}
			partitionsText(p, list)
		},
		names: func() []string {
			var names []string
			for _, p := range list {
				names = append(names, strconv.FormatUint(p.ID, 10))
			}
			return names
		},
	}, nil
}

func partitionsText(p *page, list []partitionView) {
	var rows [][]string
	for _, part := range list {
		var copies []string
		for _, c := range part.Copies {
			mark := ""
			if c.Node == part.Master {
				mark = "*"
			}
			if !c.Up {
				mark = "!"
			}
			copies = append(copies, c.Node+mark)
		}
		state := part.State
		if state != stateOK {
			state = p.app.paint(p.app.streams.Out, yellow, state)
		}
		rows = append(rows, []string{
			strconv.FormatUint(part.ID, 10), part.Master, strings.Join(copies, " "), state,
			strconv.FormatUint(part.Lag, 10), strconv.FormatUint(part.Term, 10),
			strconv.FormatUint(part.Commit, 10), strconv.FormatUint(part.Applied, 10),
		})
	}
	p.table([]string{"ID", "MASTER", "COPIES", "STATE", "LAG", "TERM", "COMMIT", "APPLIED"}, rows)
}
