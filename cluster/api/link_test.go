package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// testLink is the client's end of a link.
type testLink struct {
	t      *testing.T
	conn   net.Conn
	frames *api.FrameReader
	routes []*messages.Route
}

func (n *node) link() *testLink {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		n.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/link HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ringmaster-link/1\r\n\r\n"); err != nil {
		n.t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // the body is the link
	if err != nil {
		n.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		n.t.Fatalf("status %d", resp.StatusCode)
	}
	return &testLink{t: n.t, conn: conn, frames: api.NewFrameReader(in, 1<<24)}
}

func (l *testLink) send(calls ...*messages.Call) {
	l.t.Helper()
	buf, at := api.BeginFrame(nil)
	for _, c := range calls {
		var err error
		if buf, err = api.AppendCall(buf, c); err != nil {
			l.t.Fatal(err)
		}
	}
	api.EndFrame(buf, at)
	l.write(buf)
}

func (l *testLink) write(data []byte) {
	l.t.Helper()
	if _, err := l.conn.Write(data); err != nil {
		l.t.Fatal(err)
	}
}

// receive reads frames until it has so many replies.
func (l *testLink) receive(count int) map[uint64]*messages.Reply {
	l.t.Helper()
	replies := map[uint64]*messages.Reply{}
	for len(replies) < count {
		body, err := l.frames.Next()
		if err != nil {
			l.t.Fatalf("after %d of %d replies: %v", len(replies), count, err)
		}
		if err := api.DecodeReplies(body, func(r *messages.Reply) { replies[r.GetId()] = r },
			func(r *messages.Route) { l.routes = append(l.routes, r) }); err != nil {
			l.t.Fatal(err)
		}
	}
	return replies
}

// ended reads to the end of the link and gives the node's last word.
func (l *testLink) ended() string {
	l.t.Helper()
	last := ""
	for {
		body, err := l.frames.Next()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				l.t.Fatal("the link does not end")
			}
			return last
		}
		if err := api.DecodeReplies(body, func(r *messages.Reply) {
			if r.GetId() == 0 {
				last = r.GetMessage()
			}
		}, func(*messages.Route) {}); err != nil {
			l.t.Fatal(err)
		}
	}
}

func addCall(id uint64, sequence uint64) *messages.Call {
	return &messages.Call{
		Id: id, Kind: "counter", Key: "a", Method: "Add", Payload: []byte{8, 1},
		Request: &messages.RequestID{Client: []byte("0123456789abcdef"), Sequence: sequence, LowWater: 1},
	}
}

func TestLink(t *testing.T) {
	n := start(t)
	l := n.link()
	l.send(addCall(7, 1), addCall(8, 2))
	l.send(addCall(9, 2), &messages.Call{Id: 10, Kind: "counter", Key: "a", Method: "Get", Query: true})
	got := l.receive(4)
	for id, want := range map[uint64][]byte{7: {8, 1}, 8: {8, 2}, 9: {8, 2}, 10: {8, 2}} {
		if r := got[id]; r.GetCode() != messages.Code_CODE_OK || !bytes.Equal(r.GetPayload(), want) || r.GetMasterNode() != "01NODE" {
			t.Errorf("reply %d: %v, want payload %v", id, r, want)
		}
	}
	if !got[9].GetReplayed() {
		t.Errorf("the repeated number ran again")
	}
	if len(l.routes) != 1 || l.routes[0].GetPartitionCount() != 8 || l.routes[0].GetNodeId() != "01NODE" {
		t.Errorf("routes: %v", l.routes)
	}
	// A new route comes without being asked for.
	route := proto.CloneOf(l.routes[0])
	route.Epoch = 2
	n.engine.route.Store(route)
	for len(l.routes) < 2 {
		l.receive(0)
		body, err := l.frames.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := api.DecodeReplies(body, nil, func(r *messages.Route) { l.routes = append(l.routes, r) }); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(route, l.routes[1], protocmp.Transform()); diff != "" {
		t.Errorf("the new route (-want +got):\n%s", diff)
	}
	// An empty frame is answered.
	l.write(make([]byte, 4))
	if body, err := l.frames.Next(); err != nil || len(body) != 0 {
		t.Errorf("answer to an empty frame: %v, %v", body, err)
	}
}

func TestLinkRefusesCalls(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.BodyBytes = 100 })
	l := n.link()
	with := func(id uint64, change func(*messages.Call)) *messages.Call {
		c := addCall(id, id)
		change(c)
		return c
	}
	calls := map[messages.Code][]*messages.Call{
		messages.Code_CODE_NOT_FOUND: {
			with(1, func(c *messages.Call) { c.Kind = "ring"; c.Key = "table" }),
			with(2, func(c *messages.Call) { c.Method = "add" }),
		},
		messages.Code_CODE_INVALID: {
			with(3, func(c *messages.Call) { c.Key = "" }),
			with(4, func(c *messages.Call) { c.Query = true }),
			with(5, func(c *messages.Call) { c.Request.Client = []byte("short") }),
			with(6, func(c *messages.Call) { c.Request.Sequence = 0 }),
			with(7, func(c *messages.Call) { c.Request.LowWater = 100 }),
			with(8, func(c *messages.Call) { c.Payload = make([]byte, 101) }),
			with(9, func(c *messages.Call) { c.Payload = []byte{0xff} }),
			with(10, func(c *messages.Call) { c.IdempotencyKey = true }),
		},
	}
	for code, list := range calls {
		l.send(list...)
		for id, r := range l.receive(len(list)) {
			if r.GetCode() != code || r.GetMessage() == "" {
				t.Errorf("call %d: got %v, want %v", id, r, code)
			}
		}
	}
}

