package sim

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Client is one client of the cluster, written in the blocking style. It numbers
// its commands, tries again under the same number at other nodes, and gives up at
// a deadline. It is used by its own body only.
//
// It is an actors.Client, so the tokens of a behavior's contract work on it. The
// context given to Invoke is not looked at: virtual time has its own deadline.
type Client struct {
	w       *World
	p       *process
	index   int
	rng     *rand.Rand
	session *session
	// masters holds where replies said that partitions are mastered.
	masters map[uint64]string
	// under way:
	request  *messages.Call
	inFlight []attempt
	answers  []*messages.Reply
	// acked counts operations that went well, since ever.
	acked int
	// busySince is when the operation under way began; -1: none.
	busySince int64
	// hedge is the chance to ask a second node at the same time.
	hedge float64
	// style is how its commands are kept from happening twice.
	style style
	// home, if not -1, is the one node that it speaks to while that runs, as a
	// client behind a fixed address does. It waits long for each answer.
	home int
	// patience is how long it tries to get an operation through.
	patience time.Duration
}

var _ actors.Client = (*Client)(nil)

// style is one of the ways in which a client may send commands.
type style int

const (
	// numbered commands carry a session and a number, and are tried again under it.
	numbered style = iota
	// keyed commands carry a key of their own, and are tried again under it.
	keyed
	// plain commands carry nothing: the node that takes one numbers it, and the
	// client does not try again when it may have run.
	plain
)

// session numbers the commands of a client, for each partition on its own.
type session struct {
	rng     *rand.Rand
	numbers map[uint64]*numbers
}

// numbers are what a session has used in one partition.
type numbers struct {
	id   []byte
	next uint64
	// open holds the sequence numbers without an outcome, in order.
	open []uint64
}

// attempt is one sending of a call.
type attempt struct {
	id   uint64
	node int
}

func (w *World) newClient(p *process) *Client {
	c := &Client{
		w: w, p: p, index: len(w.clients), masters: map[uint64]string{}, busySince: -1,
		rng: rand.New(rand.NewPCG(w.rng.workload.Uint64(), w.rng.workload.Uint64())),
	}
	c.session = &session{rng: c.rng, numbers: map[uint64]*numbers{}}
	if c.index%3 == 2 {
		// Two clients that share a session have two commands open at a time.
		c.session = w.clients[c.index-1].session
	}
	if c.rng.IntN(3) == 0 {
		c.hedge = c.rng.Float64() * 0.3
	}
	switch c.index % 6 {
	case 4:
		c.style = plain
	case 5:
		c.style = keyed
	}
	c.home = -1
	if c.index%4 == 3 {
		c.home = c.rng.IntN(len(w.hosts))
	}
	c.patience = w.cfg.Deadline
	if c.index%3 == 1 {
		c.patience = min(c.patience, between(c.rng, 200*time.Millisecond, 3*time.Second))
	}
	w.clients = append(w.clients, c)
	return c
}

// Go runs body as a client until it returns. At the end of the first phase
// c.Running turns false, and the body is expected to return soon.
func (w *World) Go(body func(c *Client)) {
	w.spawn(func(p *process) { body(w.newClient(p)) })
}

// Running reports whether the client is to go on.
func (c *Client) Running() bool { return !c.w.draining }

// Rand is the client's own source of chance.
func (c *Client) Rand() *rand.Rand { return c.rng }

// Sleep waits for virtual time to pass.
func (c *Client) Sleep(d time.Duration) { c.p.sleep(d) }

// Context returns a context for the tokens of a contract; it never ends.
func (c *Client) Context() context.Context { return context.Background() }

// Only has the client speak to one node while that runs.
func (c *Client) Only(node int) { c.home = node }

// Patience sets how long the client tries to get an operation through.
func (c *Client) Patience(d time.Duration) { c.patience = d }

// Index numbers the clients of a run from 0.
func (c *Client) Index() int { return c.index }

// Invoke calls one method of an actor and records it in the history.
func (c *Client) Invoke(_ context.Context, inv actors.Invocation) ([]byte, error) {
	m, err := c.w.method(inv.Actor.Kind, inv.Method)
	if err != nil {
		return nil, err
	}
	op := c.w.history.Begin(c.index, inv.Actor, m, inv.Payload, c.w.now)
	c.busySince = c.w.now
	reply := c.carry(op)
	c.busySince = -1
	return reply.GetPayload(), actors.FromReply(reply)
}

