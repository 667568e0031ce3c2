package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	pb "github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// within is a context that ends when the test should have been over long ago.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// addOne adds 1 to a counter and gives its value.
func addOne(ctx context.Context, c actors.Client, key string) (int64, error) {
	reply, err := counter.Add.Call(ctx, c, key, &pb.AddRequest{Delta: 1})
	return reply.GetValue(), err
}

func valueOf(t *testing.T, c actors.Client, key string) int64 {
	t.Helper()
	reply, err := counter.Get.Call(within(t, 20*time.Second), c, key, &pb.GetRequest{})
	if err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return reply.GetValue()
}

// Calls go to the master at once, since the route says where it is.
func TestClientFindsMasters(t *testing.T) {
	w := newClientWorld(t, 3)
	c := w.dial()
	awaitThat(t, "links to all nodes", func() bool {
		up := 0
		for _, p := range *c.peers.Load() {
			if p.up() {
				up++
			}
		}
		return up == 3
	})
	var wrong atomic.Int64
	for _, n := range w.nodes {
		n.on(func(call *messages.Call) *messages.Reply {
			if n.route.Load().GetMasters()[c.partitionOf(call)] != n.id {
				wrong.Add(1)
			}
			return nil
		})
	}
	for i := range 200 {
		key := fmt.Sprint(i % 20)
		if got, err := addOne(within(t, 10*time.Second), c, key); err != nil || got != int64(i/20)+1 {
			t.Fatalf("call %d: %d, %v", i, got, err)
		}
	}
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d calls went to a node that is not the master", n)
	}
}

// awaitThat polls until a condition holds.
func awaitThat(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(2 * time.Millisecond); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Other members are learned from the one node that Dial was given.
func TestClientLearnsMembers(t *testing.T) {
	w := newClientWorld(t, 3)
	c, err := Dial(within(t, 10*time.Second), w.addrs()[:1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	awaitThat(t, "links to all nodes", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range w.nodes {
			if p := c.byNode[n.id]; p == nil || !p.up() {
				return false
			}
		}
		return len(*c.peers.Load()) == 3
	})
	// A member that leaves the table is let go once it is down.
	w.form(w.nodes[:2])
	w.nodes[2].stop()
	awaitThat(t, "the third node to be forgotten", func() bool { return len(*c.peers.Load()) == 2 })
	if _, err := addOne(within(t, 10*time.Second), c, "a"); err != nil {
		t.Error(err)
	}
}

// Nodes that die and come back under load: nothing fails, nothing happens twice.
func TestClientSurvivesNodes(t *testing.T) {
	w := newClientWorld(t, 3)
	c := w.dial()
	const callers, keys = 32, 8
	var acked [keys]atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := random.IntN(keys)
				if _, err := addOne(t.Context(), c, fmt.Sprint(key)); err != nil {
					t.Errorf("caller %d: %v", i, err)
					return
				}
				acked[key].Add(1)
			}
		})
	}
	for round := range 20 {
		n := w.nodes[round%3]
		before := c.acks(&acked)
		n.stop()
		awaitThat(t, "calls to go on without a node", func() bool { return c.acks(&acked) > before+100 })
		n.restart()
		before = c.acks(&acked)
		awaitThat(t, "calls to go on with it", func() bool { return c.acks(&acked) > before+100 })
	}
	close(stop)
	running.Wait()
	for key := range keys {
		if got, want := valueOf(t, c, fmt.Sprint(key)), acked[key].Load(); got != want {
			t.Errorf("counter %d is %d, and %d were acknowledged", key, got, want)
		}
	}
}

func (c *Client) acks(acked *[8]atomic.Int64) (sum int64) {
	for i := range acked {
		sum += acked[i].Load()
	}
	return sum
}

