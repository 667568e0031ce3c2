package transport

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// deadline bounds every wait in these tests; none comes near it.
const deadline = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testTypes() []proto.Message {
	return []proto.Message{&messages.Call{}, &messages.Reply{}, &messages.RaftBatch{}, &messages.SnapshotChunk{}}
}

// book maps node ids to addresses, for all nodes of a test.
type book struct {
	mu        sync.Mutex
	addresses map[string]string
}

func newBook() *book { return &book{addresses: make(map[string]string)} }

func (b *book) set(nodeID, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addresses[nodeID] = address
}

func (b *book) get(nodeID string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, ok := b.addresses[nodeID]
	return a, ok
}

// got is a message that an inbox received.
type got struct {
	message proto.Message
	sender  *actor.PID
}

// notice is a call of Notify.
type notice struct {
	peer string
	up   bool
}

// testNode is a node with one actor, "inbox", that hands on what it gets.
type testNode struct {
	*Transport
	id      string
	system  *actor.ActorSystem
	inbox   chan got
	notices chan notice
	drops   chan Drop
	refused chan *HandshakeError
}

// tame makes a link patient with a starved machine, and quick to come back.
func tame(c *Config) {
	c.Heartbeat = 20 * time.Millisecond
	c.Silence = 10 * time.Second
	c.BackoffMin = 5 * time.Millisecond
	c.BackoffMax = 20 * time.Millisecond
}

// jumpy is for tests about silence; its links may break at any time.
func jumpy(c *Config) { c.Silence = 250 * time.Millisecond }

func quiet(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

// newConfig prepares a node; its config may be changed before start.
func newConfig(t testing.TB, b *book, id string) (*testNode, Config) {
	n := &testNode{
		id: id, system: actor.NewActorSystem(actor.WithLoggerFactory(quiet)),
		inbox: make(chan got, 1<<16), notices: make(chan notice, 1024),
		drops: make(chan Drop, 1<<16), refused: make(chan *HandshakeError, 1024),
	}
	n.system.ProcessRegistry.Address = id
	props := actor.PropsFromFunc(func(c actor.Context) {
		if m, ok := c.Message().(proto.Message); ok {
			n.inbox <- got{m, c.Sender()}
		}
	})
	pid, err := n.system.Root.SpawnNamed(props, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.system.Root.StopFuture(pid).Wait()
		n.system.Shutdown()
	})
	c := Config{
		System: n.system, NodeID: id, Listen: "127.0.0.1:0", Types: testTypes(),
		Targets: []string{"inbox", "replica/"}, Resolve: b.get, Boot: 1, ClusterID: "c1",
		Notify:  func(peer string, up bool) { n.notices <- notice{peer, up} },
		Dropped: func(d Drop) { n.drops <- d },
		Refused: func(e *HandshakeError) { n.refused <- e },
	}
	tame(&c)
	return n, c
}

func (n *testNode) start(t testing.TB, b *book, c Config) *testNode {
	t.Helper()
	tr, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Transport = tr
	b.set(n.id, tr.Addr().String())
	t.Cleanup(func() { tr.Close() })
	return n
}

func startNode(t testing.TB, b *book, id string, change ...func(*Config)) *testNode {
	t.Helper()
	n, c := newConfig(t, b, id)
	for _, f := range change {
		f(&c)
	}
	return n.start(t, b, c)
}

func (n *testNode) send(to, target string, m proto.Message) {
	n.system.Root.Send(actor.NewPID(to, target), m)
}

func receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(deadline):
		t.Fatalf("no %s within %s", what, deadline)
		panic("unreachable")
	}
}

// await waits for the first value that is wanted.
func await[T any](t testing.TB, from <-chan T, what string, wanted func(T) bool) T {
	t.Helper()
	end := time.After(deadline)
	for {
		select {
		case v := <-from:
			if wanted(v) {
				return v
			}
		case <-end:
			t.Fatalf("no %s within %s", what, deadline)
		}
	}
}

// until waits for a condition that nothing announces.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}

func (n *testNode) wantNotice(t testing.TB, peer string, up bool) {
	t.Helper()
	if got := receive(t, n.notices, fmt.Sprintf("notice about %s", peer)); got != (notice{peer, up}) {
		t.Fatalf("notice %+v, want %+v", got, notice{peer, up})
	}
}

// proxy sits between two nodes. It can stop passing bytes on without closing.
type proxy struct {
	listener net.Listener
	target   string
	// pace is how long each 32 KiB take; 0 is no time.
	pace    time.Duration
	running sync.WaitGroup

	mu     sync.Mutex
	cut    bool
	closed bool
	healed *sync.Cond
	conns  []net.Conn
}

func startProxy(t testing.TB, target string, pace time.Duration) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, pace: pace}
	p.healed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.setCut(false)
		p.mu.Lock()
		p.closed = true
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	p.cut = cut
	p.healed.Broadcast()
	p.mu.Unlock()
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		if p.closed {
			in.Close()
			out.Close()
		}
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		p.running.Go(func() { p.pump(in, out) })
		p.running.Go(func() { p.pump(out, in) })
	}
}

// pump passes bytes on; while the proxy is cut it holds them.
func (p *proxy) pump(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 32<<10)
	tick := time.NewTicker(max(p.pace, 1))
	defer tick.Stop()
	for {
		n, err := from.Read(b)
		if p.pace > 0 && n == len(b) {
			<-tick.C
		}
		p.mu.Lock()
		for p.cut {
			p.healed.Wait()
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}