// carry brings one operation to its outcome.
func (c *Client) carry(op *Op) *messages.Reply {
	partition := ring.Partition(op.Actor.Kind, op.Actor.Key, uint32(c.w.cfg.Partitions))
	call := &messages.Call{Kind: op.Actor.Kind, Key: op.Actor.Key, Method: op.Method.Name, Payload: op.Payload, Query: op.Method.Query}
	switch {
	case op.Method.Query:
	case c.style == numbered:
		c.session.begin(partition, call)
	case c.style == keyed:
		call.Request, call.IdempotencyKey = &messages.RequestID{Client: c.session.newID()}, true
	}
	reply := c.try(op, call, partition)
	c.session.end(partition, call.GetRequest())
	switch reply.GetCode() {
	case messages.Code_CODE_OK, messages.Code_CODE_REJECTED, messages.Code_CODE_FAILED:
		op.Reply, op.Rejection = reply.GetPayload(), reply.GetRejection()
		op.Failed = reply.GetCode() == messages.Code_CODE_FAILED
		op.Partition, op.Term, op.Index = reply.GetPartition(), reply.GetTerm(), reply.GetIndex()
		c.w.history.End(op, Acked, c.w.now)
		c.acked++
		c.w.answered(op, reply)
	case messages.Code_CODE_OUTCOME_UNKNOWN:
		c.w.history.End(op, Unknown, c.w.now)
	default:
		c.w.history.End(op, Refused, c.w.now)
	}
	return reply
}

// try sends the call, again and again, until an answer settles it or time is up.
func (c *Client) try(op *Op, call *messages.Call, partition uint64) *messages.Reply {
	deadline := c.w.now + int64(c.patience)
	// doubt is set by an attempt that may have run or may still run.
	doubt := false
	c.request, c.inFlight, c.answers = call, nil, nil
	defer func() { c.request, c.inFlight, c.answers = nil, nil, nil }()
	target := c.choose(partition)
	for c.w.now < deadline {
		op.Attempts++
		call.TimeoutMs = uint32(between(c.rng, 200, 2000))
		if c.home >= 0 {
			call.TimeoutMs = uint32(between(c.rng, 2000, 12000))
		}
		c.send(target)
		if (c.style != plain || op.Method.Query) && chance(c.rng, c.hedge) {
			c.send(c.rng.IntN(len(c.w.hosts)))
		}
		wait := time.Duration(call.TimeoutMs)*time.Millisecond + between(c.rng, 0, 300*time.Millisecond)
		reply := c.settle(wait, op.Method.Query, &doubt)
		if reply != nil {
			return reply
		}
		doubt = doubt || len(c.inFlight) > 0 && !op.Method.Query
		if doubt && c.style == plain {
			break
		}
		target = c.choose(partition)
		c.p.sleep(between(c.rng, time.Millisecond, 30*time.Millisecond))
	}
	if doubt || len(c.inFlight) > 0 {
		return &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: "the client gave up"}
	}
	return &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: "the client gave up"}
}

// settle waits for answers until one ends the operation; nil asks for another
// attempt.
func (c *Client) settle(wait time.Duration, query bool, doubt *bool) *messages.Reply {
	until := c.w.now + int64(wait)
	for {
		for len(c.answers) > 0 {
			reply := c.answers[0]
			c.answers = c.answers[1:]
			switch reply.GetCode() {
			case messages.Code_CODE_OK, messages.Code_CODE_REJECTED:
				return reply
			case messages.Code_CODE_FAILED:
				if *doubt || len(c.inFlight) > 0 && !query {
					// Another attempt may still do what this one could not.
					return &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: reply.GetMessage()}
				}
				return reply
			case messages.Code_CODE_OUTCOME_UNKNOWN:
				*doubt = *doubt || !query
			case messages.Code_CODE_SESSION_EXPIRED:
				if c.style == numbered {
					c.renew(reply.GetPartition())
				}
				if *doubt || len(c.inFlight) > 0 {
					return &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: reply.GetMessage()}
				}
			case messages.Code_CODE_NOT_MASTER, messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_OVERLOADED:
				c.hint(reply)
			default:
				c.w.violate("answers to sound calls", "client %d: %s for %s of %s/%s: %s", c.index,
					reply.GetCode(), c.request.GetMethod(), c.request.GetKind(), c.request.GetKey(), reply.GetMessage())
				return reply
			}
		}
		if len(c.inFlight) == 0 {
			return nil // refused, all of them, or the connections broke
		}
		left := time.Duration(until - c.w.now)
		if left <= 0 || !c.p.await(left) {
			return nil
		}
	}
}

// hint remembers where a reply said that the master is.
func (c *Client) hint(reply *messages.Reply) {
	if reply.GetMasterNode() != "" {
		c.masters[reply.GetPartition()] = reply.GetMasterNode()
	} else {
		delete(c.masters, reply.GetPartition())
	}
}

// choose picks the node for an attempt: the believed master, mostly.
func (c *Client) choose(partition uint64) int {
	if c.home >= 0 && c.w.hosts[c.home].running() && c.rng.IntN(20) > 0 {
		return c.home
	}
	if h := c.w.byID(c.masters[partition]); h != nil && c.rng.IntN(8) > 0 {
		return h.index
	}
	return c.rng.IntN(len(c.w.hosts))
}

