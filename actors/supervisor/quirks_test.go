package supervisor

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// What protoactor does, and what stands against it here. Where a test shows a
// quirk as it is, it fails on the day that protoactor is mended; then the guard
// can go.

// A panic in *actor.Stopping would leave the child half stopped for ever.
func TestPanicInStoppingEndsAllTheSame(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("a", func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Stopping); ok {
			panic("in Stopping")
		}
	})
	n.log = nil
	n.tell("a", errPlanted)
	n.tick(1)
	n.want("a failed (planted), attempt 1, at 0ms, back at 50ms",
		"a failed at its end: in Stopping",
		"a restarted (planted), attempt 1, at 50ms, back at 0ms", "a 2 started")
}

// A panic in *actor.Stopped would leave the parent without a Terminated, and so
// unable to stop.
func TestPanicInStoppedEndsAllTheSame(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("a", func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Stopped); ok {
			panic("in Stopped")
		}
	})
	n.system.Root.Stop(n.pid)
	n.loop.Drain(nil)
	n.want("a 1 started", "a failed at its end: in Stopped")
	if _, alive := n.system.ProcessRegistry.GetLocal("node"); alive {
		t.Error("the parent did not stop")
	}
}

// Without a guard the child never ends; the parent finds out and says so.
func TestUnguardedChildThatDoesNotStopIsGivenUp(t *testing.T) {
	n := newNursery(t, Config{Policy: Policy{StopWithin: time.Second}})
	n.do(func(ctx actor.Context, p *parent) {
		props := actor.PropsFromFunc(func(c actor.Context) {
			switch m := c.Message().(type) {
			case *actor.Stopping:
				panic("in Stopping")
			case error:
				panic(m)
			}
		}, actor.WithDispatcher(n.loop))
		if _, err := p.Spawn(ctx, "a", props); err != nil {
			t.Error(err)
		}
	})
	n.tell("a", errPlanted)
	if _, alive := n.system.ProcessRegistry.GetLocal("a"); !alive {
		t.Error("protoactor was mended: an actor that panics in Stopping ends; drop the guard")
	}
	n.log = nil
	n.tick(20)
	n.want()
	n.tick(1)
	n.want("a gave up ("+errStuck.Error()+"), attempt 2, at 1050ms, back at 0ms", "report a after 2: "+errStuck.Error())
}

// With the middleware the same child ends.
func TestGuardMiddleware(t *testing.T) {
	n := newNursery(t, Config{})
	var counted int
	n.do(func(ctx actor.Context, p *parent) {
		props := actor.PropsFromFunc(func(c actor.Context) {
			switch m := c.Message().(type) {
			case *actor.Stopping, *actor.Stopped:
				panic("at its end")
			case error:
				panic(m)
			}
		}, actor.WithDispatcher(n.loop), actor.WithReceiverMiddleware(
			GuardMiddleware(func(who *actor.PID, reason any) { n.logf("%s: %v", who.GetId(), reason) }),
			CountMiddleware(func(*actor.PID, any) { counted++ })))
		if _, err := p.Spawn(ctx, "a", props); err != nil {
			t.Error(err)
		}
	})
	n.tell("a", errPlanted)
	n.want("a failed (planted), attempt 1, at 0ms, back at 50ms", "a: at its end", "a: at its end")
	if counted != 4 { // Started, the error, Stopping, Stopped
		t.Errorf("%d messages were counted, want 4", counted)
	}
}

// A failing child may have children that take their time to stop, and be told to
// stop meanwhile. Nothing revives it: a restart that reaches a stopping actor
// would.
func TestStoppingChildIsNotRevived(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("a", nil)
	n.log = nil
	n.do(func(ctx actor.Context, p *parent) {
		pid, _ := p.PID("a")
		ctx.Send(pid, errPlanted)
		if err := p.Stop(ctx, "a"); err != nil {
			t.Error(err)
		}
	})
	n.tick(100)
	n.want()
	if _, alive := n.system.ProcessRegistry.GetLocal("a"); alive {
		t.Error("the child is alive")
	}
}

// A supervisor under a guard is still asked for its strategy.
func TestGuardKeepsTheStrategy(t *testing.T) {
	produce := Guard(func() actor.Actor { return &parent{Children: NewChildren(Config{})} }, nil)
	if _, ok := produce().(actor.SupervisorStrategy); !ok {
		t.Error("a guarded supervisor is not an actor.SupervisorStrategy any more")
	}
	plain := Guard(func() actor.Actor { return actor.ReceiveFunc(func(actor.Context) {}) }, nil)
	if _, ok := plain().(actor.SupervisorStrategy); ok {
		t.Error("a guarded plain actor claims to be an actor.SupervisorStrategy")
	}
}

// A parent that fails itself comes back with its children, under their names.
func TestParentThatFailsStartsOver(t *testing.T) {
	n := newNursery(t, Config{})
	n.spawn("a", nil)
	n.do(func(actor.Context, *parent) { panic("the parent") })
	n.loop.Drain(nil)
	n.spawn("a", nil)
	n.want("a 1 started", "a 1 started")
}
