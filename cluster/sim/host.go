package sim

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
	"github.com/seed-49de4af9/ringmaster/actors/loop"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// program is what runs on a host: the engine of one node.
type program interface {
	Submit(c *messages.Call, done func(*messages.Reply))
	Tick()
	PeerEvent(nodeID string, up bool)
	Drain(done func())
	Stop(done func())
}

// launcher starts the program of a host's new life.
type launcher func(h *host, life *life) (program, error)

// life is what one start of a node has for itself; its crash ends all of it.
type life struct {
	boot   uint64
	system *actor.ActorSystem
	loop   *loop.Loop
	points fault.Points
	store  replica.Store
}

// host is one machine: a disk and a clock that stay, and a program that comes and
// goes.
type host struct {
	w      *World
	index  int
	id     string
	launch launcher
	disk   *disk

	// boot numbers the program's present life; 0 while none runs. From a crash
	// on, nothing of an earlier life reaches the disk or the network.
	boot, lives uint64
	life        *life
	program     program
	// self is the node as it makes itself known, clusterID the cluster that it
	// says it belongs to.
	self      *messages.Member
	clusterID string
	// masters are the partitions that the node masters, as far as it knows.
	masters map[uint64]bool
	// draining says that the program is ending in good order.
	draining bool
	// due says that the actors will get the processor.
	due bool
	// paused hosts get no events; held keeps them.
	paused bool
	held   []event
	// offset and drift are how the clock is wrong: nanoseconds, and nanoseconds
	// a second.
	offset, drift int64
	// slowness multiplies the time until woken actors run; 1 is healthy.
	slowness int64
	// silent says that the machine died with the process, so that no connection
	// was closed.
	silent bool
	// doomed is the fault point at which the node crashes; countdown says at
	// which passing.
	doomed    string
	countdown int
}

func newHost(w *World, index int, launch launcher) *host {
	h := &host{w: w, index: index, launch: launch, slowness: 1}
	h.id = fmt.Sprintf("01SIM%021d", index+1)
	h.disk = newDisk(w, h)
	return h
}

func (h *host) running() bool { return h.boot != 0 }

// clock is what the node believes the time to be, in nanoseconds since 1970.
func (h *host) clock() int64 {
	return startOfTime + h.w.now + h.offset + h.w.now/int64(time.Second)*h.drift
}

// start begins a new life on the same disk.
func (h *host) start() {
	if h.running() {
		return
	}
	h.lives++
	h.boot = h.lives
	h.due, h.held, h.draining = false, nil, false
	h.life = &life{boot: h.boot, loop: loop.New(), points: &points{host: h, boot: h.boot}}
	h.masters = map[uint64]bool{}
	h.silent = false
	h.w.log("node %d starts, life %d", h.index, h.boot)
	boot := h.boot
	store, err := h.disk.open(boot)
	if err != nil {
		h.w.violate("a disk opens", "node %d: %v", h.index, err)
		h.boot = 0
		return
	}
	h.life.store = store
	p, err := h.launch(h, h.life)
	if h.boot != boot {
		return // it crashed while it started
	}
	if err != nil {
		h.w.violate("a node starts on its own disk", "node %d: %v", h.index, err)
		h.boot = 0
		return
	}
	h.program = p
	h.wakeUp()
	h.tickLater(between(h.w.rng.clocks, 1, int64(h.w.cfg.Tick)))
	h.w.net.started(h.index)
	h.w.gossip.join(h)
}

// tickLater schedules ticks. Each node ticks at a phase of its own.
func (h *host) tickLater(after int64) {
	h.w.schedule(event{at: h.w.now + after, kind: evTick, node: h.index, boot: h.boot, run: func() {
		h.program.Tick()
		every := int64(h.w.cfg.Tick)
		h.tickLater(every - every*h.drift/int64(time.Second) + between(h.w.rng.clocks, 0, int64(200*time.Microsecond)))
	}})
}

