package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// routeInterval is how often links that have nothing to say look for news of the
// masters.
const routeInterval = 100 * time.Millisecond

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
