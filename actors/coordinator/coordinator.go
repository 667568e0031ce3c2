package coordinator

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// coordinator is the actor. A request it took is in one of three places: held in
// backlog, under way in flight, or answered.
type coordinator struct {
	cfg Config
	// generations counts the sessions of all incarnations of this actor.
	generations *uint64

	ctx     actor.Context
	replica *actor.PID
	calls   map[string]*actor.PID
	// redirect is Request.Redirect of every request that goes to the replica.
	redirect func(*call.Request, *messages.Reply)
	watching bool

	now    int64
	tick   uint64
	number uint64

	route   route
	session session
	held    backlog
	flight  flight

	// probe is the number of the request that asks around; 0: none does.
	// probeEnd is the tick at which it is taken back.
	probe    uint64
	probeEnd uint64
	// pausedUntil is the tick until which held requests stay held, for a
	// replica that is overloaded.
	pausedUntil uint64
	// current is the request being taken, for the case of a panic.
	current *call.Request
}

// redirected brings a reply of this node's replica after which another attempt
// may help.
type redirected struct {
	request *call.Request
	reply   *messages.Reply
}

// Producer makes the actor; see Props. Its incarnations share nothing but the
// count of sessions, so that a number is never given twice.
func Producer(cfg Config) actor.Producer {
	cfg.Limits = cfg.Limits.withDefaults()
	generations := new(uint64)
	return func() actor.Actor {
		c := &coordinator{
			cfg:         cfg,
			generations: generations,
			calls:       make(map[string]*actor.PID),
			replica:     actor.NewPID(cfg.Self, ReplicaName(cfg.Partition)),
			route:       newRoute(cfg.Self),
			flight:      newFlight(cfg.Self),
		}
		c.newSession()
		c.number = firstNumber(c.session.id)
		return c
	}
}

// Receive implements actor.Actor.
func (c *coordinator) Receive(ctx actor.Context) {
	c.ctx = ctx
	switch m := ctx.Message().(type) {
	case *call.Request:
		c.onRequest(m)
	case *messages.Reply:
		c.onReply(m)
	case *redirected:
		c.onRedirected(m.request, m.reply)
	case *call.Tick:
		c.onTick(m)
	case *call.MasterChanged:
		c.onMaster(m)
	case *call.PeerChanged:
		c.onPeer(m)
	case *call.TableChanged:
		c.onTable(m.Table)
	case *actor.Terminated:
		c.onTerminated(m)
	case *actor.Started:
		c.onStarted()
	case *actor.Stopping, *actor.Restarting:
		c.onEnd()
	}
}

func (c *coordinator) onStarted() {
	root, self := c.ctx.ActorSystem().Root, c.ctx.Self()
	c.redirect = func(r *call.Request, reply *messages.Reply) {
		root.Send(self, &redirected{request: r, reply: reply})
	}
}

// onRequest takes a request from a client of this node.
func (c *coordinator) onRequest(r *call.Request) {
	if r.Answered() {
		return
	}
	c.current = r
	if reply := c.overloaded(r); reply != nil {
		c.giveUp(r, reply)
		c.current = nil
		return
	}
	c.number++
	r.Trail = call.Trail{Number: c.number}
	r.Redirect = c.redirect
	if needsNumber(r.Call) {
		c.session.number(r)
	}
	if r.Deadline == 0 && c.now != 0 {
		r.Deadline = c.now + int64(c.timeout(r))
	}
	if c.held.len() == 0 && c.canSend() {
		c.send(r, c.route.target)
	} else {
		c.hold(r)
		c.pump()
	}
	c.current = nil
}

// timeout is how long the asker of a request waits.
func (c *coordinator) timeout(r *call.Request) time.Duration {
	if ms := r.Call.GetTimeoutMs(); ms != 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return c.cfg.Limits.Timeout
}

