package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
)

const testTick = int64(50 * time.Millisecond)

// nursery is a parent on a loop, and what it sees.
type nursery struct {
	t      *testing.T
	loop   *loop.Loop
	system *actor.ActorSystem
	pid    *actor.PID
	parent *parent
	ticks  int64
	log    []string
}

type parent struct {
	Children
	n *nursery
}

// do runs in the parent's mailbox.
type do func(ctx actor.Context, p *parent)

func (p *parent) Receive(ctx actor.Context) {
	if p.Handle(ctx) {
		return
	}
	switch m := ctx.Message().(type) {
	case do:
		m(ctx, p)
	case *Report:
		p.n.logf("report %s after %d: %s", m.Name, m.Failures, why(m.Reason))
	}
}

func newNursery(t *testing.T, cfg Config) *nursery {
	n := &nursery{t: t, loop: loop.New(), system: actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))}
	n.system.ProcessRegistry.Address = "n1"
	cfg.Policy.Jitter = -1
	cfg.ReportTo = actor.NewPID("n1", "node")
	cfg.Observe = func(e Event) {
		n.logf("%s %s (%s), attempt %d, at %dms, back at %dms", e.Who, e.Kind, e.Why, e.Attempt, ms(e.When), ms(e.RestartAt))
	}
	props := actor.PropsFromProducer(func() actor.Actor {
		n.parent = &parent{Children: NewChildren(cfg), n: n}
		return n.parent
	}, actor.WithDispatcher(n.loop))
	var err error
	if n.pid, err = n.system.Root.SpawnNamed(props, "node"); err != nil {
		t.Fatal(err)
	}
	n.loop.Drain(nil)
	t.Cleanup(n.system.Shutdown)
	return n
}

func ms(nanos int64) int64 { return nanos / int64(time.Millisecond) }

func (n *nursery) logf(format string, args ...any) {
	n.log = append(n.log, fmt.Sprintf(format, args...))
}

func (n *nursery) do(f do) {
	n.system.Root.Send(n.pid, f)
	n.loop.Drain(nil)
}

func (n *nursery) tick(count int) {
	for range count {
		n.ticks++
		n.system.Root.Send(n.pid, &call.Tick{Now: n.ticks * testTick, Number: uint64(n.ticks)})
		n.loop.Drain(nil)
	}
}

func (n *nursery) tell(name string, m any) {
	n.system.Root.Send(actor.NewPID("n1", name), m)
	n.loop.Drain(nil)
}

// spawn starts a child that panics when told an error, and says what it gets.
func (n *nursery) spawn(name string, ending func(ctx actor.Context)) {
	instance := 0
	produce := Guard(func() actor.Actor {
		instance++
		me := instance
		return actor.ReceiveFunc(func(ctx actor.Context) {
			switch m := ctx.Message().(type) {
			case *actor.Started:
				n.logf("%s %d started", name, me)
			case *actor.Stopping, *actor.Stopped:
				if ending != nil {
					ending(ctx)
				}
			case *actor.Restarting:
				n.logf("%s %d is restarted by protoactor", name, me)
			case error:
				panic(m)
			case string:
				n.logf("%s %d got %s", name, me, m)
			}
		})
	}, func(who *actor.PID, reason any) { n.logf("%s failed at its end: %v", who.GetId(), reason) })
	n.do(func(ctx actor.Context, p *parent) {
		if _, err := p.Spawn(ctx, name, actor.PropsFromProducer(produce, actor.WithDispatcher(n.loop))); err != nil {
			n.t.Fatal(err)
		}
	})
}

func (n *nursery) want(lines ...string) {
	n.t.Helper()
	if diff := cmp.Diff(strings.Join(lines, "\n"), strings.Join(n.log, "\n")); diff != "" {
		n.t.Errorf("what happened (-want +got):\n%s", diff)
	}
	n.log = nil
}

var errPlanted = errors.New("planted")

func TestFailedChildComesBackOnATick(t *testing.T) {
	n := newNursery(t, Config{Policy: Policy{BackoffMin: 100 * time.Millisecond}})
	n.tick(1)
	n.spawn("replica/7", nil)
	n.spawn("replica/8", nil)
	n.want("replica/7 1 started", "replica/8 1 started")

	n.tell("replica/7", errPlanted)
	n.want("replica/7 failed (planted), attempt 1, at 50ms, back at 150ms")
	n.tick(1)
	n.want()
	n.tick(1)
	n.want("replica/7 restarted (planted), attempt 1, at 150ms, back at 0ms", "replica/7 2 started")
	n.tell("replica/7", "hello")
	n.tell("replica/8", "hello")
	n.want("replica/7 2 got hello", "replica/8 1 got hello")

	// The second failure within the period waits twice as long.
	n.tell("replica/7", errPlanted)
	n.want("replica/7 failed (planted), attempt 2, at 150ms, back at 350ms")
}

