package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

var errNoAddress = errors.New("its address is not known")

var errIntercepted = errors.New("fault injected")

// connect dials the peer once and exchanges hellos.
func (l *lane) connect() (*link, error) {
	address, ok := l.t.config.Resolve(l.peer.id)
	if !ok {
		return nil, errNoAddress
	}
	if drop, delay := l.intercept(0); drop {
		return nil, errIntercepted
	} else if delay > 0 {
		pause(l.ctx, delay, nil)
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.t.config.DialTimeout)
	raw, err := l.t.config.Dial(ctx, address)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("dial node %s at %s: %w", l.peer.id, address, err)
	}
	// The end of the lane ends a handshake under way.
	release := context.AfterFunc(l.ctx, func() { raw.Close() })
	defer release()
	k, err := l.introduce(raw, address)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return k, nil
}

// introduce makes a raw connection a link with the peer, and with nobody else.
func (l *lane) introduce(raw net.Conn, address string) (*link, error) {
	raw.SetDeadline(time.Now().Add(l.handshakeTimeout()))
	conn, err := l.t.plainOrTLS(raw, true)
	if err != nil {
		return nil, asHandshakeError(fmt.Errorf("link with node %s at %s: %w", l.peer.id, address, err), l.peer.id, address)
	}
	if err := writeHello(conn, l.t.hello(l.peer.id, l.kind)); err != nil {
		return nil, fmt.Errorf("say hello to node %s at %s: %w", l.peer.id, address, err)
	}
	h, err := readHello(conn)
	if err == nil {
		err = l.accepts(conn, h, address)
	} else {
		// With TLS 1.3 the other side's verdict on our certificate comes here.
		if _, ok := errors.AsType[tls.AlertError](err); ok {
			err = asCertificateRefusal(err)
		}
		err = fmt.Errorf("hello of node %s at %s: %w", l.peer.id, address, err)
	}
	if err != nil {
		return nil, asHandshakeError(err, l.peer.id, address)
	}
	if _, unknown := l.t.types.mapped(h.GetTypes()); len(unknown) > 0 {
		l.t.config.Logger.Debug("the node knows message types that this one does not", "peer", l.peer.id, "types", unknown)
	}
	raw.SetDeadline(time.Time{})
	return &link{conn: conn, hello: h}, nil
}

// handshakeTimeout is short for a peer that was up: its silence counts.
func (l *lane) handshakeTimeout() time.Duration {
	if l.kind == Fast && l.peer.isUp() {
		return min(l.t.config.Silence, l.t.config.HandshakeTimeout)
	}
	return l.t.config.HandshakeTimeout
}

// accepts checks the answer of whoever was reached.
func (l *lane) accepts(conn net.Conn, h *messages.LinkHello, address string) error {
	if r := h.GetRefusal(); r != nil {
		return &HandshakeError{Peer: l.peer.id, Address: address, Code: r.GetCode(), Reason: clip(r.GetReason()), Remote: true}
	}
	if r := l.t.judge(h); r != nil {
		return r
	}
	if h.GetNodeId() != l.peer.id {
		return refuse(messages.LinkRefusalCode_LINK_REFUSAL_CODE_WRONG_NODE,
			"node %s answers there; the address of node %s is out of date or wrongly advertised", label(h), l.peer.id)
	}
	if r := l.t.checkCertificate(conn, h); r != nil {
		return r
	}
	return nil
}

// clip bounds a text of the other side, which ends in logs.
func clip(s string) string {
	if len(s) > helloTextMax*2 {
		return s[:helloTextMax*2] + "..."
	}
	return s
}

// intercept asks for a fault.
func (l *lane) intercept(size int) (drop bool, delay time.Duration) {
	if l.t.config.Intercept == nil {
		return false, 0
	}
	return l.t.config.Intercept(l.peer.id, l.kind, size)
}
