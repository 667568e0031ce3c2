package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// patience is how many times Config.Silence an accepted connection may be silent.
// Judging the peer is the work of our own link to it; this only frees what a
// vanished peer left behind.
const patience = 5

// receive delivers what arrives on an accepted connection until it breaks.
func (t *Transport) receive(in *inbound) error {
	stop := t.closeWithTransport(in.conn)
	defer stop()
	p := t.peer(in.hello.GetNodeId())
	if p == nil {
		return fmt.Errorf("more than %d peers", t.config.PeersMax)
	}
	// The node is there: connect to it now, if we do not yet.
	p.lane(Fast)
	p.kick()

	types, _ := t.types.mapped(in.hello.GetTypes())
	r := &receiver{
		t: t, peer: p, lane: Lane(in.hello.GetLane()),
		decoder: decoder{types: types, elementsMax: t.config.ElementsMax},
		senders: make(map[string]*actor.PID),
	}
	acks := &acknowledger{conn: in.conn, t: t, peer: p.id, lane: r.lane}
	records := newRecordReader(acks, t.config.FrameBytes, readBuffer)
	for {
		kind, body, err := records.next()
		if err != nil {
			return err
		}
		switch kind {
		case kindPing:
			number, _ := binary.Uvarint(body)
			err = acks.send(number)
		case kindEnvelope:
			err = r.deliver(body)
		}
		if err != nil {
			return err
		}
	}
}

// receiver turns envelopes of one connection into messages of local actors.
type receiver struct {
	t       *Transport
	peer    *peer
	lane    Lane
	decoder decoder
	// senders are the PIDs handed out as senders: a PID remembers its process, so
	// that answers find their way without a search.
	senders map[string]*actor.PID
}

// deliver posts one message. It fails only when the connection must end.
func (r *receiver) deliver(body []byte) error {
	e, err := r.decoder.decode(body)
	c := &r.t.counters
	switch {
	case errors.Is(err, errEnvelope):
		c.malformed.Add(1)
		return err
	case errors.Is(err, errUnknownType):
		c.unknownType.Add(1)
		return nil
	case err != nil:
		c.malformed.Add(1)
		r.t.config.Logger.Warn("a message was skipped", "peer", r.peer.id, "target", e.Target, "cause", err)
		return nil
	case !r.t.targets.allow(e.Target):
		c.refusedTarget.Add(1)
		return nil
	}
	process, ok := r.t.config.System.ProcessRegistry.GetLocal(e.Target)
	if !ok {
		c.unknownTarget.Add(1)
		return nil
	}
	r.peer.received.Add(1)
	if e.Sender == "" {
		process.SendUserMessage(nil, e.Message)
		return nil
	}
	process.SendUserMessage(nil, &actor.MessageEnvelope{Message: e.Message, Sender: r.sender(e.Sender)})
	return nil
}

func (r *receiver) sender(name string) *actor.PID {
	pid := r.senders[name]
	if pid == nil {
		pid = actor.NewPID(r.peer.id, name)
		if len(r.senders) < namesMax {
			r.senders[name] = pid
		}
	}
	return pid
}

// acknowledger reads a connection and, as it does, tells the other end that bytes
// arrive.
type acknowledger struct {
	t    *Transport
	conn net.Conn
	peer string
	lane Lane
	// now is the time of the newest read, last that of the newest acknowledgement.
	now, last time.Time
}

// Read implements io.Reader.
func (a *acknowledger) Read(b []byte) (int, error) {
	if a.now.IsZero() {
		a.now = time.Now()
	}
	a.conn.SetReadDeadline(a.now.Add(patience * a.t.config.Silence))
	n, err := a.conn.Read(b)
	a.now = time.Now()
	if err == nil && a.now.Sub(a.last) >= a.t.config.Heartbeat/2 {
		err = a.send(0)
	}
	return n, err
}

// send acknowledges a ping, or bytes in general with 0.
func (a *acknowledger) send(ping uint64) error {
	a.last = a.now
	if a.t.config.Intercept != nil {
		if drop, _ := a.t.config.Intercept(a.peer, a.lane, 1); drop {
			return nil
		}
	}
	var b [16]byte
	a.conn.SetWriteDeadline(a.now.Add(a.t.config.Silence))
	_, err := a.conn.Write(appendRecord(b[:0], kindAck, ping))
	return err
}

// closeWithTransport closes a connection at Close, unless stop is called first.
func (t *Transport) closeWithTransport(conn net.Conn) (stop func() bool) {
	return context.AfterFunc(t.ctx, func() { conn.Close() })
}
