package gossip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestNodesFindEachOther(t *testing.T) {
	names := []string{"n1", "n2", "n3", "n4", "n5"}
	first := startNode(t, names[0])
	nodes := []*testNode{first}
	for _, name := range names[1:] {
		nodes = append(nodes, startNode(t, name, first.Address()))
	}
	for _, n := range nodes {
		until(t, "everybody is alive", func() bool { return n.sees(names...) })
	}
	m := nodes[4].alive()["n1"]
	if m.NodeID != "id-of-n1" || m.Boot != 1 || m.ClusterID != "c1" || m.APIAddress != "127.0.0.1:7420" ||
		m.PeerAddress != "127.0.0.1:7421" || m.GossipAddress != first.Address() || m.Zone != "z" || m.Version != "1.2.3" ||
		m.Weight != 2 || m.Expect != 3 || m.Self || m.Started.IsZero() || m.Since.IsZero() {
		t.Errorf("member %+v", m)
	}
	if self := nodes[4].alive()["n5"]; !self.Self {
		t.Errorf("own entry %+v", self)
	}
	until(t, "probes are timed", func() bool { return first.alive()["n2"].RTT > 0 })

	// A crash is noticed by all; a departure is told from it.
	nodes[4].Close()
	if err := nodes[3].Leave(5 * time.Second); err != nil {
		t.Error(err)
	}
	nodes[3].Close()
	for _, n := range nodes[:3] {
		states := map[string]EventKind{}
		for len(states) < 2 {
			e := n.await(t, "n4 and n5 are gone", func(e Event) bool { return e.Kind == MemberFailed || e.Kind == MemberLeft })
			states[e.Member.Name] = e.Kind
		}
		if states["n4"] != MemberLeft || states["n5"] != MemberFailed {
			t.Errorf("gone: %v, want n4 left and n5 failed", states)
		}
	}
}

func TestJoinInAnyOrderAndOneself(t *testing.T) {
	a, b := freeAddress(t), freeAddress(t)
	c1, n1 := newConfig("n1", a, b)
	c1.Bind = a
	n1.start(t, c1)
	until(t, "the other is missed", func() bool { return n1.Problems()[b] != nil })
	if err := n1.Problems()[a]; err != nil {
		t.Errorf("joining itself: %v", err)
	}
	c2, n2 := newConfig("n2", a, b)
	c2.Bind = b
	n2.start(t, c2)
	n1.awaitKind(t, Joined, "n2")
	n2.awaitKind(t, Joined, "n1")
	until(t, "the problem is over", func() bool { return len(n1.Problems()) == 0 })
}

func TestNewBootAtAnotherAddress(t *testing.T) {
	n1 := startNode(t, "n1")
	n2 := startNode(t, "n2", n1.Address())
	n1.awaitKind(t, Joined, "n2")
	n2.Close()
	c, n2again := newConfig("n2", n1.Address())
	c.Boot = 2
	n2again.start(t, c)
	e := n1.awaitKind(t, Joined, "n2")
	if e.Member.Boot != 2 || e.Member.GossipAddress != n2again.Address() {
		t.Errorf("member %+v, want boot 2 at %s", e.Member, n2again.Address())
	}
	// The end of the first boot says nothing about the second.
	n3 := startNode(t, "n3", n1.Address())
	until(t, "all agree", func() bool { return n1.sees("n1", "n2", "n3") && n3.sees("n1", "n2", "n3") })
	for len(n1.events) > 0 {
		if e := <-n1.events; e.Kind == MemberFailed && e.Member.Boot == 2 {
			t.Errorf("event %+v", e)
		}
	}
}

func TestSameBootReturns(t *testing.T) {
	n1 := startNode(t, "n1")
	c, n2 := newConfig("n2", n1.Address())
	c.Bind = freeAddress(t)
	n2.start(t, c)
	n1.awaitKind(t, Joined, "n2")
	n2.Close()
	n1.awaitKind(t, MemberFailed, "n2")
	n2.start(t, c)
	n1.awaitKind(t, Joined, "n2")
}

