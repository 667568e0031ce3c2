package transport

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// inline runs a mailbox in the goroutine that wakes it, so that the figures are
// those of the transport and not of the scheduler.
type inline struct{}

func (inline) Schedule(run func()) { run() }
func (inline) Throughput() int     { return 1 << 30 }

func startSink(b *testing.B, k *book, id string, change ...func(*Config)) (*testNode, *atomic.Int64) {
	n := &testNode{id: id, system: actor.NewActorSystem(actor.WithLoggerFactory(quiet))}
	n.system.ProcessRegistry.Address = id
	count := &atomic.Int64{}
	props := actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(proto.Message); ok {
			count.Add(1)
		}
	}, actor.WithDispatcher(inline{}))
	if _, err := n.system.Root.SpawnNamed(props, "sink"); err != nil {
		b.Fatal(err)
	}
	c := Config{
		System: n.system, NodeID: id, Listen: "127.0.0.1:0", Types: testTypes(), Targets: []string{"sink"}, Resolve: k.get,
		Silence: time.Minute,
	}
	for _, f := range change {
		f(&c)
	}
	return n.start(b, k, c), count
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flood sends b.N messages one way and reports the processor time per message,
// both sides summed.
func flood(b *testing.B, m proto.Message, sender bool, change ...func(*Config)) {
	k := newBook()
	one, _ := startSink(b, k, "one", change...)
	_, received := startSink(b, k, "two", change...)
	target := actor.NewPID("two", "sink")
	var from *actor.PID
	if sender {
		from = actor.NewPID("one", "sink")
	}
	send := func() {
		if from != nil {
			one.system.Root.RequestWithCustomSender(target, m, from)
		} else {
			one.system.Root.Send(target, m)
		}
	}
	send()
	until(b, "the link stands", func() bool { return received.Load() == 1 })
	size := int64(proto.Size(m))
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	for i := range b.N {
		// At most 16 MiB under way: a real sender waits for answers, too.
		for i%64 == 0 && (int64(i)-received.Load())*size > 16<<20 {
			time.Sleep(50 * time.Microsecond)
		}
		send()
	}
	until(b, "all have arrived", func() bool { return received.Load() == int64(b.N)+1 })
	b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
}

func smallCall() *messages.Call {
	return &messages.Call{
		Id: 123456, Kind: "counter", Key: "page-42", Method: "Add", Payload: []byte("\x08\x01"), TimeoutMs: 5000,
		Request: &messages.RequestID{Client: make([]byte, 16), Sequence: 1234, LowWater: 1200},
	}
}

func BenchmarkCall(b *testing.B) { flood(b, smallCall(), true) }
func BenchmarkReply(b *testing.B) {
	flood(b, &messages.Reply{Id: 123456, Payload: []byte("\x08\x01")}, false)
}

func BenchmarkRaft1KiB(b *testing.B) {
	flood(b, &messages.RaftBatch{Frames: make([]byte, 1<<10)}, false)
}

func BenchmarkRaft64KiB(b *testing.B) {
	flood(b, &messages.RaftBatch{Frames: make([]byte, 64<<10)}, false)
}
func BenchmarkCallTLS(b *testing.B) { a := newAuthority(b); flood(b, smallCall(), true, tlsFor(a)) }
func BenchmarkRaftTLS64KiB(b *testing.B) {
	a := newAuthority(b)
	flood(b, &messages.RaftBatch{Frames: make([]byte, 64<<10)}, false, tlsFor(a))
}

func tlsFor(a *authority) func(*Config) {
	return func(c *Config) { c.TLS = a.config(c.NodeID) }
}

// BenchmarkEncode and BenchmarkDecode are one side each, without the network.
func BenchmarkEncode(b *testing.B) {
	q := queue{types: mustTypes(b), pool: &chunkPool{}, bytesMax: 1 << 30, frameMax: 16 << 20, wake: make(chan struct{}, 1)}
	m := smallCall()
	b.ReportAllocs()
	for i := range b.N {
		q.push("calls", "coordinator/7", m)
		if i%1000 == 999 {
			q.done(q.take())
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	types := mustTypes(b)
	var enc encoder
	header := enc.header(nil, types.number(&messages.Call{}), "calls", "coordinator/7")
	d := decoder{types: types.types, elementsMax: 65536}
	if _, err := d.decode(header); err != nil {
		b.Fatal(err)
	}
	record, err := proto.MarshalOptions{}.MarshalAppend(enc.header(nil, types.number(&messages.Call{}), "calls", "coordinator/7"), smallCall())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := d.decode(record); err != nil {
			b.Fatal(err)
		}
	}
}
