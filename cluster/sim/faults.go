package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Faults says which faults happen in the first phase of a run, and how often. The
// zero value is none.
type Faults struct {
	// Swarm draws the classes and their intervals from the seed, so that every
	// seed is another mix.
	Swarm bool
	// Every gives the mean time between two faults of a class, by its name; see
	// Classes. With Swarm it overrides what was drawn; 0 switches a class off.
	Every map[string]time.Duration
}

// Swarm returns faults of every class, drawn from the seed.
func Swarm() Faults { return Faults{Swarm: true} }

// Classes gives the names of all classes of faults.
func Classes() []string {
	var names []string
	for _, c := range classes() {
		names = append(names, c.name)
	}
	return names
}

// class is one kind of fault.
type class struct {
	name string
	// often and seldom bound the mean interval that a swarm draws.
	often, seldom time.Duration
	// strike does it. It returns what to report and, for a fault that lasts, its
	// end; an empty report means that nothing could be done.
	strike func(f *nemesis) (report string, end func())
	// lasts bounds how long a fault with an end goes on.
	lasts, lastsMax time.Duration
}

// FaultRecord is one fault that happened.
type FaultRecord struct {
	At    time.Duration `json:"at"`
	Class string        `json:"class"`
	What  string        `json:"what"`
}

// nemesis draws faults and has them happen.
type nemesis struct {
	w       *World
	rng     *rand.Rand
	every   []interval
	counts  map[string]int
	records []FaultRecord
	// over says that the first phase ended: no fault begins any more.
	over bool
}

type interval struct {
	class class
	mean  time.Duration
}

func newNemesis(w *World, faults Faults) *nemesis {
	f := &nemesis{w: w, rng: w.rng.faults, counts: map[string]int{}}
	for _, c := range classes() {
		var mean time.Duration
		// Always the same number of draws: leaving out one class leaves the
		// others of a seed as they are.
		on, drawn := f.rng.IntN(2) == 0, between(f.rng, c.often, c.seldom)
		if faults.Swarm && on {
			mean = drawn
		}
		if set, given := faults.Every[c.name]; given {
			mean = set
		}
		if mean > 0 {
			f.every = append(f.every, interval{class: c, mean: mean})
		}
	}
	return f
}

// begin schedules the first fault of each class.
func (f *nemesis) begin() {
	for _, i := range f.every {
		f.next(i)
	}
}

func (f *nemesis) next(i interval) {
	wait := time.Duration(f.rng.ExpFloat64() * float64(i.mean))
	f.w.after(wait, func() {
		if f.over {
			return
		}
		f.strike(i.class)
		f.next(i)
	})
}

// strike has one fault of a class happen.
func (f *nemesis) strike(c class) {
	report, end := c.strike(f)
	if report == "" {
		return
	}
	f.record(c.name, report)
	if end == nil {
		return
	}
	f.w.after(between(f.rng, c.lasts, c.lastsMax), func() {
		if !f.over {
			f.w.log("end of %s: %s", c.name, report)
			end()
		}
	})
}

func (f *nemesis) record(class, what string) {
	f.w.log("fault %s: %s", class, what)
	f.counts[class]++
	f.records = append(f.records, FaultRecord{At: time.Duration(f.w.now), Class: class, What: what})
}

// count records a fault that a fault point brought about.
func (f *nemesis) count(what string, h *host) {
	f.record("crash-point", fmt.Sprintf("node %d: %s", h.index, what))
}

// restartLater starts a crashed node again after a while.
func (f *nemesis) restartLater(h *host) {
	wait := between(f.rng, 20*time.Millisecond, 2*time.Second)
	if f.rng.IntN(5) == 0 {
		wait = between(f.rng, 2*time.Second, 15*time.Second)
	}
	lives := h.lives
	f.w.after(wait, func() {
		if h.lives == lives {
			h.start()
		}
	})
}

