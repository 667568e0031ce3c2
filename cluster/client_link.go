package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// linkFrameMax bounds the frames a node may send.
	linkFrameMax = 16 << 20
	// callFrameBytes is where a frame of calls is closed and the next begun.
	callFrameBytes = 256 << 10
	// linkCallsMax bounds the calls under way on one link; the node's own bound is
	// twice that. The others wait.
	linkCallsMax = 8192
	// linkBacklogMax bounds the bytes that wait for the node to read them.
	linkBacklogMax = 32 << 20
	// linkBufferKept is how large a buffer may be to be used again.
	linkBufferKept = 1 << 20
	// pingAfter is how long a link may be silent before the node is asked whether
	// it is there, while it owes replies; pingIdle when it owes none.
	pingAfter = 500 * time.Millisecond
	pingIdle  = 5 * time.Second
	// silenceMax is how long a link may be silent after that before it is taken for
	// broken: above what a busy machine needs, below what callers notice.
	silenceMax = 2 * time.Second
)

// clientLink is one link to a node. Callers append frames to a buffer; a writer
// takes all that gathered and writes it at once. A reader settles calls.
type clientLink struct {
	peer *peer
	conn net.Conn
	in   *api.FrameReader

	mu     sync.Mutex
	flight flight
	// gathered holds frames to be written; the last one, at frame, is open.
	gathered []byte
	frame    int
	closed   bool
	// corked says that the writer is to be woken when the readers have done with
	// what they read; see Client.cork.
	corked bool
	// asked is when the node was asked whether it is there; 0: it is.
	asked int64

	// heard is when something came last.
	heard atomic.Int64
	wake  chan struct{}
	// reason is the node's last word, if it gave one.
	reason string
}

func newClientLink(p *peer, conn net.Conn, in *bufio.Reader) *clientLink {
	l := &clientLink{peer: p, conn: conn, in: api.NewFrameReader(in, linkFrameMax), wake: make(chan struct{}, 1)}
	l.heard.Store(p.client.now())
	return l
}

// send appends a call to what is to be written.
func (l *clientLink) send(op *operation, due int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.flight.count >= linkCallsMax || len(l.gathered) > linkBacklogMax {
		return false
	}
	first := len(l.gathered) == 0
	if first || len(l.gathered)-l.frame > callFrameBytes {
		l.openFrame()
	}
	before := len(l.gathered)
	id := l.flight.put(op, due)
	op.call.Id = id
	out, err := api.AppendCall(l.gathered, op.call)
	if err != nil {
		l.gathered = l.gathered[:before]
		l.flight.take(id)
		// Nothing was sent. The callers' texts are to blame: not valid UTF-8.
		go l.peer.client.settle(op, l.peer, &messages.Reply{Code: messages.Code_CODE_INVALID, Message: "the call does not encode: " + err.Error()})
		return true
	}
	l.gathered = out
	switch {
	case !first:
	case l.peer.client.reading.Load() > 0:
		l.corked = true
	default:
		notify(l.wake)
	}
	return true
}

// cork holds the writers of all links back while a reader settles what came in one
// frame: replies bring forth calls, and those of one frame go in one write.
func (c *Client) cork() { c.reading.Add(1) }

func (c *Client) uncork() {
	c.reading.Add(-1)
	// A sender that still saw us reading has marked its link before we get its lock.
	for _, p := range *c.peers.Load() {
		if l := p.link.Load(); l != nil {
			l.uncork()
		}
	}
}

func (l *clientLink) uncork() {
	l.mu.Lock()
	corked := l.corked
	l.corked = false
	l.mu.Unlock()
	if corked {
		notify(l.wake)
	}
}

// openFrame closes the frame under way, if any, and begins another.
func (l *clientLink) openFrame() {
	if len(l.gathered) > 0 {
		api.EndFrame(l.gathered, l.frame)
	}
	l.gathered, l.frame = api.BeginFrame(l.gathered)
}

// notify leaves a signal unless one is there already.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// serve reads until the link ends, and says why it did.
func (l *clientLink) serve() error {
	var writer sync.WaitGroup
	writer.Go(l.write)
	stop := make(chan struct{})
	writer.Go(func() {
		select {
		case <-l.peer.life.Done():
			l.close()
		case <-stop:
		}
	})
	err := l.read()
	l.close()
	close(stop)
	writer.Wait()
	switch {
	case l.reason != "":
		return errors.New(l.reason)
	case errors.Is(err, io.EOF):
		return errors.New("the node closed the link")
	}
	return err
}

func (l *clientLink) read() error {
	for {
		body, err := l.in.Next()
		if err != nil {
			return err
		}
		l.heard.Store(l.peer.client.now())
		l.peer.client.cork()
		err = api.DecodeReplies(body, l.onReply, l.onRoute)
		l.peer.client.uncork()
		if err != nil {
			return fmt.Errorf("the node sent what is no frame: %w", err)
		}
	}
}

func (l *clientLink) onReply(r *messages.Reply) {
	if r.GetId() == 0 {
		l.reason = r.GetMessage()
		return
	}
	l.mu.Lock()
	op := l.flight.take(r.GetId())
	l.mu.Unlock()
	if op != nil {
		l.peer.client.settle(op, l.peer, r)
	}
}

func (l *clientLink) onRoute(r *messages.Route) {
	l.peer.client.learnRoute(l.peer, r)
}

// write writes what gathers until the link is closed.
func (l *clientLink) write() {
	var spare []byte
	for range l.wake {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return
		}
		if len(l.gathered) == 0 {
			l.mu.Unlock()
			continue
		}
		api.EndFrame(l.gathered, l.frame)
		full := l.gathered
		l.gathered = spare[:0]
		l.mu.Unlock()
		if _, err := l.conn.Write(full); err != nil {
			l.close() // the reader says why
			return
		}
		if spare = full; cap(spare) > linkBufferKept {
			spare = nil
		}
	}
}

// close ends the link; serve returns then.
func (l *clientLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.conn.Close()
	notify(l.wake)
}

// abandon lets all calls go that got no reply, and refuses more.
func (l *clientLink) abandon() []*operation {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.flight.all()
}

// sweep lets late calls go, and asks a silent node whether it is there.
func (l *clientLink) sweep(now int64) []*operation {
	l.mu.Lock()
	late := l.flight.overdue(now)
	owes, asked := l.flight.count > 0 || len(late) > 0, l.asked
	silent := time.Duration(now - l.heard.Load())
	switch {
	case asked != 0 && l.heard.Load() > asked:
		l.asked = 0
	case asked != 0 && time.Duration(now-asked) > silenceMax:
		l.mu.Unlock()
		l.close()
		return late
	case asked == 0 && (owes && silent > pingAfter || silent > pingIdle):
		l.asked = now
		l.ping()
	}
	l.mu.Unlock()
	return late
}

// ping appends an empty frame. The caller holds the lock.
func (l *clientLink) ping() {
	l.openFrame()
	l.openFrame() // closes the empty one; the calls that follow go into this one
	notify(l.wake)
}
