package api

import (
	"strings"
	"time"

	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	// replyFrameBytes is where a frame of replies is closed and the next begun.
	replyFrameBytes = 256 << 10
	// replyOverheadBytes is what a reply counts besides its payload.
	replyOverheadBytes = 128
	// bufferKeptMax is how large a buffer may be to be used again.
	bufferKeptMax = 1 << 20
	// linkWriteTimeout ends a link whose client does not read at all.
	linkWriteTimeout = 20 * time.Second
)

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