// stop ends the first phase: everything is healed, everyone runs.
func (f *nemesis) stop() {
	f.over = true
	w := f.w
	w.log("the first phase ends; everything is healed")
	w.net.heal()
	for _, h := range w.hosts {
		h.slowness, h.disk.slowness, h.drift, h.doomed = 1, 1, 0, ""
		h.resume()
		if h.disk.broken {
			h.crash("killed with a broken disk")
		}
		if h.draining {
			h.crash("killed while it drained")
		}
		h.start()
	}
}

// anyone draws a node that runs; nil if none does.
func (f *nemesis) anyone() *host {
	var running []*host
	for _, h := range f.w.hosts {
		if h.running() && !h.paused {
			running = append(running, h)
		}
	}
	if len(running) == 0 {
		return nil
	}
	return running[f.rng.IntN(len(running))]
}

// shuffled gives the numbers of the nodes in random order.
func (f *nemesis) shuffled() []int {
	order := make([]int, len(f.w.hosts))
	for i := range order {
		order[i] = i
	}
	f.rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	return order
}

// cutAll cuts the given links and returns what opens them again.
func (f *nemesis) cutAll(links [][2]int) func() {
	for _, l := range links {
		f.w.net.setCut(l[0], l[1], 1)
	}
	return func() {
		for _, l := range links {
			f.w.net.setCut(l[0], l[1], -1)
		}
	}
}

// Names of the classes that tests name.
const (
	FaultCrash      = "crash"
	FaultPowerLoss  = "power-loss"
	FaultCrashPoint = "crash-point"
	FaultSplit      = "split"
	FaultPause      = "pause"
	FaultWeather    = "weather"
)

// classes lists what can happen to a cluster. The order is part of what a seed
// means.
func classes() []class {
	return []class{
		{name: FaultCrash, often: 5 * time.Second, seldom: 30 * time.Second, strike: strikeCrash},
		{name: "machine-loss", often: 8 * time.Second, seldom: 60 * time.Second, strike: strikeMachine},
		{name: FaultPowerLoss, often: 20 * time.Second, seldom: 80 * time.Second, strike: strikePowerLoss},
		{name: FaultCrashPoint, often: 3 * time.Second, seldom: 20 * time.Second, strike: strikePoint, lasts: 5 * time.Second, lastsMax: 10 * time.Second},
		{name: FaultSplit, often: 6 * time.Second, seldom: 40 * time.Second, strike: strikeSplit, lasts: 300 * time.Millisecond, lastsMax: 12 * time.Second},
		{name: "one-way", often: 6 * time.Second, seldom: 40 * time.Second, strike: strikeOneWay, lasts: 300 * time.Millisecond, lastsMax: 10 * time.Second},
		{name: "pair-cut", often: 6 * time.Second, seldom: 40 * time.Second, strike: strikePair, lasts: 300 * time.Millisecond, lastsMax: 10 * time.Second},
		{name: "clog", often: 3 * time.Second, seldom: 20 * time.Second, strike: strikeClog},
		{name: FaultPause, often: 5 * time.Second, seldom: 40 * time.Second, strike: strikePause, lasts: 100 * time.Millisecond, lastsMax: 8 * time.Second},
		{name: FaultWeather, often: 5 * time.Second, seldom: 30 * time.Second, strike: strikeWeather, lasts: time.Second, lastsMax: 15 * time.Second},
		{name: "slow-disk", often: 6 * time.Second, seldom: 40 * time.Second, strike: strikeSlowDisk, lasts: time.Second, lastsMax: 10 * time.Second},
		{name: "slow-processor", often: 6 * time.Second, seldom: 40 * time.Second, strike: strikeSlowProcessor, lasts: time.Second, lastsMax: 10 * time.Second},
		{name: "clock", often: 8 * time.Second, seldom: 40 * time.Second, strike: strikeClock},
		{name: "gossip-lies", often: 8 * time.Second, seldom: 40 * time.Second, strike: strikeGossip},
		{name: "broken-disk", often: 20 * time.Second, seldom: 80 * time.Second, strike: strikeBrokenDisk},
		{name: "rolling-restart", often: 30 * time.Second, seldom: 90 * time.Second, strike: strikeRolling},
		{name: "drain", often: 10 * time.Second, seldom: 60 * time.Second, strike: strikeDrain},
	}
}

