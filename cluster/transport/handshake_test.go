package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	codeMalformed   = messages.LinkRefusalCode_LINK_REFUSAL_CODE_MALFORMED
	codeProtocol    = messages.LinkRefusalCode_LINK_REFUSAL_CODE_PROTOCOL
	codeCluster     = messages.LinkRefusalCode_LINK_REFUSAL_CODE_CLUSTER
	codeWrongNode   = messages.LinkRefusalCode_LINK_REFUSAL_CODE_WRONG_NODE
	codeSelf        = messages.LinkRefusalCode_LINK_REFUSAL_CODE_SELF
	codeDuplicate   = messages.LinkRefusalCode_LINK_REFUSAL_CODE_DUPLICATE_NODE
	codeStale       = messages.LinkRefusalCode_LINK_REFUSAL_CODE_STALE_BOOT
	codeCertificate = messages.LinkRefusalCode_LINK_REFUSAL_CODE_CERTIFICATE
)

// stranger is a hand-made other end of a link.
type stranger struct {
	net.Conn
	t testing.TB
}

func dialStranger(t testing.TB, n *testNode) *stranger {
	t.Helper()
	conn, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { conn.Close() })
	return &stranger{conn, t}
}

// hello is a valid hello of node "x" to node "one", which a test then spoils.
func validHello() *messages.LinkHello {
	return &messages.LinkHello{
		Protocol: 1, ProtocolMin: 1, ClusterId: "c1", NodeId: "x", Name: "mister-x", Boot: 5, Instance: newInstance(),
		WantNodeId: "one", Types: []string{"ringmaster.Unheard", "ringmaster.Call"},
	}
}

func (s *stranger) exchange(h *messages.LinkHello) *messages.LinkHello {
	s.t.Helper()
	if err := writeHello(s, h); err != nil {
		s.t.Fatal(err)
	}
	answer, err := readHello(s)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer
}

// wantClosed waits until the other side ends the connection.
func (s *stranger) wantClosed() {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, s); errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatal("the connection was kept")
	}
}

func TestRefusedHellos(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	tests := []struct {
		name   string
		change func(*messages.LinkHello)
		want   messages.LinkRefusalCode
		reason string
	}{
		{"too new", func(h *messages.LinkHello) { h.Protocol, h.ProtocolMin = 9, 8 }, codeProtocol, "upgrade the older"},
		{"too old", func(h *messages.LinkHello) { h.NodeId, h.Protocol, h.ProtocolMin = "y", 0, 0 }, codeProtocol, "upgrade the older"},
		{"other cluster", func(h *messages.LinkHello) { h.ClusterId = "c2" }, codeCluster, "cluster c2"},
		{"meant another", func(h *messages.LinkHello) { h.WantNodeId = "two" }, codeWrongNode, "this is node one"},
		{"itself", func(h *messages.LinkHello) { h.NodeId, h.Instance = "one", one.instance }, codeSelf, "reached itself"},
		{"a double", func(h *messages.LinkHello) { h.NodeId = "one" }, codeDuplicate, "copy of the other"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := validHello()
			test.change(h)
			s := dialStranger(t, one)
			r := s.exchange(h).GetRefusal()
			if r.GetCode() != test.want || !strings.Contains(r.GetReason(), test.reason) {
				t.Errorf("refusal %v, want %v with %q", r, test.want, test.reason)
			}
			s.wantClosed()
			if e := receive(t, one.refused, "refusal"); e.Code != test.want || e.Remote {
				t.Errorf("told of %+v, want %v", e, test.want)
			}
		})
	}
}