// wakeUp lets the node's actors run: mostly at once, sometimes a little later, so
// that more events meet in one pass.
func (h *host) wakeUp() {
	if !h.running() || h.due {
		return
	}
	r := h.w.rng.schedule
	if h.slowness <= 1 && r.IntN(4) > 0 {
		h.runActors()
		return
	}
	h.due = true
	h.w.schedule(event{
		at: h.w.now + h.slowness*between(r, int64(2*time.Microsecond), int64(150*time.Microsecond)), kind: evRun, node: h.index, boot: h.boot,
		run: func() {
			h.due = false
			h.runActors()
		},
	})
}

func (h *host) runActors() { h.life.loop.Drain(h.w.rng.schedule.IntN) }

// receive delivers a message from the network to an actor.
func (h *host) receive(b []byte) {
	l, err := open(b)
	if err != nil {
		h.w.violate("message between nodes", "%v", err)
		return
	}
	registry := h.life.system.ProcessRegistry
	process, found := registry.GetLocal(l.target)
	if !found {
		return
	}
	to := actor.NewPID(h.id, l.target)
	if l.sender == nil {
		process.SendUserMessage(to, l.body)
		return
	}
	process.SendUserMessage(to, &actor.MessageEnvelope{Message: l.body, Sender: l.sender})
}

// peerEvent tells the node that a link came up or went down.
func (h *host) peerEvent(peer *host, up bool) { h.program.PeerEvent(peer.id, up) }

// crash ends the node's life at this instant. Its disk keeps what was synced and a
// random part of the rest.
func (h *host) crash(why string) {
	if !h.running() {
		return
	}
	h.w.log("node %d crashes: %s", h.index, why)
	if err := h.disk.crash(); err != nil {
		h.w.violate("a disk survives", "node %d: %v", h.index, err)
	}
	h.boot = 0
	h.paused, h.held, h.doomed = false, nil, ""
	h.w.net.nodeChanged(h.index)
	for _, c := range h.w.clients {
		c.connectionLost(h.index, h.silent)
	}
}

// pause stops the node as SIGSTOP does: it gets no events and does not notice.
func (h *host) pause() {
	if !h.running() || h.paused {
		return
	}
	h.w.log("node %d pauses", h.index)
	h.paused = true
	h.w.net.nodeChanged(h.index)
}

// resume lets a paused node go on; what it missed comes at once, in order, but
// for the ticks, of which a process that was stopped gets one.
func (h *host) resume() {
	if !h.paused {
		return
	}
	h.w.log("node %d resumes with %d events", h.index, len(h.held))
	h.paused = false
	held := h.held
	h.held = nil
	for i, e := range held {
		e.at = h.w.now + int64(i)
		h.w.schedule(e)
	}
	h.w.net.nodeChanged(h.index)
}

// retire ends the node's life in good order, as SIGTERM does: masterships are
// handed over, then it stops. Should that take long it is killed.
func (h *host) retire(gone func()) {
	if !h.running() || h.draining {
		return
	}
	h.w.log("node %d drains", h.index)
	h.draining = true
	boot := h.boot
	end := func(why string) {
		if h.boot == boot {
			h.crash(why)
			gone()
		}
	}
	h.program.Drain(func() {
		if h.boot == boot {
			h.program.Stop(func() { h.w.after(0, func() { end("it stopped in good order") }) })
		}
	})
	h.wakeUp()
	h.w.after(10*time.Second, func() { end("killed while it drained") })
}

// logger marks what a node logs with its number.
func (h *host) logger() *slog.Logger { return h.w.cfg.Logger.With("node", h.index) }

// newSystem returns the actors' world of a new life. Its address is the node's id,
// and its way to other nodes is the simulated network.
func newSystem(h *host, l *life) *actor.ActorSystem {
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return h.logger() }))
	system.ProcessRegistry.Address = h.id
	system.ProcessRegistry.RegisterAddressResolver(h.w.net.resolver(h, l.boot))
	l.system = system
	return system
}
