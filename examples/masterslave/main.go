// Masterslave shows one partition's master and its three slaves at work: readers
// read while a writer writes, the master dies, a slave takes over, and nothing
// that was acknowledged is lost or done twice.
//
// It runs four real nodes in this process, each with its own sockets and disk:
//
//	go run ./examples/masterslave
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/examples/register"
)

const (
	nodes      = 4  // one master and three slaves for every partition
	partitions = 16 // of the ring
	key        = "ledger"
	others     = 200 // registers beside it
	writes     = 300 // before the master dies, and as many after
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "masterslave:", err)
		stop()
		os.Exit(1)
	}
}

// run tells the story, and fails when the cluster did not keep its promises.
func run(ctx context.Context, out io.Writer) (err error) {
	local, err := cluster.StartLocal(ctx, nodes, cluster.Config{
		Listen: "127.0.0.1:0", Partitions: partitions, Replicas: nodes,
		Behaviors: []*actors.Behavior{register.Behavior()},
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := local.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stopErr
		}
	}()
	if err := local.Ready(ctx); err != nil {
		return err
	}

	if err := fill(ctx, local); err != nil {
		return err
	}
	before, err := look(ctx, local)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "register/%s is in partition %d: master %s, slaves %v\n", key, before.partition, before.master, before.slaves)

	story := &story{local: local, seen: &ledger{}}
	calm, err := story.chapter(ctx, before.slaves, writes, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d writes by one writer, %d reads by a reader at each slave's node: every read was up to date\n", writes, calm.reads)

	storm, err := story.chapter(ctx, before.slaves, writes, func() error { return local.Kill(before.master) })
	if err != nil {
		return err
	}
	after, err := look(ctx, local)
	if err != nil {
		return err
	}
	if after.master == before.master || after.partition != before.partition {
		return fmt.Errorf("%s was killed, and the master is %s", before.master, after.master)
	}
	fmt.Fprintf(out, "killed %s in the middle of %d more writes and %d reads: %s took over, nobody waited longer than %v\n",
		before.master, writes, storm.reads, after.master, storm.longest)
	fmt.Fprintf(out, "the register is at version %d = %d + %d: nothing was lost, nothing happened twice\n\n",
		storm.version, writes, writes)
	return figures(ctx, out, local, after)
}
