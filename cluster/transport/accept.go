package transport

import (
	"errors"
	"net"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// inboundKey: a peer has at most one accepted connection for each lane.
type inboundKey struct {
	nodeID string
	lane   Lane
}

// inbound is an accepted connection, after the hellos.
type inbound struct {
	conn  net.Conn
	hello *messages.LinkHello
	// ended is closed when nothing more is delivered from this connection.
	ended chan struct{}
}

// accept takes connections until Close.
func (t *Transport) accept() {
	var delay time.Duration
	for {
		conn, err := t.listener.Accept()
		if t.ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil {
			// Out of file descriptors, most likely; others may free some.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			t.config.Logger.Error("accept a link", "cause", err, "again", delay)
			pause(t.ctx, delay, nil)
			continue
		}
		delay = 0
		t.admit(conn)
	}
}

// admit gives a connection its goroutine, if there is room for it.
func (t *Transport) admit(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.accepted >= t.config.ConnectionsMax {
		t.counters.refused.Add(1)
		conn.Close()
		return
	}
	t.accepted++
	t.running.Go(func() {
		t.host(conn)
		t.mu.Lock()
		t.accepted--
		t.mu.Unlock()
	})
}

// host serves one accepted connection to its end.
func (t *Transport) host(raw net.Conn) {
	defer raw.Close()
	in, err := t.greet(raw)
	if err != nil {
		t.counters.refused.Add(1)
		if h, ok := errors.AsType[*HandshakeError](err); ok {
			t.refused(h)
		} else {
			t.config.Logger.Debug("handshake failed", "from", raw.RemoteAddr().String(), "cause", err)
		}
		return
	}
	t.counters.accepted.Add(1)
	err = t.receive(in)
	close(in.ended)
	t.mu.Lock()
	if key := in.key(); t.inbound[key] == in {
		delete(t.inbound, key)
	}
	t.mu.Unlock()
	t.config.Logger.Debug("accepted link ended", "peer", in.hello.GetNodeId(), "cause", err)
}

func (in *inbound) key() inboundKey {
	return inboundKey{in.hello.GetNodeId(), Lane(in.hello.GetLane())}
}

// greet exchanges hellos with a stranger and makes room for its connection.
func (t *Transport) greet(raw net.Conn) (*inbound, error) {
	stop := t.closeWithTransport(raw)
	defer stop()
	raw.SetDeadline(time.Now().Add(t.config.HandshakeTimeout))
	from := raw.RemoteAddr().String()
	conn, err := t.plainOrTLS(raw, false)
	if err != nil {
		return nil, asHandshakeError(err, "", from)
	}
	h, err := readHello(conn)
	if err != nil {
		return nil, asHandshakeError(err, "", from)
	}
	in := &inbound{conn: conn, hello: h, ended: make(chan struct{})}
	verdict := t.judge(h)
	if verdict == nil && h.GetWantNodeId() != t.config.NodeID {
		verdict = refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_WRONG_NODE,
			"this is node %s, not node %s; the address of the latter is out of date or wrongly advertised", t.config.NodeID, h.GetWantNodeId())
	}
	if verdict == nil {
		verdict = t.checkCertificate(conn, h)
	}
	if verdict == nil {
		verdict = t.enlist(in)
	}
	answer := t.hello("", Lane(h.GetLane()))
	if verdict != nil {
		answer.Refusal = &messages.LinkRefusal{Code: verdict.code, Reason: verdict.reason}
		_ = writeHello(conn, answer) // a peer that does not hear why is refused all the same
		return nil, asHandshakeError(verdict, h.GetNodeId(), from)
	}
	if err := writeHello(conn, answer); err != nil {
		t.strike(in)
		return nil, err
	}
	raw.SetDeadline(time.Time{})
	return in, nil
}

// enlist makes in the connection of its peer and lane. An older connection of the
// same process, or of an older boot of the node, ends first.
func (t *Transport) enlist(in *inbound) *refusal {
	var old []*inbound
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_BUSY, "the node is stopping")
	}
	for kind := range laneCount {
		other := t.inbound[inboundKey{in.hello.GetNodeId(), kind}]
		if other == nil {
			continue
		}
		if verdict := rank(in.hello, other.hello); verdict != nil {
			t.mu.Unlock()
			return verdict
		}
		if string(other.hello.GetInstance()) != string(in.hello.GetInstance()) || other.key() == in.key() {
			old = append(old, other)
		}
	}
	t.inbound[in.key()] = in
	t.mu.Unlock()
	for _, other := range old {
		other.conn.Close()
		<-other.ended
	}
	return nil
}

// rank says why a newcomer may not stand beside a present connection of the same
// node id; nil if it may.
func rank(h, present *messages.LinkHello) *refusal {
	switch {
	case string(h.GetInstance()) == string(present.GetInstance()):
		return nil
	case h.GetBoot() < present.GetBoot():
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_STALE_BOOT,
			"node %s is connected with boot %d already, and this is its boot %d; if two processes run, one data directory is a copy: stop one of the two",
			label(h), present.GetBoot(), h.GetBoot())
	case h.GetBoot() == present.GetBoot():
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_DUPLICATE_NODE,
			"two processes run as node %s: one data directory is a copy of the other; stop one of the two and give it an empty directory",
			label(h))
	}
	return nil
}

// strike undoes enlist for a connection that was never served.
func (t *Transport) strike(in *inbound) {
	close(in.ended)
	t.mu.Lock()
	if t.inbound[in.key()] == in {
		delete(t.inbound, in.key())
	}
	t.mu.Unlock()
}