func TestMalformedHellos(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	frame := func(h *messages.LinkHello) []byte {
		body, err := proto.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		return append(binary.BigEndian.AppendUint32([]byte(helloMagic), uint32(len(body))), body...)
	}
	changed := func(change func(*messages.LinkHello)) []byte {
		h := validHello()
		change(h)
		return frame(h)
	}
	many := make([]string, typesMax+1)
	tests := map[string][]byte{
		"http":         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"4 GiB":        []byte(helloMagic + "\xff\xff\xff\xff"),
		"too large":    binary.BigEndian.AppendUint32([]byte(helloMagic), helloMax+1),
		"no protobuf":  []byte(helloMagic + "\x00\x00\x00\x02\xff\xff"),
		"empty":        frame(&messages.LinkHello{}),
		"no id":        changed(func(h *messages.LinkHello) { h.NodeId = "" }),
		"long id":      changed(func(h *messages.LinkHello) { h.NodeId = strings.Repeat("x", nodeIDMax+1) }),
		"long name":    changed(func(h *messages.LinkHello) { h.Name = strings.Repeat("x", 300) }),
		"no instance":  changed(func(h *messages.LinkHello) { h.Instance = nil }),
		"no such lane": changed(func(h *messages.LinkHello) { h.Lane = 77 }),
		"many types":   changed(func(h *messages.LinkHello) { h.Types = many }),
		"versions":     changed(func(h *messages.LinkHello) { h.ProtocolMin = 3 }),
	}
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			s := dialStranger(t, one)
			if _, err := s.Write(bytes); err != nil {
				t.Fatal(err)
			}
			s.wantClosed()
		})
	}
	if e := receive(t, one.refused, "refusal"); e.Code != codeMalformed {
		t.Errorf("told of %+v, want %v", e, codeMalformed)
	}
	if got := one.Stats().Refused; got != uint64(len(tests)) {
		t.Errorf("Refused = %d, want %d", got, len(tests))
	}
}

func TestSilentStrangersAreClosed(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one", func(c *Config) { c.HandshakeTimeout = 50 * time.Millisecond })
	dialStranger(t, one).wantClosed()
	s := dialStranger(t, one)
	s.Write([]byte(helloMagic))
	s.wantClosed()
}

func TestConnectionsAreBounded(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one", func(c *Config) { c.ConnectionsMax = 2 })
	dialStranger(t, one)
	dialStranger(t, one)
	until(t, "two are admitted", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.accepted == 2
	})
	dialStranger(t, one).wantClosed()
}

func TestUnknownTypesAndKindsAreSkipped(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	s := dialStranger(t, one)
	if r := s.exchange(validHello()); r.GetRefusal() != nil {
		t.Fatal(r.GetRefusal())
	}
	call, err := proto.Marshal(&messages.Call{Id: 7})
	if err != nil {
		t.Fatal(err)
	}
	var enc encoder
	record := func(kind byte, body []byte) []byte {
		return append(append(binary.AppendUvarint(nil, uint64(1+len(body))), kind), body...)
	}
	var out []byte
	out = append(out, record(99, []byte("from the future"))...)
	out = append(out, record(kindEnvelope, append(enc.header(nil, 1, "inbox", ""), "whatever"...))...)
	out = append(out, record(kindEnvelope, append(enc.header(nil, 3, "inbox", ""), "beyond the list"...))...)
	out = append(out, record(kindEnvelope, append(enc.header(nil, 2, "inbox", ""), "\xff\xff\xff"...))...)
	out = append(out, record(kindEnvelope, append(enc.header(nil, 2, "inbox", "asker"), call...))...)
	if _, err := s.Write(out); err != nil {
		t.Fatal(err)
	}
	g := receive(t, one.inbox, "call")
	if id := g.message.(*messages.Call).GetId(); id != 7 || g.sender.GetAddress() != "x" || g.sender.GetId() != "asker" {
		t.Errorf("got call %d from %v", id, g.sender)
	}
	if st := one.Stats(); st.UnknownType != 2 || st.Malformed != 1 {
		t.Errorf("stats %+v, want 2 unknown types and 1 malformed message", st)
	}
}

func TestGarbageRecordsEndTheConnection(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	tests := map[string]string{
		"oversized":      "\xff\xff\xff\xff\x7f\x03",
		"endless length": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
		"zero length":    "\x00\x00\x00",
		"no target":      "\x03\x03\x02\x00",
		"unknown name":   "\x05\x03\x02\x09\x00\x00",
		"name cut off":   "\x05\x03\x02\x01\x7f\x61",
	}
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			s := dialStranger(t, one)
			if r := s.exchange(validHello()); r.GetRefusal() != nil {
				t.Fatal(r.GetRefusal())
			}
			s.Write([]byte(bytes))
			s.wantClosed()
		})
	}
	two := startNode(t, b, "two")
	two.send("one", "inbox", &messages.Call{Id: 1})
	receive(t, one.inbox, "call")
}