// A node that nobody is told to join is found again through Known, and through
// the memory of failed members.
func TestSplitHeals(t *testing.T) {
	n1 := startNode(t, "n1")
	c, n2 := newConfig("n2", n1.Address())
	n2.start(t, c)
	n1.awaitKind(t, Joined, "n2")
	address := n2.Address()
	n2.Close()
	n1.awaitKind(t, MemberFailed, "n2")
	// It returns knowing nobody: n1 alone remembers.
	c.Join, c.Bind, c.Boot = nil, address, 2
	n2.start(t, c)
	n1.awaitKind(t, Joined, "n2")

	c3, n3 := newConfig("n3")
	c3.Known = func() []Known {
		return []Known{{NodeID: "id-of-n2", GossipAddress: address}, {NodeID: "id-of-n3", GossipAddress: "127.0.0.1:1"}, {NodeID: "gone"}}
	}
	n3.start(t, c3)
	until(t, "n3 is in", func() bool { return n1.sees("n1", "n2", "n3") })
}

func TestUpdateMetaReachesOthers(t *testing.T) {
	c1, n1 := newConfig("n1")
	c2, n2 := newConfig("n2")
	n1.cluster.Store("")
	n2.cluster.Store("")
	n1.start(t, c1)
	c2.Join = []string{n1.Address()}
	n2.start(t, c2)
	n1.awaitKind(t, Joined, "n2")
	n2.cluster.Store("c9")
	if err := n2.UpdateMeta(); err != nil {
		t.Fatal(err)
	}
	if e := n1.awaitKind(t, Updated, "n2"); e.Member.ClusterID != "c9" {
		t.Errorf("member %+v, want cluster c9", e.Member)
	}
	if got := n2.alive()["n2"].ClusterID; got != "c9" {
		t.Errorf("own entry: cluster %q, want c9", got)
	}
}

func TestJoinAtRunTime(t *testing.T) {
	n1, n2 := startNode(t, "n1"), startNode(t, "n2")
	if err := n2.Join("nonsense"); err == nil {
		t.Error("an address without a port was taken")
	}
	_, port, _ := net.SplitHostPort(n1.Address())
	if err := n2.Join("localhost:"+port, "no-such-host.invalid:1"); err != nil {
		t.Error(err)
	}
	n1.awaitKind(t, Joined, "n2")
	until(t, "the host without an address is a problem", func() bool { return n2.Problems()["no-such-host.invalid:1"] != nil })
}

func TestOtherClusterIsRefused(t *testing.T) {
	n1 := startNode(t, "n1")
	c, n2 := newConfig("n2", n1.Address())
	n2.cluster.Store("c2")
	n2.start(t, c)
	e := n2.awaitKind(t, Trouble, "")
	if !errors.Is(e.Err, ErrOtherCluster) || !strings.Contains(e.Err.Error(), "cluster c1") || !strings.Contains(e.Err.Error(), n1.Address()) {
		t.Errorf("error %v", e.Err)
	}
	// Nor through a third node that belongs to none yet.
	c3, n3 := newConfig("n3", n1.Address(), n2.Address())
	n3.cluster.Store("")
	n3.start(t, c3)
	until(t, "n3 knows all", func() bool { return n3.sees("n1", "n2", "n3") })
	until(t, "both know n3", func() bool { return n1.sees("n1", "n3") && n2.sees("n2", "n3") })
}