// What a node refuses is tried again, elsewhere where that helps.
func TestClientTriesAgain(t *testing.T) {
	for _, refusal := range []*messages.Reply{
		{Code: messages.Code_CODE_NOT_MASTER, MasterNode: "node-2"},
		{Code: messages.Code_CODE_UNAVAILABLE, Message: "no master"},
		{Code: messages.Code_CODE_OVERLOADED, RetryAfterMs: 5},
		{Code: messages.Code_CODE_OUTCOME_UNKNOWN},
	} {
		w := newClientWorld(t, 2)
		c := w.dial()
		var refused atomic.Int64
		for _, n := range w.nodes {
			n.on(func(*messages.Call) *messages.Reply {
				if refused.Add(1) <= 3 {
					return refusal
				}
				return nil
			})
		}
		if got, err := addOne(within(t, 20*time.Second), c, "a"); err != nil || got != 1 {
			t.Errorf("%v: got %d, %v", refusal, got, err)
		}
		if refused.Load() < 4 {
			t.Errorf("%v: it was never refused", refusal)
		}
	}
}

// Where the first answer is wanted, it is given.
func TestClientFailsFast(t *testing.T) {
	w := newClientWorld(t, 1)
	c := w.dial(WithFailFast())
	w.nodes[0].on(func(*messages.Call) *messages.Reply {
		return &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: "partition 3: n2 is missing", Missing: []string{"n2"}}
	})
	_, err := addOne(within(t, 20*time.Second), c, "a")
	var e *actors.Error
	if !errors.As(err, &e) || e.Code != messages.Code_CODE_UNAVAILABLE || e.Message != "partition 3: n2 is missing" || len(e.Missing) != 1 {
		t.Errorf("got %v", err)
	}
}

// A call that no node took is unavailable; one that may have run is unknown, and
// its number settles it.
func TestClientSaysWhatItKnows(t *testing.T) {
	w := newClientWorld(t, 1)
	c := w.dial()
	w.nodes[0].on(func(*messages.Call) *messages.Reply {
		return &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: "no majority"}
	})
	_, err := addOne(within(t, 50*time.Millisecond), c, "a")
	if actors.CodeOf(err) != messages.Code_CODE_UNAVAILABLE || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("refused: %v", err)
	}

	w.nodes[0].on(func(*messages.Call) *messages.Reply { return lateReply })
	_, err = addOne(within(t, 50*time.Millisecond), c, "a")
	var unknown *actors.Error
	if !errors.As(err, &unknown) || unknown.Code != messages.Code_CODE_OUTCOME_UNKNOWN || unknown.Request == nil {
		t.Fatalf("no reply: %v", err)
	}
	w.nodes[0].on(func(*messages.Call) *messages.Reply { return nil })
	// Later commands do not make the partition forget it.
	for range 3 {
		if _, err := addOne(within(t, 20*time.Second), c, "a"); err != nil {
			t.Fatal(err)
		}
	}
	payload, err := proto.Marshal(&pb.AddRequest{Delta: 1})
	if err != nil {
		t.Fatal(err)
	}
	settled := make(chan *messages.Reply, 1)
	c.Go(&messages.Call{Kind: "counter", Key: "a", Method: "Add", Payload: payload, Request: unknown.Request},
		func(r *messages.Reply) { settled <- r })
	if r := <-settled; r.GetCode() != messages.Code_CODE_OK || !r.GetReplayed() {
		t.Errorf("asked again: %v", r)
	}
	if got := valueOf(t, c, "a"); got != 4 {
		t.Errorf("the counter is %d, want 4", got)
	}

	w.nodes[0].stop()
	awaitThat(t, "the client to notice", func() bool { return !(*c.peers.Load())[0].up() })
	_, err = addOne(within(t, 50*time.Millisecond), c, "b")
	if actors.CodeOf(err) != messages.Code_CODE_UNAVAILABLE {
		t.Errorf("nobody there: %v", err)
	}
	_, err = counter.Get.Call(within(t, 50*time.Millisecond), c, "b", &pb.GetRequest{})
	if actors.CodeOf(err) != messages.Code_CODE_UNAVAILABLE {
		t.Errorf("query, nobody there: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = addOne(ended, c, "b"); !errors.Is(err, context.Canceled) || actors.CodeOf(err) != messages.Code_CODE_UNAVAILABLE {
		t.Errorf("canceled before: %v", err)
	}
}