// overloaded is the answer to a request that is over a bound; nil if none is.
func (c *coordinator) overloaded(r *call.Request) *messages.Reply {
	l := c.cfg.Limits
	switch {
	case needsNumber(r.Call) && c.session.span() >= l.MaxNumbered:
		return c.overload("too many requests without a number of their own wait for an answer")
	case c.held.len() >= l.MaxHeld || c.held.len() > 0 && c.held.bytes+weight(r) > l.MaxHeldBytes:
		return c.overload("too many requests wait for a master")
	case c.route.open() && c.full(c.route.target):
		return c.overload("too many requests are under way")
	}
	return nil
}

// canSend reports whether the next request in line may go to the target.
func (c *coordinator) canSend() bool {
	return c.now != 0 && c.route.open() && c.tick >= c.pausedUntil && !c.full(c.route.target)
}

func (c *coordinator) full(node string) bool {
	if node == c.cfg.Self {
		return c.flight.localFull(c.cfg.Limits.MaxInFlight)
	}
	return len(c.flight.remote) >= c.cfg.Limits.MaxInFlight
}

// hold puts a request in line.
func (c *coordinator) hold(r *call.Request) {
	r.Trail.Node = ""
	if r.Trail.Held == 0 {
		r.Trail.Held = c.now
	}
	c.held.add(r)
	c.observe(Event{Kind: Held, Request: r.Call.GetId(), Count: c.held.len()})
}

// send makes an attempt.
func (c *coordinator) send(r *call.Request, node string) {
	r.Trail.Attempt++
	r.Trail.Node = node
	c.observe(Event{Kind: Routed, Request: r.Call.GetId(), Node: node, Attempt: int(r.Trail.Attempt)})
	if node != c.cfg.Self {
		c.flight.addRemote(r)
		c.ctx.Request(c.callsOf(node), forwardCopy(r, c.now))
		return
	}
	if !c.watching {
		// Should the replica go, what it had comes back: see onTerminated.
		c.watching = true
		c.ctx.Watch(c.replica)
	}
	c.flight.addLocal(r)
	c.ctx.Send(c.replica, r)
}

func (c *coordinator) callsOf(node string) *actor.PID {
	pid := c.calls[node]
	if pid == nil {
		pid = actor.NewPID(node, CallsName)
		c.calls[node] = pid
	}
	return pid
}

// pump sends the held requests in order as far as possible. While there is
// nobody to send them to, the first one asks around.
func (c *coordinator) pump() {
	for c.held.len() > 0 && c.canSend() {
		if r := c.held.take(); !r.Answered() {
			c.send(r, c.route.target)
		}
	}
	if c.held.len() == 0 || c.now == 0 || c.route.open() {
		return
	}
	if c.probe != 0 {
		return
	}
	node := c.route.next(c.tick)
	switch {
	case node == "":
	case node == c.cfg.Self:
		// A local attempt costs nothing and its success is not reported here.
		c.learn(node)
		c.pump()
	case !c.full(node):
		r := c.held.take()
		c.probe, c.probeEnd = r.Trail.Number, c.tick+probeTicks
		c.observe(Event{Kind: Probed, Request: r.Call.GetId(), Node: node})
		c.send(r, node)
	}
}

// learn makes a node the target.
func (c *coordinator) learn(node string) {
	c.route.target = node
	c.sayTarget()
}

// sayTarget tells the observer where requests go from now on.
func (c *coordinator) sayTarget() {
	c.pausedUntil = 0
	if c.route.target == "" {
		c.observe(Event{Kind: MasterLost, Term: c.route.term})
		return
	}
	c.observe(Event{Kind: MasterLearned, Node: c.route.target, Term: c.route.term})
}

func (c *coordinator) newSession() {
	c.session = newSession(c.cfg.ClientID, *c.generations)
	*c.generations++
}

func (c *coordinator) observe(e Event) {
	if c.cfg.Observe != nil {
		e.Partition = c.cfg.Partition
		c.cfg.Observe(e)
	}
}
