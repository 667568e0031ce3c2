package sim

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/cespare/xxhash/v2"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// weather is how bad the network is, for every message on every link.
type weather struct {
	loss      float64 // share of messages that vanish
	duplicate float64 // share of messages that arrive twice
	reorder   float64 // share of messages that may overtake or be overtaken
	delayMin  time.Duration
	delayMax  time.Duration
	// replay is the share of messages of which a copy arrives again up to a
	// minute later.
	replay float64
}

// calm is the network of one rack on a good day.
func calm() weather {
	return weather{delayMin: 60 * time.Microsecond, delayMax: 400 * time.Microsecond}
}

// network carries messages between nodes, as bytes. Every ordered pair of nodes
// is a link of its own.
type network struct {
	w       *World
	weather weather
	links   [][]link // by sender, by receiver
	// strange collects what must not happen, such as a message that cannot be
	// encoded.
	sent, lost, cut int
}

// link is one direction between two nodes.
type link struct {
	// cuts counts the faults that cut it; 0 lets messages through.
	cuts int
	// last is when the newest message in order arrives.
	last int64
	// clogged is until when nothing arrives.
	clogged int64
	// up is what the sender's end believes of the link, as the real transport
	// tells it; check numbers the pending verdicts, of which only the newest
	// counts.
	up    bool
	check uint64
}

func newNetwork(w *World, nodes int) *network {
	n := &network{w: w, weather: calm(), links: make([][]link, nodes)}
	for i := range n.links {
		n.links[i] = make([]link, nodes)
	}
	return n
}

// resolver returns the address resolver of one life of a node: it is how
// protoactor finds the way to another node.
func (n *network) resolver(from *host, boot uint64) actor.AddressResolver {
	pipes := make([]actor.Process, len(n.links))
	for i := range pipes {
		pipes[i] = &pipe{net: n, from: from, boot: boot, to: i}
	}
	return func(pid *actor.PID) (actor.Process, bool) {
		if to := n.w.byID(pid.Address); to != nil && to != from {
			return pipes[to.index], true
		}
		return nil, false
	}
}

// pipe is the near end of a link in one life of a node.
type pipe struct {
	net  *network
	from *host
	boot uint64
	to   int
}

var _ actor.Process = (*pipe)(nil)

// SendUserMessage encodes the message at once and leaves the rest to the network.
func (p *pipe) SendUserMessage(pid *actor.PID, message any) {
	if p.from.boot != p.boot {
		return
	}
	b, err := seal(pid.Id, message)
	if err != nil {
		p.net.w.violate("message between nodes", "%v", err)
		return
	}
	p.net.send(p.from, p.net.w.hosts[p.to], b, once(message))
}

// once reports whether a message arrives at most once whatever the weather. Links
// never repeat a message, and the refusal of a call counts on that: it says that
// the call did not run, which holds for the one copy that was refused. Everything
// else is made to bear repetition, and has to.
func once(message any) bool {
	_, body, _ := actor.UnwrapEnvelope(message)
	switch body.(type) {
	case *messages.Call, *messages.Reply:
		return true
	default:
		return false
	}
}

// SendSystemMessage drops the message: the lives of actors are not ended or
// watched from another node.
func (*pipe) SendSystemMessage(*actor.PID, any) {}

// Stop does nothing, as SendSystemMessage.
func (*pipe) Stop(*actor.PID) {}

// send draws the fate of one message.
func (n *network) send(from, to *host, b []byte, once bool) {
	n.sent++
	r := n.w.rng.network
	l := &n.links[from.index][to.index]
	if l.cuts > 0 {
		n.cut++
		return
	}
	if chance(r, n.weather.loss) {
		n.lost++
		return
	}
	n.deliver(from, to, b, n.arrival(l))
	if once {
		return
	}
	if chance(r, n.weather.duplicate) {
		n.deliver(from, to, b, n.w.now+between(r, int64(n.weather.delayMin), int64(4*n.weather.delayMax)))
	}
	if chance(r, n.weather.replay) {
		n.deliver(from, to, b, n.w.now+between(r, int64(time.Second), int64(time.Minute)))
	}
}

