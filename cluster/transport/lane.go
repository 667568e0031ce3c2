package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// lane keeps one connection to a peer open and writes to it what is queued.
//
// While it connects for the first time, or again at once after its connection
// broke, messages queue up. When an attempt failed they are refused until one
// succeeds.
type lane struct {
	t    *Transport
	peer *peer
	kind Lane

	ctx    context.Context
	cancel context.CancelFunc
	// before is closed when an earlier lane of this kind has ended; nil if none.
	before <-chan struct{}
	ended  chan struct{}
	// kick has room for one: try to connect now.
	kick  chan struct{}
	queue queue

	// mu guards link.
	mu   sync.Mutex
	link *link
}

// errSilent: the peer acknowledged nothing for too long.
var errSilent = errors.New("it acknowledged nothing for too long")

// errForgotten: the link was not wanted any more.
var errForgotten = errors.New("the node was forgotten")

func (l *lane) run() {
	defer close(l.ended)
	if l.before != nil {
		<-l.before
	}
	backoff := l.t.config.BackoffMin
	for l.ctx.Err() == nil {
		conn, err := l.connect()
		if err == nil {
			began := time.Now()
			err = l.serve(conn)
			l.broke(err)
			// A connection that stood for a while deserves another one at once,
			// unless the other end is silent rather than gone.
			if time.Since(began) >= l.t.config.Silence && !errors.Is(err, errSilent) {
				backoff = l.t.config.BackoffMin
				continue
			}
		}
		l.down(err)
		pause(l.ctx, backoff/2+rand.N(backoff), l.kick)
		backoff = min(2*backoff, l.t.config.BackoffMax)
	}
	l.refuseAll(DropClosed)
	if l.kind == Fast && l.peer.isUp() {
		l.peer.setState(peerDown, errForgotten)
	}
}

func (p *peer) isUp() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == peerUp
}

// up marks the lane as connected.
func (l *lane) up() {
	l.queue.accept()
	if l.kind == Fast {
		l.peer.setState(peerUp, nil)
	}
}

// broke drops what belonged to the broken connection; pushes are accepted, as
// another connection is tried.
func (l *lane) broke(err error) {
	l.setLink(nil)
	if n := l.queue.clear(0); n > 0 {
		l.peer.drop(Drop{Lane: l.kind, Reason: DropBroken, Count: n})
	}
	l.t.config.Logger.Debug("link broke", "peer", l.peer.id, "lane", l.kind.String(), "cause", err)
}

// down drops what waits and refuses everything until a connection stands.
func (l *lane) down(err error) {
	if l.ctx.Err() != nil {
		return
	}
	l.refuseAll(DropDown)
	if h, ok := errors.AsType[*HandshakeError](err); ok {
		l.t.refused(h)
	}
	if l.kind == Fast {
		l.peer.setState(peerDown, err)
	}
}

func (l *lane) refuseAll(reason Reason) {
	if n := l.queue.clear(reason); n > 0 {
		l.peer.drop(Drop{Lane: l.kind, Reason: reason, Count: n})
	}
}

func (l *lane) setLink(k *link) {
	l.mu.Lock()
	l.link = k
	l.mu.Unlock()
}

// closeLink ends the present connection if it is with a foreign cluster.
func (l *lane) closeLink(foreign func(clusterID string) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.link != nil && foreign(l.link.hello.GetClusterId()) {
		l.link.conn.Close()
	}
}

// link is a connection that was dialed, after the hellos.
type link struct {
	conn  net.Conn
	hello *messages.LinkHello
}
