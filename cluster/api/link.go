package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// replyFrameBytes is where a frame of replies is closed and the next begun.
	replyFrameBytes = 256 << 10
	// replyOverheadBytes is what a reply counts besides its payload.
	replyOverheadBytes = 128
	// routeInterval is how often links that have nothing to say look for news of
	// the masters.
	routeInterval = 100 * time.Millisecond
	// bufferKeptMax is how large a buffer may be to be used again.
	bufferKeptMax = 1 << 20
	// linkWriteTimeout ends a link whose client does not read at all.
	linkWriteTimeout = 20 * time.Second
)

// link is one client's link. One goroutine reads calls and submits them; replies
// come from the engine and gather; another goroutine takes all that gathered and
// writes it at once.
type link struct {
	server *Server
	conn   net.Conn
	frames *FrameReader

	// calls and bytes count what is under way.
	calls, bytes atomic.Int64

	mu sync.Mutex
	// ready are the replies to be written, readyBytes about what they weigh.
	ready      []*messages.Reply
	readyBytes int
	pong       bool
	// ending says that no more calls are read; the link closes once all that is
	// under way was answered, or at once where hurry says so.
	ending, hurry bool
	closed        bool

	// wake tells the writer, room the reader, that something changed.
	wake, room chan struct{}
}

// serveLink turns the connection of a request into a link, and serves it until
// it ends.
func (s *Server) serveLink(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 || !strings.EqualFold(r.Header.Get("Upgrade"), LinkProtocol) ||
		!strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade") {
		w.Header().Set("Upgrade", LinkProtocol)
		(&Problem{
			Code: "invalid", status: http.StatusUpgradeRequired,
			Message: fmt.Sprintf("%s needs HTTP/1.1 with the headers Connection: Upgrade and Upgrade: %s; it is for clients in Go, others use POST %s{kind}/{key}/{method}",
				LinkPath, LinkProtocol, actorsPath),
		}).write(w)
		return
	}
	l := &link{server: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	if p := s.admit(l); p != nil {
		p.write(w)
		return
	}
	defer s.forget(l)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.logger.Error("connection cannot become a link", "cause", err)
		(&Problem{Code: CodeInternal, Message: "this connection cannot become a link", status: http.StatusInternalServerError}).write(w)
		return
	}
	l.serve(conn, buffered.Reader.Buffered(), buffered)
}

// admit takes a link among those of the server.
func (s *Server) admit(l *link) *Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return &Problem{Code: "unavailable", Message: "this node is shutting down; use another one", status: http.StatusServiceUnavailable}
	}
	if len(s.links) >= s.cfg.Limits.Links {
		return &Problem{
			Code: "overloaded", status: http.StatusTooManyRequests, RetryAfterMillis: 1000,
			Message: fmt.Sprintf("this node has %d links, its limit; use another node, or share clients", len(s.links)),
		}
	}
	s.links[l] = struct{}{}
	s.metrics.links.Inc()
	return nil
}

func (s *Server) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, l)
	s.metrics.links.Dec()
	if s.closing && len(s.links) == 0 {
		close(s.linksEnded)
	}
}

// closeLinks lets no more links begin and has those that are there end.
func (s *Server) closeLinks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.closing = true
	if len(s.links) == 0 {
		close(s.linksEnded)
	}
	for l := range s.links {
		l.end(false, nil)
	}
}

// watchRoute wakes all links when the masters changed.
func (s *Server) watchRoute(ctx context.Context) {
	ticker := time.NewTicker(routeInterval)
	defer ticker.Stop()
	var last *messages.Route
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		route := s.engine.Route()
		if route == last {
			continue
		}
		last = route
		s.mu.Lock()
		for l := range s.links {
			notify(l.wake)
		}
		s.mu.Unlock()
	}
}

// notify leaves a signal unless one is there already.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// serve runs the link to its end.
func (l *link) serve(conn net.Conn, buffered int, early io.Reader) {
	l.mu.Lock()
	l.conn = conn
	ending := l.ending
	l.mu.Unlock()
	defer conn.Close()
	if conn.SetDeadline(time.Time{}) != nil || ending {
		return
	}
	in := io.Reader(conn)
	if buffered > 0 {
		first := make([]byte, buffered)
		if _, err := io.ReadFull(early, first); err != nil {
			return
		}
		in = io.MultiReader(bytes.NewReader(first), conn)
	}
	l.frames = NewFrameReader(in, l.server.cfg.Limits.LinkFrameBytes)
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+LinkProtocol+"\r\n\r\n"); err != nil {
		return
	}
	var writer sync.WaitGroup
	writer.Go(l.write)
	l.read()
	writer.Wait()
}