// arrival draws when the next message of a link arrives. Messages keep their
// order unless the weather says otherwise.
func (n *network) arrival(l *link) int64 {
	r := n.w.rng.network
	at := n.w.now + between(r, int64(n.weather.delayMin), int64(n.weather.delayMax))
	at = max(at, l.clogged)
	if chance(r, n.weather.reorder) {
		return at + between(r, 0, int64(3*n.weather.delayMax))
	}
	if at <= l.last {
		at = l.last + 1
	}
	l.last = at
	return at
}

func (n *network) deliver(from, to *host, b []byte, at int64) {
	n.w.schedule(event{
		at: at, kind: evMessage, node: to.index, boot: to.boot, size: len(b), digest: xxhash.Sum64(b),
		run: func() {
			if n.links[from.index][to.index].cuts > 0 {
				n.cut++
				return
			}
			to.receive(b)
		},
	})
}

// setCut adds or removes a cut of the link from a to b and has both ends notice.
func (n *network) setCut(a, b int, delta int) {
	n.links[a][b].cuts += delta
	n.notice(a, b)
	n.notice(b, a)
}

// heal removes every cut and bad weather.
func (n *network) heal() {
	n.weather = calm()
	for a := range n.links {
		for b := range n.links[a] {
			n.links[a][b].cuts = 0
			n.links[a][b].clogged = 0
		}
	}
	for a := range n.links {
		for b := range n.links[a] {
			n.notice(a, b)
		}
	}
}

// connected reports whether a connection between two nodes would work: both run
// and both directions are open.
func (n *network) connected(a, b int) bool {
	ha, hb := n.w.hosts[a], n.w.hosts[b]
	return ha.running() && hb.running() && !ha.paused && !hb.paused &&
		n.links[a][b].cuts == 0 && n.links[b][a].cuts == 0
}

// notice has node a find out, after a while, how its link to b is: at once after
// the end of a process, whose closed connections speak for themselves, after a
// second of silence otherwise; and after a moment when it comes back.
func (n *network) notice(a, b int) {
	if a == b {
		return
	}
	l := &n.links[a][b]
	want := n.connected(a, b)
	l.check++
	if want == l.up || !n.w.hosts[a].running() {
		return
	}
	check := l.check
	r := n.w.rng.network
	wait := between(r, int64(40*time.Millisecond), int64(400*time.Millisecond))
	switch {
	case !want && !n.w.hosts[b].running() && !n.w.hosts[b].silent:
		wait = between(r, int64(200*time.Microsecond), int64(20*time.Millisecond))
	case !want:
		wait = between(r, int64(800*time.Millisecond), int64(1300*time.Millisecond))
	}
	n.w.schedule(event{at: n.w.now + wait, kind: evPeer, node: a, boot: n.w.hosts[a].boot, size: b, run: func() {
		if l.check != check || l.up == want {
			return
		}
		l.up = want
		n.w.hosts[a].peerEvent(n.w.hosts[b], want)
	}})
}

// nodeChanged has everyone notice that a node started, ended, or was paused.
func (n *network) nodeChanged(i int) {
	for j := range n.links {
		if j == i {
			continue
		}
		n.notice(i, j)
		n.notice(j, i)
	}
}

// started has everyone notice that a node has a new life. It knows nothing of its
// links; and whoever had not heard yet that the old life ended hears it now, since
// connections do not outlive a process.
func (n *network) started(i int) {
	for j := range n.links[i] {
		n.links[i][j].up = false
		n.links[i][j].check++
		if l := &n.links[j][i]; j != i && l.up {
			n.breakLink(j, i)
		} else {
			n.notice(j, i)
		}
		n.notice(i, j)
	}
}

// breakLink has node a find out that its connection to b broke, and then how the
// link is.
func (n *network) breakLink(a, b int) {
	l := &n.links[a][b]
	l.check++
	check := l.check
	wait := between(n.w.rng.network, int64(200*time.Microsecond), int64(20*time.Millisecond))
	n.w.schedule(event{at: n.w.now + wait, kind: evPeer, node: a, boot: n.w.hosts[a].boot, size: b, run: func() {
		if l.up && l.check == check {
			l.up = false
			n.w.hosts[a].peerEvent(n.w.hosts[b], false)
		}
		n.notice(a, b)
	}})
}