func TestLinkBoundsCallsUnderWay(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.LinkCalls = 3 })
	held := make(chan func(), 10)
	n.engine.hold = func(c *messages.Call, done func(*messages.Reply)) bool {
		held <- func() { done(&messages.Reply{Id: c.GetId(), Code: messages.Code_CODE_OK}) }
		return true
	}
	l := n.link()
	for id := range uint64(5) {
		l.send(addCall(id+1, id+1))
	}
	for id, r := range l.receive(2) {
		if r.GetCode() != messages.Code_CODE_OVERLOADED || r.GetRetryAfterMs() == 0 {
			t.Errorf("call %d: %v", id, r)
		}
	}
	for range 3 {
		(<-held)()
	}
	if got := l.receive(3); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

// Whatever comes that is no frame ends the link with a reason, and nothing else.
func TestLinkGarbage(t *testing.T) {
	n := start(t)
	frame := func(body string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	many := bytes.Repeat([]byte{0x0a, 0x00}, 70_000)
	for name, data := range map[string][]byte{
		"too large":       {0xff, 0xff, 0xff, 0xff},
		"no batch":        frame("\xff\xff\xff"),
		"cut off":         frame("\x0a\x7f"),
		"no call":         frame("\x0a\x02\xff\xff"),
		"too many calls":  frame(string(many)),
		"HTTP":            []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"kind not UTF-8":  frame("\x0a\x03\x12\x01\xff"),
		"group not ended": frame("\x0b"),
	} {
		l := n.link()
		l.write(data)
		if last := l.ended(); last == "" {
			t.Errorf("%s: the link ended without a word", name)
		}
	}
	if got := n.do(http.MethodPost, "/v1/actors/counter/a/Get", ""); got.status != 200 {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestLinkEndsWhenIdle(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.LinkIdle = 50 * time.Millisecond })
	if last := n.link().ended(); !strings.Contains(last, "nothing came") {
		t.Errorf("last word: %q", last)
	}
}

// A client that asks and does not read costs the node a bounded amount of memory.
func TestLinkOfSlowReader(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.LinkUnread = 1 << 20 })
	payload := make([]byte, 64<<10)
	n.engine.hold = func(c *messages.Call, done func(*messages.Reply)) bool {
		done(&messages.Reply{Id: c.GetId(), Code: messages.Code_CODE_OK, Payload: payload})
		return true
	}
	l := n.link()
	buf, at := api.BeginFrame(nil)
	for id := range uint64(4000) { // 256 MB of replies
		buf, _ = api.AppendCall(buf, addCall(id+1, id+1))
	}
	api.EndFrame(buf, at)
	l.write(buf)
	// Nothing is read: the link ends, or it holds back; reading on gives whole frames.
	for {
		if _, err := l.frames.Next(); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				return
			}
			var reset *net.OpError
			if errors.As(err, &reset) && !reset.Timeout() {
				return
			}
			t.Fatal(err)
		}
	}
}

func TestShutdownWaitsForLinks(t *testing.T) {
	n := start(t)
	came := make(chan func(*messages.Reply), 1)
	n.engine.hold = func(_ *messages.Call, done func(*messages.Reply)) bool {
		came <- done
		return true
	}
	l := n.link()
	l.send(addCall(5, 1))
	done := <-came
	ended := make(chan error, 1)
	go func() { ended <- n.server.Shutdown(context.Background()) }()
	done(&messages.Reply{Id: 5, Code: messages.Code_CODE_OK})
	if r := l.receive(1)[5]; r.GetCode() != messages.Code_CODE_OK {
		t.Errorf("got %v", r)
	}
	if err := <-ended; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	l.ended()
}

func TestLinksAreBounded(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.Links = 1 })
	l := n.link()
	got := n.do(http.MethodGet, "/v1/link", "", "Connection", "Upgrade", "Upgrade", "ringmaster-link/1")
	if got.status != http.StatusTooManyRequests || n.problem(got).Code != "overloaded" {
		t.Errorf("second link: %+v", got)
	}
	l.conn.Close()
}

// FuzzFrames reads whatever bytes there are as frames of calls and of replies.
func FuzzFrames(f *testing.F) {
	buf, at := api.BeginFrame(nil)
	buf, err := api.AppendCall(buf, addCall(1, 1))
	if err != nil {
		f.Fatal(err)
	}
	api.EndFrame(buf, at)
	f.Add(buf)
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 2, 0x0a, 0x00})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := api.NewFrameReader(bytes.NewReader(data), 1<<16)
		for {
			body, err := frames.Next()
			if err != nil {
				return
			}
			if len(body) > 1<<16 {
				t.Fatalf("a frame of %d bytes", len(body))
			}
			var calls []*messages.Call
			err = api.DecodeCalls(body, func(c *messages.Call) { calls = append(calls, c) })
			// What is taken for calls is what protobuf takes for them.
			var batch messages.CallBatch
			if whole := proto.Unmarshal(body, &batch); err == nil && whole == nil && len(batch.GetCalls()) != len(calls) {
				t.Fatalf("%d calls, protobuf has %d", len(calls), len(batch.GetCalls()))
			}
			_ = api.DecodeReplies(body, func(*messages.Reply) {}, func(*messages.Route) {})
		}
	})
}

// FuzzPath asks for whatever path there is: the answer is JSON or a view, never a
// panic.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/v1/actors/counter/a/Add", "/v1/actors/%zz/a/b", "/v1/actors//////", "/../v1/actors", "/v1/actors/counter/%00/Get", "/"} {
		f.Add(seed, `{"delta":1}`)
	}
	s, err := api.New(api.Config{Engine: newEngine(counter.Behavior())})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, path, body string) {
		fuzzOne(t, s, path, body)
	})
}