// read takes calls in until the link ends.
func (l *link) read() {
	defer func() {
		if cause := recover(); cause != nil {
			l.server.logger.Error("link failed by a panic", "client", l.conn.RemoteAddr(), "cause", cause)
			l.end(true, &messages.Reply{Code: messages.Code_CODE_FAILED, Message: "this node failed while it read the link; its log has the details"})
		}
	}()
	for {
		if err := l.conn.SetReadDeadline(time.Now().Add(l.server.cfg.Limits.LinkIdle)); err != nil {
			l.end(true, nil)
			return
		}
		if l.isEnding() { // end may have set its own deadline before ours
			return
		}
		body, err := l.frames.Next()
		if err == nil && len(body) == 0 {
			l.still()
			continue
		}
		if err != nil {
			l.readFailed(err)
			return
		}
		if err := DecodeCalls(body, l.take); err != nil {
			l.garbage(err)
			return
		}
		if !l.awaitRoom() {
			return
		}
	}
}

// readFailed ends the link after nothing could be read.
func (l *link) readFailed(err error) {
	if l.isEnding() {
		return
	}
	var broken net.Error
	switch {
	case errors.Is(err, ErrFrameTooLarge):
		l.garbage(err)
	case errors.As(err, &broken) && broken.Timeout():
		l.end(true, &messages.Reply{
			Code:    messages.Code_CODE_INVALID,
			Message: fmt.Sprintf("nothing came over this link for %v; a client sends empty frames while it has nothing to say", l.server.cfg.Limits.LinkIdle),
		})
	default: // the client went away
		l.end(true, nil)
	}
}

// garbage ends the link after what came was no frame.
func (l *link) garbage(err error) {
	l.server.logger.Warn("client sent what is no frame", "client", l.conn.RemoteAddr(), "cause", err)
	l.end(true, &messages.Reply{Code: messages.Code_CODE_INVALID, Message: strings.ToValidUTF8(err.Error(), "?") + "; the link ends here"})
}

// take submits one call.
func (l *link) take(c *messages.Call) {
	id, weight := c.GetId(), len(c.GetPayload())
	m, problem := l.check(c)
	if problem == nil {
		problem = l.count(weight)
	}
	if problem != nil {
		problem.Id = id
		l.reply(problem, nil)
		return
	}
	started := m.begin()
	l.server.engine.Submit(c, func(r *messages.Reply) {
		r = Checked(r)
		m.end(started, r.GetCode())
		if r.GetId() != id {
			r = proto.CloneOf(r)
			r.Id = id
		}
		l.answer(r, weight)
	})
}

// check says what is wrong with a call, or which method it is for.
func (l *link) check(c *messages.Call) (*method, *messages.Reply) {
	s := l.server
	m, u := s.methods.find(c.GetKind(), c.GetMethod())
	if u != nil {
		return nil, &messages.Reply{Code: messages.Code_CODE_NOT_FOUND, Message: u.message}
	}
	if err := actors.ValidateKey(c.GetKey()); err != nil {
		return nil, actors.ToReply(err)
	}
	if n := len(c.GetPayload()); n > s.cfg.Limits.BodyBytes {
		return nil, invalidReply(tooLarge(s.cfg.Limits.BodyBytes).Message)
	}
	if c.GetQuery() && !m.Query {
		return nil, invalidReply(m.String() + " is a command, and the call says that it is a query")
	}
	c.Query = m.Query
	if c.GetTimeoutMs() == 0 {
		c.TimeoutMs = s.timeoutMillis(s.cfg.Limits.CallTimeout)
	} else if most := uint32(s.cfg.Limits.CallTimeoutMax.Milliseconds()); c.GetTimeoutMs() > most {
		c.TimeoutMs = most
	}
	if id := c.GetRequest(); id != nil && !m.Query {
		if err := checkNumber(id, c.GetIdempotencyKey()); err != nil {
			return nil, invalidReply("the request's number: " + err.Error())
		}
	}
	if s.engine.Route().GetPartitionCount() == 0 {
		return nil, noCluster()
	}
	return m, nil
}

func invalidReply(message string) *messages.Reply {
	return &messages.Reply{Code: messages.Code_CODE_INVALID, Message: message}
}

// count takes a call among those under way, unless there are too many.
func (l *link) count(weight int) *messages.Reply {
	limits := &l.server.cfg.Limits
	if l.calls.Load() >= int64(limits.LinkCalls) || l.bytes.Load()+int64(weight) > int64(limits.LinkBytes) {
		return &messages.Reply{
			Code: messages.Code_CODE_OVERLOADED, RetryAfterMs: 100,
			Message: fmt.Sprintf("this link has %d calls with %d bytes under way, the limit; wait for replies", l.calls.Load(), l.bytes.Load()),
		}
	}
	l.calls.Add(1)
	l.bytes.Add(int64(weight))
	return nil
}

