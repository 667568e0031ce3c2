package transport

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/messages"
)

func TestMessagesArriveInOrderWithTheirSender(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	self := actor.NewPID("one", "inbox")
	const count = 2000
	for i := range count {
		one.system.Root.RequestWithCustomSender(actor.NewPID("two", "inbox"), &messages.Call{Id: uint64(i), Key: "k"}, self)
	}
	for i := range count {
		g := receive(t, two.inbox, "call")
		if diff := cmp.Diff(&messages.Call{Id: uint64(i), Key: "k"}, g.message, protocmp.Transform()); diff != "" {
			t.Fatalf("call %d (-want +got):\n%s", i, diff)
		}
		if g.sender.GetAddress() != "one" || g.sender.GetId() != "inbox" {
			t.Fatalf("sender %v, want one/inbox", g.sender)
		}
		two.system.Root.Send(g.sender, &messages.Reply{Id: uint64(i)})
	}
	for i := range count {
		if g := receive(t, one.inbox, "reply"); g.message.(*messages.Reply).GetId() != uint64(i) {
			t.Fatalf("reply %d is %v", i, g.message)
		}
	}
	one.wantNotice(t, "two", true)
	two.wantNotice(t, "one", true)
	if len(one.drops)+len(two.drops) != 0 {
		t.Errorf("drops: %d and %d, want none", len(one.drops), len(two.drops))
	}
}

func TestLargeMessagesOnBothLanes(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	raft := &messages.RaftBatch{Frames: bytes.Repeat([]byte("raft"), 1<<20)}
	chunk := &messages.SnapshotChunk{Partition: 7, Rows: []*messages.Row{{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), 1<<20)}}}
	one.send("two", "inbox", raft)
	one.send("two", "inbox", chunk)
	for range 2 {
		var want proto.Message = raft
		g := receive(t, two.inbox, "message")
		if _, ok := g.message.(*messages.SnapshotChunk); ok {
			want = chunk
		}
		if !proto.Equal(want, g.message) {
			t.Errorf("%T was changed on its way", want)
		}
	}
	until(t, "both lanes count one message", func() bool {
		return one.Peers()[0].Sent == [laneCount]uint64{1, 1}
	})
}

func TestOwnAddressNeverGoesOut(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	one.send("one", "inbox", &messages.Call{Id: 1})
	receive(t, one.inbox, "call")
	if p := one.Peers(); len(p) != 0 {
		t.Errorf("peers %+v, want none", p)
	}
}

func TestWhatMustNotLeave(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	remote := actor.NewPID("two", "inbox")
	tests := []struct {
		name string
		send func()
		want Reason
	}{
		{"no message", func() { one.system.Root.Send(remote, "text") }, DropType},
		{"type not allowed", func() { one.system.Root.Send(remote, &messages.Table{}) }, DropType},
		{"poison", func() { one.system.Root.Send(remote, &actor.PoisonPill{}) }, DropType},
		{"sender elsewhere", func() {
			one.system.Root.RequestWithCustomSender(remote, &messages.Call{}, actor.NewPID("three", "inbox"))
		}, DropSender},
		{"invalid text", func() { one.system.Root.Send(remote, &messages.Call{Key: "\xff"}) }, DropInvalid},
		{"too large", func() { one.system.Root.Send(remote, &messages.Call{Payload: make([]byte, 17<<20)}) }, DropTooLarge},
		{"long name", func() { one.send("two", strings.Repeat("x", 300), &messages.Call{}) }, DropInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.send()
			if d := receive(t, one.drops, "drop"); d.Reason != test.want || d.Peer != "two" || d.Count != 1 {
				t.Errorf("drop %+v, want %s", d, test.want)
			}
		})
	}
	// What fails half-way leaves the connection's names in order.
	one.send("two", "inbox", &messages.Call{Id: 99})
	if g := receive(t, two.inbox, "call"); g.message.(*messages.Call).GetId() != 99 {
		t.Errorf("got %v", g.message)
	}
	one.system.Root.Stop(remote)
	one.send("two", "inbox", &messages.Call{Id: 100})
	receive(t, two.inbox, "call after a stop that must not arrive")
	if n := one.Stats().SystemDropped; n != 1 {
		t.Errorf("SystemDropped = %d, want 1", n)
	}
}

