package cluster

import (
	"context"
	"net"
	"testing"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// echoEngine answers at once, so that what is left is the cost of client, link and
// server.
type echoEngine struct {
	route *messages.Route
	kinds []*actors.Behavior
}

func (e *echoEngine) Route() *messages.Route                      { return e.route }
func (e *echoEngine) Table() *messages.Table                      { return nil }
func (e *echoEngine) Status(context.Context) (*api.Status, error) { return &api.Status{}, nil }
func (e *echoEngine) Kinds() []*actors.Behavior                   { return e.kinds }
func (e *echoEngine) Submit(c *messages.Call, done func(*messages.Reply)) {
	done(&messages.Reply{Id: c.GetId(), Code: messages.Code_CODE_OK, Payload: c.GetPayload(), MasterNode: "a", Partition: 3, Term: 4, Index: 1000})
}

// BenchmarkClient measures client and server together: the processor time of both
// ends of one call, 256 calls under way.
func BenchmarkClient(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	route := &messages.Route{ClusterId: "c", PartitionCount: 64, NodeId: "a", Members: []*messages.Member{{NodeId: "a", ApiAddress: l.Addr().String()}}}
	for range 65 {
		route.Masters = append(route.Masters, "a")
	}
	s, err := api.New(api.Config{Engine: &echoEngine{route: route, kinds: []*actors.Behavior{counter.Behavior()}}})
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	c, err := Dial(b.Context(), []string{l.Addr().String()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = string(rune('a'+i%26)) + "-key-" + string(rune('0'+i%10)) + string(rune('a'+i/40))
	}
	payload := make([]byte, 66)
	b.ReportAllocs()
	b.ResetTimer()
	const callers = 256
	ended := make(chan struct{}, callers)
	left := make(chan int, b.N)
	for i := range b.N {
		left <- i
	}
	close(left)
	for range callers {
		var next func(*messages.Reply)
		next = func(*messages.Reply) {
			i, ok := <-left
			if !ok {
				ended <- struct{}{}
				return
			}
			c.Go(&messages.Call{Kind: "counter", Key: keys[i%len(keys)], Method: "Add", Payload: payload}, next)
		}
		next(nil)
	}
	for range callers {
		<-ended
	}
}