// answer queues the reply to a call under way.
func (l *link) answer(r *messages.Reply, weight int) {
	// Counted out with the reply in the queue: a link that ends waits for both.
	l.reply(r, func() {
		l.calls.Add(-1)
		l.bytes.Add(-int64(weight))
	})
}

// reply queues a reply and calls also under the same lock. It never blocks.
func (l *link) reply(r *messages.Reply, also func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if also != nil {
		also()
	}
	if l.closed {
		return
	}
	first := len(l.ready) == 0
	l.ready = append(l.ready, r)
	l.readyBytes += replyOverheadBytes + len(r.GetPayload()) + len(r.GetMessage())
	if l.readyBytes > l.server.cfg.Limits.LinkUnread {
		l.server.logger.Warn("client does not read its replies", "client", l.conn.RemoteAddr(), "bytes", l.readyBytes)
		l.closed = true
		l.conn.Close()
	}
	if first || l.closed || l.ending {
		notify(l.wake)
	}
}

// still answers an empty frame.
func (l *link) still() {
	l.mu.Lock()
	l.pong = true
	l.mu.Unlock()
	notify(l.wake)
}

// awaitRoom holds the reader back while the client does not read its replies. It
// reports false when the link ended.
func (l *link) awaitRoom() bool {
	for {
		l.mu.Lock()
		full, ended := l.readyBytes > l.server.cfg.Limits.LinkUnread/8, l.closed || l.ending
		l.mu.Unlock()
		if ended {
			return false
		}
		if !full {
			return true
		}
		<-l.room
	}
}

func (l *link) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending || l.closed
}

// end lets the link end: when all calls under way were answered, or, in a hurry,
// after a last word.
func (l *link) end(hurry bool, last *messages.Reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending && !hurry || l.closed {
		return
	}
	l.ending, l.hurry = true, hurry
	if last != nil {
		l.ready = append(l.ready, last)
	}
	if l.conn != nil {
		_ = l.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	notify(l.wake)
	notify(l.room)
}

// abort ends the link at once.
func (l *link) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending, l.hurry, l.closed = true, true, true
	if l.conn != nil {
		l.conn.Close()
	}
	notify(l.wake)
	notify(l.room)
}

// write writes what gathers until the link is closed.
func (l *link) write() {
	var (
		taken []*messages.Reply
		buf   []byte
		route *messages.Route
	)
	for {
		l.mu.Lock()
		taken, l.ready = l.ready, taken[:0]
		l.readyBytes = 0
		pong, closed := l.pong, l.closed
		l.pong = false
		over := l.ending && len(taken) == 0 && (l.hurry || l.calls.Load() == 0)
		l.closed = closed || over
		l.mu.Unlock()
		notify(l.room)
		if closed || over {
			l.conn.Close()
			return
		}
		var err error
		buf = buf[:0]
		if now := l.server.engine.Route(); now != route {
			route = now
			buf, err = appendFrames(buf, route, taken)
		} else if len(taken) > 0 {
			buf, err = appendFrames(buf, nil, taken)
		} else if pong {
			buf, _ = BeginFrame(buf)
		}
		clear(taken) // the replies are not kept any longer
		if err == nil && len(buf) > 0 {
			err = l.send(buf)
		}
		if err != nil {
			l.abort()
			continue
		}
		if cap(buf) > bufferKeptMax {
			buf = nil
		}
		if len(taken) > 0 {
			continue // more may have come meanwhile; look before waiting
		}
		<-l.wake
	}
}

func (l *link) send(buf []byte) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(linkWriteTimeout)); err != nil {
		return err
	}
	_, err := l.conn.Write(buf)
	return err
}

// appendFrames encodes a route, unless it is nil, and replies.
func appendFrames(buf []byte, route *messages.Route, replies []*messages.Reply) ([]byte, error) {
	buf, at := BeginFrame(buf)
	var err error
	if route != nil {
		if buf, err = AppendRoute(buf, route); err != nil {
			return buf, err
		}
	}
	for _, r := range replies {
		if len(buf)-at > replyFrameBytes {
			EndFrame(buf, at)
			buf, at = BeginFrame(buf)
		}
		before := len(buf)
		if buf, err = AppendReply(buf, r); err == nil {
			continue
		}
		unspeakable := &messages.Reply{Id: r.GetId(), Code: messages.Code_CODE_FAILED, Message: "the reply does not encode: " + strings.ToValidUTF8(err.Error(), "?")}
		if buf, err = AppendReply(buf[:before], unspeakable); err != nil {
			return buf, err
		}
	}
	EndFrame(buf, at)
	return buf, nil
}