// send carries the call to a node as bytes, and the reply back.
func (c *Client) send(node int) {
	w, h := c.w, c.w.hosts[node]
	w.callID++
	id := w.callID
	c.request.Id = id
	b, err := proto.Marshal(c.request)
	if err != nil {
		w.violate("message of a client", "%v", err)
		return
	}
	if !h.running() {
		// The connection is refused.
		delete(c.masters, ring.Partition(c.request.GetKind(), c.request.GetKey(), uint32(w.cfg.Partitions)))
		return
	}
	c.inFlight = append(c.inFlight, attempt{id: id, node: node})
	r := w.rng.network
	if chance(r, w.net.weather.loss/4) {
		return
	}
	boot := h.boot
	w.schedule(event{at: w.now + c.delay(), kind: evCall, node: node, boot: boot, size: len(b), digest: xxhash.Sum64(b), run: func() {
		call := &messages.Call{}
		if err := proto.Unmarshal(b, call); err != nil {
			w.violate("message of a client", "%v", err)
			return
		}
		answered := false
		h.program.Submit(call, func(reply *messages.Reply) {
			if answered {
				w.violate("one answer to one call", "node %d answered %s of %s/%s twice", node, call.GetMethod(), call.GetKind(), call.GetKey())
			}
			answered = true
			if h.boot == boot {
				c.answer(id, reply)
			}
		})
	}})
}

// answer carries a reply from a node to the client.
func (c *Client) answer(id uint64, reply *messages.Reply) {
	w := c.w
	b, err := proto.Marshal(reply)
	if err != nil {
		w.violate("message to a client", "%v", err)
		return
	}
	if chance(w.rng.network, w.net.weather.loss/4) {
		return
	}
	w.schedule(event{at: w.now + c.delay(), kind: evReply, node: -1, size: len(b), digest: xxhash.Sum64(b), run: func() {
		for i, a := range c.inFlight {
			if a.id != id {
				continue
			}
			reply := &messages.Reply{}
			if err := proto.Unmarshal(b, reply); err != nil {
				w.violate("message to a client", "%v", err)
				return
			}
			c.inFlight = append(c.inFlight[:i], c.inFlight[i+1:]...)
			c.answers = append(c.answers, reply)
			c.p.wake()
			return
		}
	}})
}

// delay draws how long a message between client and node takes; now and then one
// is stuck for long.
func (c *Client) delay() int64 {
	r, air := c.w.rng.network, c.w.net.weather
	d := between(r, int64(air.delayMin), int64(air.delayMax))
	if air.reorder > 0 && chance(r, 0.005) {
		d += between(r, int64(100*time.Millisecond), int64(4*time.Second))
	}
	return d
}

// connectionLost tells the client, after a while, that a node which it waits for
// has ended: at once when the process did, since it closed its connections; when
// the machine did, once it does not answer a ping.
func (c *Client) connectionLost(node int, silent bool) {
	if len(c.inFlight) == 0 {
		return
	}
	r := c.w.rng.network
	wait := between(r, int64(c.w.net.weather.delayMin), int64(c.w.net.weather.delayMax))
	if silent {
		wait = between(r, int64(500*time.Millisecond), int64(1500*time.Millisecond))
	}
	attempts := slices.Clone(c.inFlight)
	c.w.schedule(event{at: c.w.now + wait, kind: evReply, node: -1, run: func() { c.disconnect(node, attempts) }})
}

// disconnect ends the attempts at a node that have no answer yet.
func (c *Client) disconnect(node int, attempts []attempt) {
	for _, a := range attempts {
		i := slices.Index(c.inFlight, a)
		if a.node != node || i < 0 {
			continue
		}
		c.inFlight = slices.Delete(c.inFlight, i, i+1)
		c.answers = append(c.answers, &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: fmt.Sprintf("the connection to node %d broke", node)})
		c.p.wake()
	}
}

// renew gives the call a number of a new session: the partition does not know the
// old one.
func (c *Client) renew(partition uint64) {
	old := c.session.numbers[partition]
	c.session.end(partition, c.request.GetRequest())
	if old != nil && bytes.Equal(old.id, c.request.GetRequest().GetClient()) {
		delete(c.session.numbers, partition)
	}
	c.session.begin(partition, c.request)
	c.w.probe(probeRenewed)
}

// begin numbers a command.
func (s *session) begin(partition uint64, call *messages.Call) {
	n := s.numbers[partition]
	if n == nil {
		n = &numbers{id: s.newID()}
		s.numbers[partition] = n
	}
	n.next++
	n.open = append(n.open, n.next)
	call.Request = &messages.RequestID{Client: n.id, Sequence: n.next, LowWater: n.open[0]}
}

// newID draws the id of a session or a key.
func (s *session) newID() []byte {
	id := binary.BigEndian.AppendUint64(nil, s.rng.Uint64())
	return binary.BigEndian.AppendUint64(id, s.rng.Uint64())
}

// end takes a number off the list of those that may be asked again.
func (s *session) end(partition uint64, id *messages.RequestID) {
	n := s.numbers[partition]
	if n == nil || !bytes.Equal(n.id, id.GetClient()) {
		return
	}
	if i := slices.Index(n.open, id.GetSequence()); i >= 0 {
		n.open = slices.Delete(n.open, i, i+1)
	}
}
