package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// serve writes the lane's queue to a connection until it breaks. Two goroutines
// work on it: this one writes envelopes and pings, the other one reads
// acknowledgements. The peer acknowledges that bytes arrive, about four times in
// Config.Silence however busy it is, so that a slow peer is told from a dead one.
func (l *lane) serve(k *link) error {
	l.setLink(k)
	defer k.conn.Close()
	release := context.AfterFunc(l.ctx, func() { k.conn.Close() })
	defer release()

	ping := &pinger{rtt: &l.peer.rtt}
	failed := make(chan error, 1)
	go func() { failed <- l.readAcks(k.conn, ping) }()
	l.up()
	err := l.write(k.conn, ping, failed)
	k.conn.Close()
	if err != nil {
		// The reader's error says more: the writer's is often its consequence.
		if cause := <-failed; errors.Is(cause, errSilent) {
			return cause
		}
		return err
	}
	return <-failed
}

// write returns nil when the reader failed first, whose error is then waiting.
func (l *lane) write(conn net.Conn, ping *pinger, failed chan error) error {
	beat := time.NewTicker(l.t.config.Heartbeat)
	defer beat.Stop()
	due := true
	var small [16]byte
	for {
		b := l.queue.take()
		if len(b.chunks) == 0 && !due {
			select {
			case <-l.queue.wake:
			case <-beat.C:
				due = true
			case err := <-failed:
				failed <- err
				return nil
			}
			continue
		}
		buffers := make(net.Buffers, 0, len(b.chunks)+1)
		if due {
			buffers = append(buffers, ping.next(small[:0]))
			due = false
		}
		err := l.writeBatch(conn, b, append(buffers, b.chunks...))
		l.queue.done(b)
		if err != nil {
			return err
		}
		select {
		case <-beat.C:
			due = true
		default:
		}
	}
}

func (l *lane) writeBatch(conn net.Conn, b batch, buffers net.Buffers) error {
	if l.t.config.Intercept != nil {
		drop, delay := l.intercept(b.bytes + len(buffers[0]))
		pause(l.ctx, delay, nil)
		if drop {
			if b.count > 0 {
				l.peer.drop(Drop{Lane: l.kind, Reason: DropIntercepted, Count: b.count})
			}
			return nil
		}
	}
	if _, err := buffers.WriteTo(conn); err != nil {
		if b.count > 0 {
			l.peer.drop(Drop{Lane: l.kind, Reason: DropBroken, Count: b.count})
		}
		return fmt.Errorf("write to node %s: %w", l.peer.id, err)
	}
	l.peer.sent[l.kind].Add(uint64(b.count))
	l.peer.sentBytes[l.kind].Add(uint64(b.bytes))
	return nil
}

// readAcks returns when the connection breaks or falls silent; then it is closed.
func (l *lane) readAcks(conn net.Conn, ping *pinger) error {
	defer conn.Close()
	r := newRecordReader(conn, 64, 64)
	for {
		conn.SetReadDeadline(time.Now().Add(l.t.config.Silence))
		kind, body, err := r.next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("node %s: %w (%s)", l.peer.id, errSilent, l.t.config.Silence)
		}
		if err != nil {
			return fmt.Errorf("read from node %s: %w", l.peer.id, err)
		}
		if kind == kindAck {
			if number, n := binary.Uvarint(body); n > 0 {
				ping.answered(number)
			}
		}
	}
}

// pinger numbers pings and times the answers.
type pinger struct {
	number atomic.Uint64
	sentAt atomic.Int64
	rtt    *atomic.Int64
}

func (p *pinger) next(b []byte) []byte {
	p.sentAt.Store(time.Now().UnixNano())
	return appendRecord(b, kindPing, p.number.Add(1))
}

func (p *pinger) answered(number uint64) {
	sentAt := p.sentAt.Load()
	if number != 0 && number == p.number.Load() {
		p.rtt.Store(time.Now().UnixNano() - sentAt)
	}
}
