package cluster

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// dialTimeout bounds one attempt to make a link, the handshake included.
	dialTimeout = 3 * time.Second
	// redialMin and redialMax bound the pause between two attempts.
	redialMin = 25 * time.Millisecond
	redialMax = time.Second
)

// peer is a node as a client sees it: an address, and a link to it while it is up.
type peer struct {
	client  *Client
	address string
	// seed says that Dial was given the address: it is never given up.
	seed bool
	// nodeID is learned from the node.
	nodeID atomic.Pointer[string]
	link   atomic.Pointer[clientLink]
	// local is set, and link never, for the node that the client is part of.
	local *localLane
	// failure is why there is no link.
	failure atomic.Pointer[error]
	life    context.Context //nolint:containedctx // the life of the peer, not of a call
	stop    context.CancelFunc

	// route is the newest one heard; it belongs to the goroutine that reads.
	route *messages.Route
}

func newPeer(c *Client, address string, seed bool) *peer {
	p := &peer{client: c, address: address, seed: seed}
	p.life, p.stop = context.WithCancel(c.life)
	return p
}

// id is the node id, empty while it is not known.
func (p *peer) id() string {
	if id := p.nodeID.Load(); id != nil {
		return *id
	}
	return ""
}

// up reports whether calls can be sent.
func (p *peer) up() bool { return p.local != nil || p.link.Load() != nil }

// trouble says why the peer is not up.
func (p *peer) trouble() string {
	if err := p.failure.Load(); err != nil {
		return (*err).Error()
	}
	return "no answer yet"
}

// send begins an attempt of a call, to be given up when due. It reports false if
// it did not.
func (p *peer) send(op *operation, due int64) bool {
	if p.local != nil {
		return p.local.send(op, due)
	}
	l := p.link.Load()
	return l != nil && l.send(op, due)
}

// sweep lets the calls go whose attempt took too long.
func (p *peer) sweep(now int64) []*operation {
	if p.local != nil {
		return p.local.overdue(now)
	}
	if l := p.link.Load(); l != nil {
		return l.sweep(now)
	}
	return nil
}

// run keeps a link to the node until the client lets go of it.
func (p *peer) run() {
	defer p.stop()
	for pause := redialMin; p.life.Err() == nil; {
		l, err := p.dial()
		if err == nil {
			pause = redialMin
			p.failure.Store(nil)
			p.link.Store(l)
			p.client.opts.logger.Debug("node connected", "address", p.address)
			err = l.serve()
			p.link.Store(nil)
			for _, op := range l.abandon() {
				p.client.lost(op, p)
			}
		}
		p.failure.Store(&err)
		if p.life.Err() != nil {
			return
		}
		p.client.opts.logger.Debug("node not connected", "address", p.address, "cause", err)
		timer := time.NewTimer(jittered(pause))
		select {
		case <-timer.C:
		case <-p.life.Done():
			timer.Stop()
		}
		pause = min(2*pause, redialMax)
	}
}

// dial makes a link.
func (p *peer) dial() (*clientLink, error) {
	ctx, cancel := context.WithTimeout(p.life, dialTimeout)
	defer cancel()
	var (
		conn net.Conn
		err  error
	)
	dialer := &net.Dialer{KeepAlive: 15 * time.Second}
	if c := p.client.opts.tls; c != nil {
		c = c.Clone()
		c.NextProtos = []string{"http/1.1"} // a link cannot live in HTTP/2
		conn, err = (&tls.Dialer{NetDialer: dialer, Config: c}).DialContext(ctx, "tcp", p.address)
	} else {
		conn, err = dialer.DialContext(ctx, "tcp", p.address)
	}
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	in, err := upgrade(conn, p.address)
	if !release() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return newClientLink(p, conn, in), nil
}

// upgrade turns a connection into a link.
func upgrade(conn net.Conn, address string) (*bufio.Reader, error) {
	request := "GET " + api.LinkPath + " HTTP/1.1\r\nHost: " + address +
		"\r\nConnection: Upgrade\r\nUpgrade: " + api.LinkProtocol + "\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 64<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, fmt.Errorf("no ringmaster answers there: %w", err)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return in, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 512))
	if err != nil || len(text) == 0 {
		return nil, errors.New(resp.Status)
	}
	return nil, fmt.Errorf("%s: %s", resp.Status, text)
}