func TestWrongNodeAtTheAddress(t *testing.T) {
	b := newBook()
	one, two := startNode(t, b, "one"), startNode(t, b, "two")
	b.set("three", two.Addr().String())
	b.set("four", one.Addr().String())
	one.Connect("three")
	if e := receive(t, one.refused, "refusal"); e.Code != codeWrongNode || !e.Remote || e.Peer != "three" {
		t.Errorf("told of %+v", e)
	}
	one.wantNotice(t, "three", false)
	one.Connect("four")
	if e := await(t, one.refused, "refusal", func(e *HandshakeError) bool { return e.Remote && e.Peer == "four" }); e.Code != codeSelf {
		t.Errorf("told of %+v", e)
	}
}

func TestClusterIDs(t *testing.T) {
	b := newBook()
	none := func(c *Config) { c.ClusterID = "" }
	one, two := startNode(t, b, "one", none), startNode(t, b, "two", none)
	one.Connect("two")
	one.wantNotice(t, "two", true)
	two.wantNotice(t, "one", true)
	// While one of the two has none, they talk.
	if err := one.SetClusterID("c1"); err != nil {
		t.Fatal(err)
	}
	one.send("two", "inbox", &messages.Call{})
	receive(t, two.inbox, "call")
	three := startNode(t, b, "three")
	three.Connect("two")
	three.wantNotice(t, "two", true)
	two.wantNotice(t, "three", true)
	// Two joins another cluster than three, whose hello it knows.
	if err := two.SetClusterID("c2"); err != nil {
		t.Fatal(err)
	}
	three.wantNotice(t, "two", false)
	if e := await(t, three.refused, "refusal", func(e *HandshakeError) bool { return e.Peer == "two" }); e.Code != codeCluster {
		t.Errorf("told of %+v", e)
	}
	two.wantNotice(t, "three", false)
	if err := two.SetClusterID("c3"); err == nil {
		t.Error("a node changed its cluster")
	}
}

func TestTwoProcessesWithOneNodeID(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one")
	boot := func(n uint64) *messages.LinkHello {
		h := validHello()
		h.Boot = n
		return h
	}
	first := dialStranger(t, one)
	hello := boot(5)
	if r := first.exchange(hello); r.GetRefusal() != nil {
		t.Fatal(r.GetRefusal())
	}
	if r := dialStranger(t, one).exchange(boot(5)).GetRefusal(); r.GetCode() != codeDuplicate {
		t.Errorf("same boot, another process: %v", r)
	}
	if r := dialStranger(t, one).exchange(boot(4)).GetRefusal(); r.GetCode() != codeStale {
		t.Errorf("older boot: %v", r)
	}
	bulk := proto.Clone(hello).(*messages.LinkHello)
	bulk.Lane = uint32(Bulk)
	if r := dialStranger(t, one).exchange(bulk).GetRefusal(); r != nil {
		t.Errorf("other lane of the same process: %v", r)
	}
	// The same process again: its old connection must be half-open.
	if r := dialStranger(t, one).exchange(hello).GetRefusal(); r != nil {
		t.Errorf("same process: %v", r)
	}
	first.wantClosed()
	if r := dialStranger(t, one).exchange(boot(6)).GetRefusal(); r != nil {
		t.Errorf("newer boot: %v", r)
	}
}

// A peer that restarts is found by its own dial, whatever our backoff.
func TestReturningPeerEndsTheBackoff(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one", func(c *Config) { c.BackoffMin, c.BackoffMax = time.Hour, time.Hour })
	one.Connect("two")
	one.wantNotice(t, "two", false)
	two := startNode(t, b, "two")
	two.send("one", "inbox", &messages.Call{})
	one.wantNotice(t, "two", true)
}

func TestPeersAreBounded(t *testing.T) {
	b := newBook()
	one := startNode(t, b, "one", func(c *Config) { c.PeersMax = 1 })
	one.Connect("two")
	if p, ok := one.resolve(actor.NewPID("three", "inbox")); ok {
		t.Errorf("resolved %v", p)
	}
	if _, ok := one.resolve(actor.NewPID("", "inbox")); ok {
		t.Error("resolved the empty address")
	}
	if n := one.Stats().PeersRefused; n != 1 {
		t.Errorf("PeersRefused = %d, want 1", n)
	}
}