func TestTargetsAreAllowListed(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	secret := make(chan struct{}, 1)
	pid, err := two.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*messages.Call); ok {
			secret <- struct{}{}
		}
	}), "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { two.system.Root.StopFuture(pid).Wait() }()
	one.send("two", "secret", &messages.Call{})
	one.send("two", "replica/9", &messages.Call{})
	one.send("two", "inbox", &messages.Call{})
	receive(t, two.inbox, "call")
	if s := two.Stats(); s.RefusedTarget != 1 || s.UnknownTarget != 1 {
		t.Errorf("stats %+v, want one refused and one unknown target", s)
	}
	if len(secret) != 0 {
		t.Error("a message reached an actor that is not allowed")
	}
}

func TestDownAtOnceWhenRedialIsRefused(t *testing.T) {
	b := newBook()
	// A silence of 10 s cannot be what the test sees.
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	one.Connect("two")
	one.wantNotice(t, "two", true)
	two.Close()
	one.wantNotice(t, "two", false)
	one.send("two", "inbox", &messages.Call{})
	if d := receive(t, one.drops, "drop"); d.Reason != DropDown {
		t.Errorf("drop %+v, want %s", d, DropDown)
	}
	// The node returns at another address; it is found again.
	two2, c := newConfig(t, b, "two")
	c.Boot = 2
	two2.start(t, b, c)
	one.wantNotice(t, "two", true)
	one.send("two", "inbox", &messages.Call{Id: 2})
	receive(t, two2.inbox, "call")
}

func TestUnknownAddressIsDown(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	one.send("two", "inbox", &messages.Call{})
	one.wantNotice(t, "two", false)
	d := receive(t, one.drops, "drop")
	if d.Count != 1 || d.Reason != DropDown {
		t.Errorf("drop %+v, want one with %s", d, DropDown)
	}
	startNode(t, b, "two")
	one.wantNotice(t, "two", true)
}

func TestSilentPeerIsDown(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one", jumpy), startNode(t, b, "two")
	p := startProxy(t, two.Addr().String(), 0)
	b.set("two", p.listener.Addr().String())
	up := func(n notice) bool { return n == notice{"two", true} }
	one.Connect("two")
	await(t, one.notices, "up", up)
	until(t, "a round trip is measured", func() bool { return one.Peers()[0].RTT > 0 })
	p.setCut(true)
	until(t, "it is down for its silence", func() bool {
		err := one.Peers()[0].Err
		return err != nil && strings.Contains(err.Error(), "acknowledged nothing")
	})
	one.wantNotice(t, "two", false)
	p.setCut(false)
	await(t, one.notices, "up", up)
}

func TestSlowPeerIsNotDown(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one", func(c *Config) { c.Silence = time.Second }), startNode(t, b, "two")
	// The queue takes several times a Silence to go through.
	p := startProxy(t, two.Addr().String(), 4*time.Millisecond)
	b.set("two", p.listener.Addr().String())
	one.Connect("two")
	one.wantNotice(t, "two", true)
	const count = 200
	for i := range count {
		one.send("two", "inbox", &messages.RaftBatch{Frames: make([]byte, 100<<10+i)})
	}
	for i := range count {
		if g := receive(t, two.inbox, "batch"); len(g.message.(*messages.RaftBatch).GetFrames()) != 100<<10+i {
			t.Fatal("out of order")
		}
	}
	if len(one.notices) != 0 {
		t.Errorf("another notice: %+v", <-one.notices)
	}
}

func TestQueueIsBounded(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one", func(c *Config) {
		c.QueueBytes, c.FrameBytes = 1<<20, 1<<20
	})
	two := startNode(t, b, "two")
	p := startProxy(t, two.Addr().String(), 0)
	b.set("two", p.listener.Addr().String())
	one.Connect("two")
	one.wantNotice(t, "two", true)
	p.setCut(true)
	// The kernels on the way hold some MiB; then the queue is full.
	for range 1000 {
		one.send("two", "inbox", &messages.Call{Payload: make([]byte, 64<<10)})
	}
	d := receive(t, one.drops, "drop")
	if d.Reason != DropFull {
		t.Errorf("drop %+v, want %s", d, DropFull)
	}
	if q := one.Peers()[0].Queued[Fast]; q > 1<<20 {
		t.Errorf("%d bytes queued, at most %d are allowed", q, 1<<20)
	}
	p.setCut(false)
	receive(t, two.inbox, "call")
}