func strikeCrash(f *nemesis) (string, func()) {
	h := f.anyone()
	if h == nil {
		return "", nil
	}
	h.crash("killed")
	f.restartLater(h)
	return fmt.Sprintf("node %d", h.index), nil
}

// strikeMachine ends a node without closing its connections.
func strikeMachine(f *nemesis) (string, func()) {
	h := f.anyone()
	if h == nil {
		return "", nil
	}
	h.silent = true
	h.crash("its machine lost power")
	f.restartLater(h)
	return fmt.Sprintf("node %d", h.index), nil
}

func strikePowerLoss(f *nemesis) (string, func()) {
	for _, h := range f.w.hosts {
		h.crash("power loss of all")
		f.restartLater(h)
	}
	return "all nodes", nil
}

// strikePoint dooms a node to crash inside its own code, at one of the fault
// points that were passed so far.
func strikePoint(f *nemesis) (string, func()) {
	h, known := f.anyone(), f.w.knownPoints()
	if h == nil || len(known) == 0 {
		return "", nil
	}
	h.doomed, h.countdown = known[f.rng.IntN(len(known))], 1+f.rng.IntN(30)
	return fmt.Sprintf("node %d is to crash at %s", h.index, h.doomed), func() { h.doomed = "" }
}

// strikeSplit cuts the cluster in two: halves, a minority, or one alone; or leaves
// a ring in which each node sees a majority and no two the same.
func strikeSplit(f *nemesis) (string, func()) {
	order := f.shuffled()
	n := len(order)
	if n < 2 {
		return "", nil
	}
	if n >= 5 && f.rng.IntN(4) == 0 {
		return "each node sees its neighbors only", f.cutAll(ringOf(order))
	}
	side := order[:1+f.rng.IntN(n-1)]
	if f.rng.IntN(2) == 0 {
		side = order[:1]
	}
	var links [][2]int
	for a := range n {
		for b := range n {
			if slices.Contains(side, a) != slices.Contains(side, b) {
				links = append(links, [2]int{a, b})
			}
		}
	}
	return fmt.Sprintf("nodes %v from the rest", side), f.cutAll(links)
}

// ringOf gives the links between nodes that are not within two places of each
// other in a circle.
func ringOf(order []int) [][2]int {
	var links [][2]int
	n := len(order)
	reach := max(1, n/4)
	for i := range n {
		for j := range n {
			apart := (i - j + n) % n
			if apart > reach && n-apart > reach {
				links = append(links, [2]int{order[i], order[j]})
			}
		}
	}
	return links
}

func strikeOneWay(f *nemesis) (string, func()) {
	order := f.shuffled()
	if len(order) < 2 {
		return "", nil
	}
	a := order[0]
	if f.rng.IntN(2) == 0 {
		b := order[1]
		return fmt.Sprintf("node %d to node %d", a, b), f.cutAll([][2]int{{a, b}})
	}
	var links [][2]int
	inbound := f.rng.IntN(2) == 0
	for _, b := range order[1:] {
		if inbound {
			links = append(links, [2]int{b, a})
		} else {
			links = append(links, [2]int{a, b})
		}
	}
	return fmt.Sprintf("node %d and the rest, inbound %v", a, inbound), f.cutAll(links)
}

func strikePair(f *nemesis) (string, func()) {
	order := f.shuffled()
	if len(order) < 2 {
		return "", nil
	}
	a, b := order[0], order[1]
	return fmt.Sprintf("nodes %d and %d", a, b), f.cutAll([][2]int{{a, b}, {b, a}})
}

// strikeClog holds everything back that is under way on one link.
func strikeClog(f *nemesis) (string, func()) {
	order := f.shuffled()
	if len(order) < 2 {
		return "", nil
	}
	a, b := order[0], order[1]
	wait := between(f.rng, 50*time.Millisecond, 5*time.Second)
	f.w.net.links[a][b].clogged = f.w.now + int64(wait)
	return fmt.Sprintf("node %d to node %d for %v", a, b, wait), nil
}

