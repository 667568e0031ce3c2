package supervisor

import (
	"errors"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
)

// Config says how a parent supervises.
type Config struct {
	Policy Policy
	// Decide chooses what a failure calls for; nil restarts always.
	Decide Decider
	// Draw gives numbers in [0, 1) for the jitter; nil means no jitter.
	Draw func() float64
	// ReportTo gets a *Report for every child that was given up; nil: nobody.
	// It may be the parent itself.
	ReportTo *actor.PID
	// Observe is told of every step, in the parent's mailbox; nil: nobody looks.
	Observe func(Event)
}

// Children spawns and supervises the children of the actor that embeds it:
//
//	type node struct{ supervisor.Children }
//
//	func (n *node) Receive(ctx actor.Context) {
//		n.Children.Handle(ctx)
//		switch m := ctx.Message().(type) { ... }
//	}
//
// Embedding makes the actor its own actor.SupervisorStrategy, which protoactor
// looks for first. It works in the parent's mailbox only. A parent that is itself
// restarted starts with new Children, as it should: protoactor has stopped all
// the old ones by then.
type Children struct {
	cfg      Config
	strategy *Strategy
	order    []*child
	byName   map[string]*child
	now      int64
}

// State is where a child is in its life.
type State uint8

// The states of a child.
const (
	// Running: it was spawned.
	Running State = iota
	// Waiting: it failed and comes back.
	Waiting
	// Abandoned: it was given up.
	Abandoned
	// InQuarantine: it was stopped on purpose.
	InQuarantine
	// Leaving: it is being stopped and will be forgotten.
	Leaving
)

var stateNames = [...]string{"running", "waiting", "given up", "in quarantine", "leaving"}

func (s State) String() string { return stateNames[s] }

type child struct {
	name  string
	props *actor.Props
	pid   *actor.PID
	state State
	// alive is true until protoactor said that the process is gone; until then
	// its name is taken.
	alive bool
	// failed is true from a failure until the next spawn.
	failed    bool
	restartAt int64
	restarts  int
	attempt   int
	why       string
}

// Status is a child as people see it.
type Status struct {
	Name     string
	State    State
	Restarts int
	// Why is what it last failed with.
	Why string
}

// ErrName says that a name is taken or not known.
var ErrName = errors.New("supervisor: child name")

// errStuck is why a child was given up that failed and then did not stop.
var errStuck = errors.New("it failed and did not stop: a panic at its end, or a child of its own that does not stop")

// NewChildren returns the value to embed.
func NewChildren(cfg Config) Children {
	return Children{
		cfg:      cfg,
		strategy: NewStrategy(cfg.Policy, cfg.Decide, cfg.Draw),
		byName:   make(map[string]*child),
	}
}

// HandleFailure implements actor.SupervisorStrategy.
func (c *Children) HandleFailure(system *actor.ActorSystem, parent actor.Supervisor, who *actor.PID, rs *actor.RestartStatistics, reason, message any) {
	if ch := c.find(who); ch != nil {
		ch.failed = true
	}
	c.strategy.HandleFailure(system, parent, who, rs, reason, message)
}

// Spawn starts a child under exactly this name in the node's registry: the
// parent's name is not put before it, so other nodes can address it. A child that
// was given up or put into quarantine under the name is replaced, its failures
// forgotten; one that is still alive is an error.
//
// The props should come from a producer with a Guard.
func (c *Children) Spawn(ctx actor.Context, name string, props *actor.Props) (*actor.PID, error) {
	if old := c.byName[name]; old != nil {
		if old.alive || old.state == Running || old.state == Waiting {
			return nil, fmt.Errorf("%w %q is taken by a child that is %s", ErrName, name, old.state)
		}
		c.remove(old)
	}
	ch := &child{name: name, props: props.Clone(actor.WithSpawnFunc(spawnAs(name)))}
	if err := c.start(ctx, ch); err != nil {
		return nil, err
	}
	c.byName[name] = ch
	c.order = append(c.order, ch)
	return ch.pid, nil
}

// spawnAs spawns under a name as it is.
func spawnAs(name string) actor.SpawnFunc {
	return func(system *actor.ActorSystem, _ string, props *actor.Props, parent actor.SpawnerContext) (*actor.PID, error) {
		return actor.DefaultSpawner(system, name, props, parent)
	}
}

func (c *Children) start(ctx actor.Context, ch *child) error {
	pid, err := ctx.SpawnNamed(ch.props, ch.name)
	if err != nil {
		return fmt.Errorf("spawn %s: %w", ch.name, err)
	}
	ch.pid, ch.state, ch.alive, ch.failed = pid, Running, true, false
	return nil
}

// PID returns a running child.
func (c *Children) PID(name string) (*actor.PID, bool) {
	ch := c.byName[name]
	if ch == nil || ch.state != Running {
		return nil, false
	}
	return ch.pid, true
}

// Stop stops a child for good. It may be spawned again once protoactor said that
// it is gone.
func (c *Children) Stop(ctx actor.Context, name string) error {
	ch := c.byName[name]
	if ch == nil {
		return fmt.Errorf("%w %q is not known", ErrName, name)
	}
	ch.state = Leaving
	if !ch.alive {
		c.remove(ch)
		return nil
	}
	ctx.Stop(ch.pid)
	return nil
}

