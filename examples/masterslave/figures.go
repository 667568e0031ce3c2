package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	pb "github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
)

// view is what the ring says of the register's partition.
type view struct {
	ring      api.RingView
	partition uint64
	master    string
	// slaves are the other nodes that hold a copy.
	slaves []string
}

// look asks a node that is up for the ring.
func look(ctx context.Context, local *cluster.Local) (view, error) {
	v := view{partition: ring.Partition(register.Read.Kind(), key, partitions)}
	addr := local.Nodes()[0].Addr()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/ring", nil)
	if err != nil {
		return v, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("GET http://%s/v1/ring: %s", addr, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&v.ring); err != nil {
		return v, fmt.Errorf("GET http://%s/v1/ring: %w", addr, err)
	}
	for _, p := range v.ring.Partitions {
		if p.ID != v.partition {
			continue
		}
		v.master = p.Master
		for _, name := range p.Replicas {
			if name != p.Master {
				v.slaves = append(v.slaves, name)
			}
		}
	}
	if v.master == "" {
		return v, fmt.Errorf("partition %d has no master", v.partition)
	}
	return v, nil
}

// figures prints the measures of the ring.
func figures(ctx context.Context, out io.Writer, local *cluster.Local, v view) error {
	size, err := stateSize(ctx, local)
	if err != nil {
		return err
	}
	f := ring.TableFigures{Balance: v.ring.Balance}
	for _, p := range v.ring.Partitions {
		if p.ID != ring.SystemPartition {
			f.Partitions++
			f.Copies += len(p.Replicas)
		}
	}
	stored := float64(size) * f.ReplicationFactor()
	fmt.Fprintf(out, "R = N / M = %d copies / %d partitions = %.2f\n", f.Copies, f.Partitions, f.ReplicationFactor())
	fmt.Fprintf(out, "P = D / N = %.0f bytes / %d copies = %.0f bytes\n", stored, f.Copies, f.PartitionSize(stored))
	fmt.Fprintf(out, "balance %.2f, epoch %d\n\n", f.Balance, v.ring.Epoch)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tCOPIES\tMASTERS\tSTATE")
	for _, n := range v.ring.Nodes {
		state := "up"
		if local.Node(n.Name) == nil {
			state = "killed"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", n.Name, n.Copies, n.Masters, state)
	}
	return table.Flush()
}

// fill writes other registers, so that every partition has some data.
func fill(ctx context.Context, local *cluster.Local) error {
	client, err := cluster.Dial(ctx, []string{local.Nodes()[0].Addr()})
	if err != nil {
		return err
	}
	defer client.Close()
	for i := range others {
		if _, err := register.Write.Call(ctx, client, other(i), &pb.WriteRequest{Value: strings.Repeat("x", 64)}); err != nil {
			return err
		}
	}
	return nil
}

func other(i int) string { return fmt.Sprintf("other-%d", i) }

// stateSize is the size of the state of all registers, in one copy.
func stateSize(ctx context.Context, local *cluster.Local) (int, error) {
	client, err := cluster.Dial(ctx, []string{local.Nodes()[0].Addr()})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	size := 0
	for i := range others + 1 {
		name := key
		if i < others {
			name = other(i)
		}
		r, err := register.Read.Call(ctx, client, name, &pb.ReadRequest{})
		if err != nil {
			return 0, err
		}
		size += proto.Size(&pb.Register{Value: r.GetValue(), Version: r.GetVersion()})
	}
	return size, nil
}