func TestGivesUpAndReports(t *testing.T) {
	n := newNursery(t, Config{Policy: Policy{Intensity: 2, Period: time.Minute, BackoffMax: 50 * time.Millisecond}})
	n.spawn("replica/7", nil)
	for range 2 {
		n.tell("replica/7", errPlanted)
		n.tick(2)
	}
	n.log = nil
	n.tell("replica/7", errPlanted)
	n.want("replica/7 gave up (planted), attempt 3, at 200ms, back at 0ms", "report replica/7 after 3: planted")
	n.tick(100)
	n.want()
	n.do(func(_ actor.Context, p *parent) {
		want := []Status{{Name: "replica/7", State: Abandoned, Restarts: 2, Why: "planted"}}
		if diff := cmp.Diff(want, p.Statuses()); diff != "" {
			t.Errorf("status (-want +got):\n%s", diff)
		}
		if err := p.Release("replica/7"); err != nil {
			t.Error(err)
		}
	})
	n.tick(1)
	n.want("replica/7 restarted (planted), attempt 0, at 5250ms, back at 0ms", "replica/7 4 started")
}

func TestSomeFailuresAreNotWorthARestart(t *testing.T) {
	errDisk := errors.New("the disk is gone")
	n := newNursery(t, Config{Decide: func(_ string, reason any) Directive {
		if err, ok := reason.(error); ok && errors.Is(err, errDisk) {
			return StopAndReport
		}
		return RestartHere
	}})
	n.spawn("replica/7", nil)
	n.log = nil
	n.tell("replica/7", fmt.Errorf("append: %w", errDisk))
	n.want("replica/7 gave up (append: the disk is gone), attempt 1, at 0ms, back at 0ms",
		"report replica/7 after 1: append: the disk is gone")
}

func TestQuarantine(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("replica/7", nil)
	n.log = nil
	n.do(func(ctx actor.Context, p *parent) {
		if err := p.Quarantine(ctx, "replica/7", "rows do not add up"); err != nil {
			t.Error(err)
		}
	})
	n.tick(100)
	n.tell("replica/7", "hello")
	n.want("replica/7 quarantined (rows do not add up), attempt 0, at 0ms, back at 0ms")
	n.do(func(_ actor.Context, p *parent) {
		if err := p.Release("replica/7"); err != nil {
			t.Error(err)
		}
		if err := p.Release("replica/8"); !errors.Is(err, ErrName) {
			t.Errorf("releasing an unknown child: got %v, want ErrName", err)
		}
	})
	n.tick(1)
	n.want("replica/7 restarted (rows do not add up), attempt 0, at 5050ms, back at 0ms", "replica/7 2 started")
}

func TestStopIsNotAFailure(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("a", nil)
	n.spawn("b", nil)
	n.do(func(ctx actor.Context, p *parent) {
		if _, err := p.Spawn(ctx, "a", actor.PropsFromFunc(func(actor.Context) {})); !errors.Is(err, ErrName) {
			t.Errorf("spawning a taken name: got %v, want ErrName", err)
		}
		if err := p.Stop(ctx, "a"); err != nil {
			t.Error(err)
		}
	})
	n.system.Root.Stop(actor.NewPID("n1", "b")) // by somebody else
	n.loop.Drain(nil)
	n.tick(100)
	n.want("a 1 started", "b 1 started")
	n.do(func(_ actor.Context, p *parent) {
		if got := p.Statuses(); len(got) != 0 {
			t.Errorf("children left: %v", got)
		}
	})
	n.spawn("a", nil)
	n.want("a 1 started")
}

// The name of a failed child was taken meanwhile: that counts as a failure, until
// the child is given up or the name is free.
func TestNameTakenMeanwhile(t *testing.T) {
	n := newNursery(t, Config{Policy: Policy{Intensity: 1}})
	n.spawn("a", nil)
	n.log = nil
	n.tell("a", errPlanted)
	if _, err := n.system.Root.SpawnNamed(actor.PropsFromFunc(func(actor.Context) {}, actor.WithDispatcher(n.loop)), "a"); err != nil {
		t.Fatal(err)
	}
	n.tick(1)
	n.want("a failed (planted), attempt 1, at 0ms, back at 50ms",
		"a gave up (spawn a: spawn: name exists), attempt 2, at 50ms, back at 0ms",
		"report a after 2: spawn a: spawn: name exists")
}

// A parent that spawns around Children still gets its child stopped and reported,
// never restarted or escalated.
func TestUnknownChildIsStoppedAndReported(t *testing.T) {
	n := newNursery(t, Config{})
	n.do(func(ctx actor.Context, _ *parent) {
		if _, err := ctx.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
			if err, ok := c.Message().(error); ok {
				panic(err)
			}
		}, actor.WithDispatcher(n.loop)), "stray"); err != nil {
			t.Error(err)
		}
	})
	n.tell("node/stray", errPlanted)
	n.want("node/stray gave up (planted), attempt 1, at 0ms, back at 0ms", "report node/stray after 1: planted")
	if _, alive := n.system.ProcessRegistry.GetLocal("node/stray"); alive {
		t.Error("the stray child is still there")
	}
}