func TestBrokenLinkCountsWhatIsLost(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	two := startNode(t, b, "two")
	p := startProxy(t, two.Addr().String(), 0)
	b.set("two", p.listener.Addr().String())
	one.Connect("two")
	one.wantNotice(t, "two", true)
	p.setCut(true)
	for range 300 {
		one.send("two", "inbox", &messages.Call{Payload: make([]byte, 64<<10)})
	}
	p.mu.Lock()
	p.conns[0].Close()
	p.mu.Unlock()
	await(t, one.drops, "drop of what was queued", func(d Drop) bool { return d.Reason == DropBroken && d.Count > 0 })
}

func TestForgetAndReturn(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	one.send("two", "inbox", &messages.Call{Id: 1})
	receive(t, two.inbox, "call")
	one.wantNotice(t, "two", true)
	one.Forget("two")
	one.wantNotice(t, "two", false)
	one.send("two", "inbox", &messages.Call{Id: 2})
	receive(t, two.inbox, "call")
	one.wantNotice(t, "two", true)
	one.Forget("nobody")
}

func TestInterceptedWritesAreLostAndPeerIsDown(t *testing.T) {
	b := newBook()
	cut := make(chan struct{})
	one := startNode(t, b, "one", jumpy, func(c *Config) {
		c.Intercept = func(string, Lane, int) (bool, time.Duration) {
			select {
			case <-cut:
				return true, 0
			default:
				return false, time.Millisecond
			}
		}
	})
	two := startNode(t, b, "two")
	until(t, "a message arrives", func() bool {
		one.send("two", "inbox", &messages.Call{})
		return len(two.inbox) > 0
	})
	close(cut)
	until(t, "a message is dropped", func() bool {
		one.send("two", "inbox", &messages.Call{})
		return len(one.drops) > 0
	})
	await(t, one.notices, "down", func(n notice) bool { return !n.up })
	until(t, "nothing is let through", func() bool {
		err := one.Peers()[0].Err
		return err != nil && strings.Contains(err.Error(), "fault injected")
	})
}

func TestCloseTwiceAndSendAfter(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	one.send("two", "inbox", &messages.Call{})
	receive(t, two.inbox, "call")
	one.Close()
	one.Close()
	one.send("two", "inbox", &messages.Call{})
	if d := receive(t, one.drops, "drop"); d.Reason != DropClosed {
		t.Errorf("drop %+v, want %s", d, DropClosed)
	}
	one.Connect("three")
	if err := one.SetClusterID("c1"); err != nil {
		t.Error(err)
	}
}

func TestConfigErrors(t *testing.T) {
	b := newBook()
	_, c := newConfig(t, b, "one")
	taken := startNode(t, b, "two")
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"system", func(c *Config) { c.System = nil }, "System is missing"},
		{"address", func(c *Config) { c.NodeID = "other" }, "set ProcessRegistry.Address"},
		{"targets", func(c *Config) { c.Targets = nil }, "Targets is empty"},
		{"types", func(c *Config) { c.Types = nil }, "message types"},
		{"type twice", func(c *Config) { c.Types = append(c.Types, &messages.Call{}) }, "given twice"},
		{"system type", func(c *Config) { c.Types = append(c.Types, &actor.PoisonPill{}) }, "never crosses the network"},
		{"heartbeat", func(c *Config) { c.Heartbeat = c.Silence }, "half of Silence"},
		{"frame", func(c *Config) { c.FrameBytes = 1 << 30 }, "QueueBytes"},
		{"port", func(c *Config) { c.Listen = taken.Addr().String() }, "--peer-listen"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := c
			test.change(&c)
			tr, err := Start(c)
			if err == nil {
				tr.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
