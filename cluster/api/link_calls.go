package api

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

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