// Quarantine stops a child that must not run, such as a replica whose data does
// not add up, until Release.
func (c *Children) Quarantine(ctx actor.Context, name, reason string) error {
	ch := c.byName[name]
	if ch == nil || ch.state == Leaving {
		return fmt.Errorf("%w %q is not known", ErrName, name)
	}
	ch.state, ch.why = InQuarantine, reason
	if ch.alive {
		ctx.Stop(ch.pid)
	}
	c.observe(Event{Kind: Quarantined, Who: name, Why: reason})
	return nil
}

// Release lets a child come back that was put into quarantine or given up, with
// its failures forgotten.
func (c *Children) Release(name string) error {
	ch := c.byName[name]
	if ch == nil || ch.state != InQuarantine && ch.state != Abandoned {
		return fmt.Errorf("%w %q is not in quarantine", ErrName, name)
	}
	c.strategy.Forget(ch.pid)
	ch.state, ch.restartAt, ch.attempt = Waiting, c.now, 0
	return nil
}

// Statuses lists the children in the order in which they were spawned.
func (c *Children) Statuses() []Status {
	list := make([]Status, 0, len(c.order))
	for _, ch := range c.order {
		list = append(list, Status{Name: ch.name, State: ch.state, Restarts: ch.restarts, Why: ch.why})
	}
	return list
}

// Handle does the supervisor's part of a message: *Failed, *call.Tick and the
// *actor.Terminated of children. Call it with every message; it reports whether
// the message was the supervisor's alone.
func (c *Children) Handle(ctx actor.Context) bool {
	switch m := ctx.Message().(type) {
	case *Failed:
		c.onFailed(ctx, m)
		return true
	case *call.Tick:
		c.onTick(ctx, m)
	case *actor.Terminated:
		return c.onTerminated(ctx, m)
	}
	return false
}

func (c *Children) onFailed(ctx actor.Context, f *Failed) {
	ch := c.find(f.PID)
	if ch == nil {
		// Spawned without Spawn: it is stopped already and cannot come back.
		c.strategy.Forget(f.PID)
		c.giveUp(ctx, f.PID.GetId(), f)
		return
	}
	ch.attempt, ch.why = f.Attempt, why(f.Reason)
	if ch.state != Running {
		return // on its way out for another reason, which stands
	}
	if f.GiveUp {
		ch.state = Abandoned
		c.giveUp(ctx, ch.name, f)
		return
	}
	ch.state, ch.restartAt = Waiting, f.RestartAtNanos
	c.observe(Event{Kind: ChildFailed, Who: ch.name, Why: ch.why, Attempt: f.Attempt, RestartAt: f.RestartAtNanos})
}

func (c *Children) giveUp(ctx actor.Context, name string, f *Failed) {
	c.observe(Event{Kind: GaveUp, Who: name, Why: why(f.Reason), Attempt: f.Attempt})
	if c.cfg.ReportTo != nil {
		ctx.Send(c.cfg.ReportTo, &Report{Name: name, PID: f.PID, Reason: f.Reason, Failures: f.Attempt, When: c.now})
	}
}

// onTerminated notes that a name is free again.
func (c *Children) onTerminated(_ actor.Context, m *actor.Terminated) bool {
	ch := c.find(m.Who)
	if ch == nil {
		return false
	}
	ch.alive = false
	if ch.state == Leaving || ch.state == Running && !ch.failed {
		// It was told to stop, or chose to. Neither is a failure.
		c.remove(ch)
	}
	return true
}

// onTick spawns the children whose wait is over and whose name is free.
func (c *Children) onTick(ctx actor.Context, m *call.Tick) {
	c.now = max(c.now, m.Now)
	c.strategy.Advance(m.Now)
	for _, ch := range c.order {
		switch {
		case ch.state != Waiting || c.now < ch.restartAt:
		case !ch.alive:
			c.respawn(ctx, ch)
		case c.now-ch.restartAt >= int64(c.strategy.policy.StopWithin):
			ch.state = Abandoned
			c.giveUp(ctx, ch.name, &Failed{PID: ch.pid, Reason: errStuck, Attempt: ch.attempt})
		}
	}
}

func (c *Children) respawn(ctx actor.Context, ch *child) {
	if err := c.start(ctx, ch); err != nil {
		// The name is taken by somebody else: that is a failure too.
		ch.state = Running
		c.onFailed(ctx, c.strategy.judge(ch.pid, err))
		return
	}
	ch.restarts++
	c.observe(Event{Kind: Restarted, Who: ch.name, Why: ch.why, Attempt: ch.attempt})
}

func (c *Children) find(pid *actor.PID) *child {
	ch := c.byName[pid.GetId()]
	if ch == nil || !ch.pid.Equal(pid) {
		return nil
	}
	return ch
}

func (c *Children) remove(ch *child) {
	c.strategy.Forget(ch.pid)
	delete(c.byName, ch.name)
	for i, other := range c.order {
		if other == ch {
			c.order = append(c.order[:i:i], c.order[i+1:]...)
			return
		}
	}
}

func (c *Children) observe(e Event) {
	if c.cfg.Observe != nil {
		e.When = c.now
		c.cfg.Observe(e)
	}
}
