package gossip

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// deadline bounds every wait in these tests; none comes near it.
const deadline = 30 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNode is one node on loopback.
type testNode struct {
	*Gossip
	events  chan Event
	cluster *atomic.Value
}

// fast makes failure detection quick enough for tests.
func fast(c *Config) {
	c.ProbeInterval = 100 * time.Millisecond
	c.ProbeTimeout = 60 * time.Millisecond
	c.GossipInterval = 10 * time.Millisecond
	c.PushPullInterval = 500 * time.Millisecond
	c.RejoinInterval = 200 * time.Millisecond
	c.StreamTimeout = time.Second
}

func newConfig(name string, join ...string) (Config, *testNode) {
	n := &testNode{events: make(chan Event, 4096), cluster: &atomic.Value{}}
	n.cluster.Store("c1")
	c := Config{
		NodeID: "id-of-" + name, Name: name, Boot: 1, Bind: "127.0.0.1:0", Join: join,
		ClusterID: func() string { return n.cluster.Load().(string) },
		Notify:    func(e Event) { n.events <- e },
		Meta:      Meta{APIAddress: "127.0.0.1:7420", PeerAddress: "127.0.0.1:7421", Zone: "z", Version: "1.2.3", Weight: 2, Expect: 3},
	}
	fast(&c)
	return c, n
}

func (n *testNode) start(t testing.TB, c Config) *testNode {
	t.Helper()
	g, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	n.Gossip = g
	t.Cleanup(func() { g.Close() })
	return n
}

func startNode(t testing.TB, name string, join ...string) *testNode {
	t.Helper()
	c, n := newConfig(name, join...)
	return n.start(t, c)
}

// await waits for the first event that is wanted.
func (n *testNode) await(t testing.TB, what string, wanted func(Event) bool) Event {
	t.Helper()
	end := time.After(deadline)
	for {
		select {
		case e := <-n.events:
			if wanted(e) {
				return e
			}
		case <-end:
			t.Fatalf("no event within %s: %s; members %+v, problems %v", deadline, what, n.Members(), n.Problems())
		}
	}
}

func (n *testNode) awaitKind(t testing.TB, kind EventKind, name string) Event {
	t.Helper()
	return n.await(t, fmt.Sprintf("%s %s", name, kind), func(e Event) bool { return e.Kind == kind && e.Member.Name == name })
}

// until waits for a condition that nothing announces.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	end := time.After(deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %s: %s", deadline, what)
		}
	}
}

// alive returns the names of the alive members, with this node.
func (n *testNode) alive() map[string]Member {
	all := map[string]Member{}
	for _, m := range n.Members() {
		if m.State == Alive {
			all[m.Name] = m
		}
	}
	return all
}

func (n *testNode) sees(names ...string) bool {
	all := n.alive()
	for _, name := range names {
		if _, ok := all[name]; !ok {
			return false
		}
	}
	return len(all) == len(names)
}

// freeAddress returns an address that was free a moment ago, for both TCP and
// UDP.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