func TestKeyMismatch(t *testing.T) {
	key := func(b byte) [][]byte { return [][]byte{bytes.Repeat([]byte{b}, 32)} }
	c1, n1 := newConfig("n1")
	c1.Keys = key(1)
	n1.start(t, c1)
	tests := []struct {
		name string
		keys [][]byte
	}{{"another key", key(2)}, {"no key", nil}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, n := newConfig("n2", n1.Address())
			c.Keys = test.keys
			n.start(t, c)
			e := n.awaitKind(t, Trouble, "")
			for _, want := range []string{"gossip key mismatch with " + n1.Address(), "use the same --gossip-key on all nodes"} {
				if !errors.Is(e.Err, ErrKeyMismatch) || !strings.Contains(e.Err.Error(), want) {
					t.Errorf("error %q, want one with %q", e.Err, want)
				}
			}
			n.Close()
		})
	}
	t.Run("a key where there is none", func(t *testing.T) {
		plain := startNode(t, "n5")
		c, n := newConfig("n6", plain.Address())
		c.Keys = key(1)
		n.start(t, c)
		if e := n.awaitKind(t, Trouble, ""); !errors.Is(e.Err, ErrKeyMismatch) {
			t.Errorf("error %v", e.Err)
		}
	})
	t.Run("the same key", func(t *testing.T) {
		c, n := newConfig("n3", n1.Address())
		c.Keys = key(1)
		n.start(t, c)
		n1.awaitKind(t, Joined, "n3")
	})
	// Rotation: the new key is the second one here, the first one there.
	t.Run("a newer key that is known", func(t *testing.T) {
		c4, n4 := newConfig("n4")
		c4.Keys = append(key(4), key(1)...)
		n4.start(t, c4)
		if err := n1.AddKey(c4.Keys[0]); err != nil {
			t.Fatal(err)
		}
		if err := n4.Join(n1.Address()); err != nil {
			t.Fatal(err)
		}
		n1.awaitKind(t, Joined, "n4")
		if err := n1.UseKey(c4.Keys[0]); err != nil {
			t.Fatal(err)
		}
		if err := n1.RemoveKey(c4.Keys[0]); err == nil {
			t.Error("the key in use was removed")
		}
	})
	for _, m := range n1.Members() {
		if m.Name == "n2" {
			t.Errorf("a node with another key became a member: %+v", m)
		}
	}
}

func TestListenErrors(t *testing.T) {
	n1 := startNode(t, "n1")
	tests := []struct{ bind, advertise, want string }{
		{n1.Address(), "", "another process has this address"},
		{"localhost", "", "--gossip-listen"},
		{"127.0.0.1:http", "", "--gossip-listen"},
		{"127.0.0.1:70000", "", "--gossip-listen"},
		{"127.0.0.1:0", "0.0.0.0", "--advertise"},
		{"127.0.0.1:0", "127.0.0.1:x", "--advertise"},
	}
	for _, test := range tests {
		c, _ := newConfig("n2")
		c.Bind, c.Advertise = test.bind, test.advertise
		g, err := Start(c)
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("listen on %q, advertise %q: error %v, want one with %q", test.bind, test.advertise, err, test.want)
		}
		if strings.Contains(test.want, "gossip") && !errors.Is(err, ErrListen) {
			t.Errorf("error %v is not ErrListen", err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	tests := []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.NodeID = "" }, "NodeID"},
		{func(c *Config) { c.Name = "a#b" }, "--name"},
		{func(c *Config) { c.Name = strings.Repeat("x", 65) }, "--name"},
		{func(c *Config) { c.Bind = "" }, "Bind"},
		{func(c *Config) { c.Join = []string{"host"} }, "--join"},
		{func(c *Config) { c.Keys = [][]byte{make([]byte, 10)} }, "16, 24 or 32"},
		{func(c *Config) { c.Meta.Zone = strings.Repeat("z", 500) }, "512 are possible"},
	}
	for _, test := range tests {
		c, _ := newConfig("n1")
		test.change(&c)
		g, err := Start(c)
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want one with %q", err, test.want)
		}
	}
}

// Strangers on the stream port are turned away and harm nobody.
func TestGarbageStreams(t *testing.T) {
	n1 := startNode(t, "n1")
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "RMGO\xff\xff", "RMGO\x00\x03\xff\xff\xff", "RMGO\x00\x00", strings.Repeat("\x00", 100)} {
		conn, err := net.Dial("tcp", n1.Address())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, garbage)
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(deadline))
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection was kept", garbage)
		}
		conn.Close()
	}
	udp, err := net.Dial("udp", n1.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, garbage := range []string{"", "\x00", "\x08\xff\xff\xff\xff", strings.Repeat("\x07", 1000)} {
		udp.Write([]byte(garbage))
	}
	n2 := startNode(t, "n2", n1.Address())
	n2.awaitKind(t, Joined, "n1")
}