// A partition that forgot the session gets a new one; an attempt of which nobody
// knows the end is not numbered again.
func TestClientOpensNewSessions(t *testing.T) {
	w := newClientWorld(t, 1)
	c := w.dial()
	for want := int64(1); want < 4; want++ {
		if got, err := addOne(within(t, 20*time.Second), c, "a"); err != nil || got != want {
			t.Fatalf("got %d, %v; want %d", got, err, want)
		}
		w.mu.Lock()
		clear(w.sessions)
		w.mu.Unlock()
	}
	var came atomic.Int64
	w.nodes[0].on(func(*messages.Call) *messages.Reply {
		if came.Add(1) == 1 {
			return &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN}
		}
		return &messages.Reply{Code: messages.Code_CODE_SESSION_EXPIRED, Message: "forgotten"}
	})
	if _, err := addOne(within(t, 20*time.Second), c, "a"); actors.CodeOf(err) != messages.Code_CODE_SESSION_EXPIRED {
		t.Errorf("got %v", err)
	}
}

// A node that stands still, as after SIGSTOP, is not waited for: its link is given
// up, and the calls go elsewhere under their numbers.
func TestClientLeavesSilentNodes(t *testing.T) {
	w := newClientWorld(t, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := &worldNode{world: w, id: "silent", addr: l.Addr().String()}
	w.nodes = append(w.nodes, silent)
	w.form(w.nodes)
	var standing sync.WaitGroup
	standing.Go(func() { standStill(l, silent.route.Load()) })
	defer standing.Wait()
	defer l.Close()
	c := w.dial()
	awaitThat(t, "links", func() bool {
		peers := *c.peers.Load()
		return len(peers) == 2 && peers[0].up() && peers[1].up()
	})
	begin := time.Now()
	for i := range 8 {
		if _, err := addOne(within(t, 30*time.Second), c, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("eight calls took %v", took)
	}
}

// standStill makes one link, tells the route, and says nothing after that. Later
// connections get nothing at all.
func standStill(l net.Listener, route *messages.Route) {
	var held []net.Conn
	for {
		conn, err := l.Accept()
		if err != nil {
			break
		}
		held = append(held, conn)
		if len(held) > 1 {
			continue
		}
		frame, at := api.BeginFrame([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.LinkProtocol + "\r\n\r\n"))
		if frame, err = api.AppendRoute(frame, route); err != nil {
			break
		}
		api.EndFrame(frame, at)
		if _, err := conn.Write(frame); err != nil {
			break
		}
	}
	for _, conn := range held {
		conn.Close()
	}
}

func TestDial(t *testing.T) {
	if _, err := Dial(t.Context(), nil); err == nil {
		t.Error("no address: no error")
	}
	_, err := Dial(within(t, 200*time.Millisecond), []string{"127.0.0.1:1"})
	if !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody there: %v", err)
	}
	// A cluster that is not formed yet is waited for.
	w := newClientWorld(t, 1)
	route := w.nodes[0].route.Swap(&messages.Route{NodeId: w.nodes[0].id})
	if _, err := Dial(within(t, 200*time.Millisecond), w.addrs()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("not formed: %v", err)
	}
	dialed := make(chan error, 1)
	go func() {
		c, err := Dial(within(t, 20*time.Second), w.addrs())
		if err == nil {
			c.Close()
		}
		dialed <- err
	}()
	w.nodes[0].route.Store(route)
	if err := <-dialed; err != nil {
		t.Errorf("formed meanwhile: %v", err)
	}
}

// A closed client answers what it has, and everything after.
func TestClientClose(t *testing.T) {
	w := newClientWorld(t, 1)
	c := w.dial()
	w.nodes[0].on(func(*messages.Call) *messages.Reply { return swallowed })
	replies := make(chan *messages.Reply, 3)
	call := func(query bool) *messages.Call {
		method := "Add"
		if query {
			method = "Get"
		}
		return &messages.Call{Kind: "counter", Key: "a", Method: method, Query: query}
	}
	c.Go(call(false), func(r *messages.Reply) { replies <- r })
	awaitThat(t, "the call to arrive", func() bool { return w.nodes[0].came.Load() == 1 })
	c.Close()
	if r := <-replies; r.GetCode() != messages.Code_CODE_OUTCOME_UNKNOWN {
		t.Errorf("under way: %v", r)
	}
	c.Go(call(false), func(r *messages.Reply) { replies <- r })
	c.Go(call(true), func(r *messages.Reply) { replies <- r })
	for range 2 {
		if r := <-replies; r.GetCode() != messages.Code_CODE_UNAVAILABLE {
			t.Errorf("after the end: %v", r)
		}
	}
}

// The client within a node needs no connection and keeps the same promises.
func TestLocalClient(t *testing.T) {
	w := newClientWorld(t, 1)
	c := newLocalClient(w.nodes[0])
	defer c.Close()
	var refused atomic.Int64
	w.nodes[0].on(func(*messages.Call) *messages.Reply {
		switch refused.Add(1) {
		case 1:
			return &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE}
		case 2:
			return &messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN}
		}
		return nil
	})
	for want := int64(1); want <= 100; want++ {
		if got, err := addOne(within(t, 20*time.Second), c, "a"); err != nil || got != want {
			t.Fatalf("got %d, %v; want %d", got, err, want)
		}
	}
	w.nodes[0].on(func(*messages.Call) *messages.Reply { return swallowed })
	if _, err := addOne(within(t, 50*time.Millisecond), c, "a"); actors.CodeOf(err) != messages.Code_CODE_OUTCOME_UNKNOWN {
		t.Errorf("swallowed: %v", err)
	}
	// A node without a cluster: calls wait until there is one.
	n := &worldNode{world: w, id: "lone"}
	n.route.Store(&messages.Route{NodeId: "lone"})
	early := newLocalClient(n)
	defer early.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := addOne(within(t, 20*time.Second), early, "b")
		answered <- err
	}()
	n.route.Store(w.nodes[0].route.Load())
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestSessionNumbers(t *testing.T) {
	var p partitionSession
	var ops []*operation
	number := func() *operation {
		op := &operation{call: &messages.Call{}}
		p.number(op)
		ops = append(ops, op)
		return op
	}
	for i := range uint64(200) {
		op := number()
		if got := op.call.GetRequest(); got.GetSequence() != i+1 || got.GetLowWater() != 1 {
			t.Fatalf("command %d got %v", i, got)
		}
	}
	for _, op := range ops[1:] { // all but the first
		op.settled.Store(true)
	}
	if got := number().call.GetRequest(); got.GetLowWater() != 1 {
		t.Errorf("the first is open, and the mark is at %d", got.GetLowWater())
	}
	ops[0].settled.Store(true)
	ops[len(ops)-1].settled.Store(true)
	if got := number().call.GetRequest(); got.GetLowWater() != 1 {
		t.Errorf("the partition has not stored anything, and the mark is at %d", got.GetLowWater())
	}
	ops[0].session.known.Store(true)
	if got := number().call.GetRequest(); got.GetLowWater() != 202 || got.GetSequence() != 203 {
		t.Errorf("got %v", got)
	}
	first := ops[0].session
	for range sessionSpanMax {
		number()
	}
	if last := number(); last.session == first || last.call.GetRequest().GetSequence() > sessionSpanMax {
		t.Errorf("a session spans more than %d numbers", sessionSpanMax)
	}
	p.retire(p.current)
	if got := number().call.GetRequest(); got.GetSequence() != 1 {
		t.Errorf("after retiring: %v", got)
	}
}
