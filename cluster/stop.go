package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How long the parts of a node are waited for when it ends.
const (
	// callsTimeout is for calls under way; it ends most waits for a reply.
	callsTimeout = 5 * time.Second
	// leaveTimeout is for the good-bye to reach other members.
	leaveTimeout = 2 * time.Second
	// engineTimeout is for the actors to stop, and for a handler that is stuck.
	engineTimeout = 5 * time.Second
)

// ending is the end of a node, which happens once.
type ending struct {
	once sync.Once
	err  error
}

// failure is why a node ended itself.
type failure struct {
	mu  sync.Mutex
	err error
	// armed: Start has returned, so a failure ends the node.
	armed bool
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// set keeps the first failure, and says whether this is it, and the node is to be
// ended.
func (f *failure) set(err error) (first, armed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return false, f.armed
	}
	f.err = err
	return true, f.armed
}

// arm says that the node is started, and returns the failure it had till then.
func (f *failure) arm() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = f.err == nil
	return f.err
}

// fail ends a node that cannot go on. It does not block. A failure during Start is
// returned by Start.
func (n *Node) fail(err error) {
	first, armed := n.failure.set(err)
	if !first || !armed {
		return
	}
	n.logger.Error("the node cannot go on and stops", "error", err)
	n.fatal <- err
	// Nothing is acknowledged any more; being gone, not slow, is what lets others
	// take over.
	go func() { _ = n.Kill() }() // the failure is what matters
}

func (n *Node) failed() bool { return n.failure.get() != nil }

// Drain hands every mastership over to other nodes, so that calls do not have to
// wait for an election when this node stops. Calls are served meanwhile. It
// returns an error if masterships are left when DrainTimeout or the context ends.
func (n *Node) Drain(ctx context.Context) error {
	if len(n.engine.Table().GetMembers()) < 2 {
		return nil // nobody could take over
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	done := make(chan struct{})
	n.engine.Drain(func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("node %s: some masterships were not handed over (--drain-timeout is %v): %w; other nodes will elect masters without it",
			n.Name(), n.cfg.DrainTimeout, ctx.Err())
	}
}

// Stop ends the node in good order: it hands its masterships over, answers the
// calls under way, takes leave of the others and closes its disk. The end of the
// context cuts short what waits for others; the disk is closed in any case. What
// the node stores is complete whatever Stop returns.
func (n *Node) Stop(ctx context.Context) error { return n.stop(ctx, true) }

func (n *Node) stop(ctx context.Context, handOver bool) error {
	n.ends.once.Do(func() {
		n.logger.Info("node stops")
		var drained error
		if handOver {
			drained = n.Drain(ctx)
		}
		n.ends.err = errors.Join(drained, n.leave(ctx), n.closeParts(false))
		n.logger.Info("node stopped")
	})
	return n.ends.err
}

// Kill ends the node at once, as if its process had died: no good-bye, no
// hand-over, and writes that are not on disk yet are lost.
func (n *Node) Kill() error {
	n.ends.once.Do(func() {
		n.failure.set(errors.New("the node was killed")) // what fails from now on is no news
		if n.store != nil {
			_ = n.store.Kill() // what it cannot close any more is gone with the process
		}
		n.ends.err = n.closeParts(true)
	})
	return n.ends.err
}

// leave ends the service to clients and tells the other nodes.
func (n *Node) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callsTimeout)
	defer cancel()
	err := n.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		n.logger.Warn("calls were still under way when the node stopped", "waited", callsTimeout)
		err = nil
	}
	return errors.Join(err, n.gossip.Leave(leaveTimeout))
}

// closeParts closes what was opened, from the last to the first.
func (n *Node) closeParts(dead bool) error {
	var errs []error
	if n.server != nil {
		n.client.Close()
		errs = append(errs, n.server.Close())
	} else if n.port != nil {
		errs = append(errs, n.port.Close())
	}
	if n.engine != nil && !dead {
		n.stopEngine()
	}
	if n.runner != nil {
		n.runner.close(engineTimeout)
	} else {
		close(n.running) // lets events go that wait for an engine that never ran
	}
	if n.gossip != nil {
		errs = append(errs, n.gossip.Close())
	}
	if n.links != nil {
		errs = append(errs, n.links.Close())
	}
	if n.store != nil && !dead {
		errs = append(errs, n.store.Close())
	}
	return errors.Join(errs...)
}

// stopEngine lets the actors answer what they hold, and stops them.
func (n *Node) stopEngine() {
	done := make(chan struct{})
	n.engine.Stop(func() { close(done) })
	timer := time.NewTimer(engineTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		n.logger.Warn("actors did not stop in time", "waited", engineTimeout)
	}
}
