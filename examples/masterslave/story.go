package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	pb "github.com/seed-49de4af9/ringmaster/examples/register/registerpb"
)

// callTimeout is far more than a fail-over takes.
const callTimeout = 20 * time.Second

// valueOf is what the writer writes as version v.
func valueOf(version uint64) string { return fmt.Sprintf("entry %d", version) }

// ledger knows which versions the register may show. It is safe for concurrent
// use.
type ledger struct {
	// acknowledged is the newest version whose writer has its reply, asked the
	// newest that a writer asked for.
	acknowledged, asked atomic.Uint64
}

// check judges a read that began when floor was acknowledged.
func (l *ledger) check(floor uint64, r *pb.ReadReply) error {
	version := r.GetVersion()
	switch {
	case version < floor:
		return fmt.Errorf("a read showed version %d after version %d was acknowledged", version, floor)
	case version > l.asked.Load():
		return fmt.Errorf("a read showed version %d, and only %d were asked for", version, l.asked.Load())
	case version > 0 && r.GetValue() != valueOf(version):
		return fmt.Errorf("version %d reads %q, not %q", version, r.GetValue(), valueOf(version))
	}
	return nil
}

// story is one register's life.
type story struct {
	local *cluster.Local
	seen  *ledger
}

// chapter is what happened during a number of writes.
type chapter struct {
	reads   uint64
	version uint64
	// longest is the longest that one write took.
	longest time.Duration
}

// chapter has one writer write, and a reader at each of the named nodes read
// until it has finished. event, if any, happens half-way.
func (s *story) chapter(ctx context.Context, readersAt []string, count int, event func() error) (chapter, error) {
	ctx, done := context.WithCancel(ctx)
	defer done()
	writer, err := s.dial(ctx, readersAt[0])
	if err != nil {
		return chapter{}, err
	}
	defer writer.Close()

	var readers sync.WaitGroup
	var reads atomic.Uint64
	failed := make(chan error, len(readersAt))
	finished := make(chan struct{})
	for _, name := range readersAt {
		client, err := s.dial(ctx, name)
		if err != nil {
			return chapter{}, err
		}
		defer client.Close()
		readers.Go(func() {
			if err := s.read(ctx, client, finished, &reads); err != nil {
				failed <- fmt.Errorf("reader at %s: %w", name, err)
			}
		})
	}

	var c chapter
	c.version, c.longest, err = s.write(ctx, writer, count, event)
	close(finished)
	readers.Wait()
	close(failed)
	c.reads = reads.Load()
	for readErr := range failed {
		err = errors.Join(err, readErr)
	}
	if err == nil && c.reads == 0 {
		err = errors.New("nobody read")
	}
	return c, err
}

func (s *story) dial(ctx context.Context, name string) (*cluster.Client, error) {
	node := s.local.Node(name)
	if node == nil {
		return nil, fmt.Errorf("node %s is down", name)
	}
	return cluster.Dial(ctx, []string{node.Addr()}, cluster.WithCallTimeout(callTimeout))
}

// write writes the next versions, one after the other. Each must be the next one:
// a write that was lost or done twice would show.
func (s *story) write(ctx context.Context, client *cluster.Client, count int, event func() error) (version uint64, longest time.Duration, err error) {
	for i := range count {
		if i == count/2 && event != nil {
			if err := event(); err != nil {
				return version, longest, err
			}
		}
		want := s.seen.asked.Add(1)
		start := time.Now()
		reply, err := register.Write.Call(ctx, client, key, &pb.WriteRequest{Value: valueOf(want)})
		if err != nil {
			return version, longest, fmt.Errorf("write version %d: %w", want, err)
		}
		if reply.GetVersion() != want {
			return version, longest, fmt.Errorf("write %d made version %d", want, reply.GetVersion())
		}
		version, longest = want, max(longest, time.Since(start))
		s.seen.acknowledged.Store(version)
	}
	return version, longest.Round(time.Millisecond), nil
}

// read reads until finished and checks all that it sees.
func (s *story) read(ctx context.Context, client *cluster.Client, finished <-chan struct{}, reads *atomic.Uint64) error {
	for {
		select {
		case <-finished:
			return nil
		default:
		}
		floor := s.seen.acknowledged.Load()
		reply, err := register.Read.Call(ctx, client, key, &pb.ReadRequest{})
		if err != nil {
			return err
		}
		if err := s.seen.check(floor, reply); err != nil {
			return err
		}
		// What one reader saw, nobody may see undone.
		s.seen.saw(reply.GetVersion())
		reads.Add(1)
	}
}

// saw notes that a version was shown, which is as good as acknowledged.
func (l *ledger) saw(version uint64) {
	for {
		newest := l.acknowledged.Load()
		if version <= newest || l.acknowledged.CompareAndSwap(newest, version) {
			return
		}
	}
}