func strikePause(f *nemesis) (string, func()) {
	h := f.anyone()
	if h == nil {
		return "", nil
	}
	h.pause()
	boot := h.boot
	return fmt.Sprintf("node %d", h.index), func() {
		if h.boot == boot {
			h.resume()
		}
	}
}

func strikeWeather(f *nemesis) (string, func()) {
	r := f.rng
	bad := calm()
	if r.IntN(2) == 0 {
		bad.loss = r.Float64() * 0.3
	}
	if r.IntN(2) == 0 {
		bad.duplicate = r.Float64() * 0.3
	}
	if r.IntN(2) == 0 {
		bad.reorder = r.Float64() * 0.5
	}
	if r.IntN(4) == 0 {
		bad.replay = 0.01
	}
	if r.IntN(2) == 0 {
		bad.delayMax = between(r, time.Millisecond, 150*time.Millisecond)
	}
	f.w.net.weather = bad
	return fmt.Sprintf("%+v", bad), func() { f.w.net.weather = calm() }
}

func strikeSlowDisk(f *nemesis) (string, func()) {
	h := f.w.hosts[f.rng.IntN(len(f.w.hosts))]
	h.disk.slowness = 1 + f.rng.Float64()*f.rng.Float64()*1000
	return fmt.Sprintf("node %d, %.0f times", h.index, h.disk.slowness), func() { h.disk.slowness = 1 }
}

func strikeSlowProcessor(f *nemesis) (string, func()) {
	h := f.w.hosts[f.rng.IntN(len(f.w.hosts))]
	h.slowness = 1 + f.rng.Int64N(300)
	return fmt.Sprintf("node %d, %d times", h.index, h.slowness), func() { h.slowness = 1 }
}

// strikeClock sets a clock wrong: a jump of up to ten minutes, or a drift of up to
// a twentieth.
func strikeClock(f *nemesis) (string, func()) {
	h := f.w.hosts[f.rng.IntN(len(f.w.hosts))]
	if f.rng.IntN(2) == 0 {
		h.offset = between(f.rng, -int64(10*time.Minute), int64(10*time.Minute))
		return fmt.Sprintf("node %d is %v off", h.index, time.Duration(h.offset)), nil
	}
	h.drift = between(f.rng, -int64(50*time.Millisecond), int64(50*time.Millisecond))
	return fmt.Sprintf("node %d drifts %v a second", h.index, time.Duration(h.drift)), nil
}

// strikeGossip makes a node believe for a while that it is alone.
func strikeGossip(f *nemesis) (string, func()) {
	h := f.w.hosts[f.rng.IntN(len(f.w.hosts))]
	wait := between(f.rng, time.Second, 10*time.Second)
	f.w.gossip.lies[h.index] = f.w.now + int64(wait)
	return fmt.Sprintf("node %d hears for %v that all others are gone", h.index, wait), nil
}

// strikeBrokenDisk makes every write of a node fail until it starts again.
func strikeBrokenDisk(f *nemesis) (string, func()) {
	h := f.anyone()
	if h == nil {
		return "", nil
	}
	h.disk.broken = true
	return fmt.Sprintf("node %d", h.index), nil
}

// strikeRolling restarts every node once, one after the other, in order.
func strikeRolling(f *nemesis) (string, func()) {
	for i, n := range f.shuffled() {
		h := f.w.hosts[n]
		f.w.after(time.Duration(i)*4*time.Second, func() {
			if !f.over {
				h.retire(func() { f.restartLater(h) })
			}
		})
	}
	return "all nodes, one by one", nil
}

// strikeDrain stops one node in good order and starts it again.
func strikeDrain(f *nemesis) (string, func()) {
	h := f.anyone()
	if h == nil {
		return "", nil
	}
	h.retire(func() { f.restartLater(h) })
	return fmt.Sprintf("node %d", h.index), nil
}
