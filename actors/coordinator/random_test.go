package coordinator

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

var seedFlag = flag.Uint64("seed", 0, "run TestRandomSchedules with this seed only")

// TestRandomSchedules plays random schedules of masters, links, replicas and
// clients against a model of the partition that deduplicates by number, and
// checks what the package promises.
func TestRandomSchedules(t *testing.T) {
	seeds := uint64(250)
	if testing.Short() {
		seeds = 40
	}
	first, last := uint64(1), seeds
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	codes := map[messages.Code]int{}
	for seed := first; seed <= last; seed++ {
		p := newPlay(t, seed)
		for range 500 {
			p.step()
		}
		p.finish()
		for _, replies := range p.w.answers {
			codes[replies[0].GetCode()]++
		}
		if t.Failed() {
			t.Fatalf("repeat with: go test ./actors/coordinator -run TestRandomSchedules -seed %d", seed)
		}
	}
	t.Logf("answers: %v", codes)
	if *seedFlag != 0 {
		return
	}
	for _, code := range []messages.Code{
		messages.Code_CODE_OK, messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_OVERLOADED, messages.Code_CODE_OUTCOME_UNKNOWN,
	} {
		if codes[code] == 0 {
			t.Errorf("no schedule led to %s: the test does not test", code)
		}
	}
}

// play is one schedule and the model of the partition.
type play struct {
	t    *testing.T
	seed uint64
	rng  *rand.Rand
	w    *world

	nextID  uint64
	nextSeq uint64
	nodes   []string
	master  string
	term    uint64
	replica *actor.PID
	// limbo holds commands that were proposed and are not committed.
	limbo   []*messages.Call
	here    []*call.Request // those in limbo that came from this node
	replies []reply         // on their way back

	low  map[string]uint64 // low-water mark by session
	done map[string]uint64 // number -> request that ran under it
	ran  map[uint64]int    // request -> times it ran
	owns map[string]uint64 // number given by the coordinator -> request
}

type reply struct {
	f     forwarded
	reply *messages.Reply
}

func newPlay(t *testing.T, seed uint64) *play {
	p := &play{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), nodes: []string{"n1", "n2", "n3"},
		low: map[string]uint64{}, done: map[string]uint64{}, ran: map[uint64]int{}, owns: map[string]uint64{},
	}
	p.w = newWorld(t, Limits{MaxHeld: 12, MaxInFlight: 16, MaxNumbered: 20}, p.observe)
	p.w.table(p.nodes...)
	p.replica = p.w.startReplica()
	return p
}

// observe checks each number that goes out.
func (p *play) observe(e Event) {
	if e.Kind != Routed {
		return
	}
	r := p.w.requests[e.Request]
	id := r.Call.GetRequest()
	if !r.Trail.Own || id == nil {
		return
	}
	key := fmt.Sprintf("%x:%d", id.GetClient(), id.GetSequence())
	if other, ok := p.owns[key]; ok && other != e.Request {
		p.t.Errorf("seed %d: number %s was given to request %d and to %d", p.seed, key, other, e.Request)
	}
	p.owns[key] = e.Request
	for _, other := range p.w.requests {
		o := other.Call.GetRequest()
		if !other.Answered() && other.Trail.Own && string(o.GetClient()) == string(id.GetClient()) && o.GetSequence() < id.GetLowWater() {
			p.t.Errorf("seed %d: low-water mark %d of request %d passed the unanswered %d", p.seed, id.GetLowWater(), e.Request, o.GetSequence())
		}
	}
}

func (p *play) step() {
	switch n := p.rng.IntN(100); {
	case n < 14:
		p.newCall()
	case n < 40:
		p.atNode()
	case n < 55:
		p.atReplica()
	case n < 82:
		p.deliverReply()
	case n < 90:
		p.w.tick(1 + p.rng.IntN(4))
	case n < 94:
		p.elect()
	case n < 97:
		p.peer()
	case n < 98:
		p.killReplica()
	default:
		p.lose()
	}
}

func (p *play) newCall() {
	p.nextID++
	c := &messages.Call{Id: p.nextID, Kind: "k", Key: "a", Method: "m", Payload: []byte(fmt.Sprint(p.nextID))}
	switch p.rng.IntN(4) {
	case 0:
		c.Query = true
	case 1:
		p.nextSeq++
		c.Request = &messages.RequestID{Client: []byte("client"), Sequence: p.nextSeq, LowWater: 1}
	}
	if p.rng.IntN(4) == 0 {
		c.TimeoutMs = uint32(100 + p.rng.IntN(1500))
	}
	p.w.call(c)
}

// any returns a random index of a list, or false.
func (p *play) any(n int) (int, bool) {
	if n == 0 {
		return 0, false
	}
	return p.rng.IntN(n), true
}

// atNode lets a forwarded call arrive.
func (p *play) atNode() {
	i, ok := p.any(len(p.w.out))
	if !ok {
		return
	}
	f := p.w.out[i]
	p.w.out = append(p.w.out[:i:i], p.w.out[i+1:]...)
	if answer := p.partition(f.node, f.call); answer != nil {
		answer.Id = f.call.GetId()
		p.replies = append(p.replies, reply{f: f, reply: answer})
	}
}

// atReplica lets the replica here take a request.
func (p *play) atReplica() {
	i, ok := p.any(len(p.w.here))
	if !ok {
		return
	}
	r := p.w.here[i]
	p.w.here = append(p.w.here[:i:i], p.w.here[i+1:]...)
	if answer := p.partition("n1", r.Call); answer != nil {
		r.Answer(answer)
		p.w.loop.Drain(nil)
		return
	}
	p.here = append(p.here, r)
}

// partition is the model: what a node does with a call. nil: it is proposed and
// nobody knows.
func (p *play) partition(node string, c *messages.Call) *messages.Reply {
	if node != p.master {
		return &messages.Reply{Code: messages.Code_CODE_NOT_MASTER, MasterNode: p.hint(), Term: p.term}
	}
	if p.rng.IntN(12) == 0 {
		return &messages.Reply{Code: messages.Code_CODE_OVERLOADED, Term: p.term}
	}
	if c.GetQuery() {
		return &messages.Reply{Code: messages.Code_CODE_OK, Term: p.term}
	}
	if !p.admits(c) {
		return &messages.Reply{Code: messages.Code_CODE_SESSION_EXPIRED, Term: p.term}
	}
	if p.rng.IntN(4) == 0 {
		p.limbo = append(p.limbo, c)
		return nil
	}
	p.run(c)
	return &messages.Reply{Code: messages.Code_CODE_OK, Term: p.term}
}

func (p *play) admits(c *messages.Call) bool {
	id := c.GetRequest()
	low, known := p.low[string(id.GetClient())]
	if _, done := p.done[numberKey(c)]; done && id.GetSequence() >= low {
		return true
	}
	return (known || id.GetLowWater() <= 1) && id.GetSequence() >= low
}

// run executes a command, once for each number.
func (p *play) run(c *messages.Call) {
	id := c.GetRequest()
	if len(id.GetClient()) == 0 {
		p.t.Errorf("seed %d: a command without a number arrived: %v", p.seed, c)
	}
	p.low[string(id.GetClient())] = max(p.low[string(id.GetClient())], id.GetLowWater(), 1)
	key := numberKey(c)
	if _, done := p.done[key]; done {
		return
	}
	var request uint64
	fmt.Sscan(string(c.GetPayload()), &request)
	p.done[key] = request
	p.ran[request]++
}

func numberKey(c *messages.Call) string {
	return fmt.Sprintf("%x:%d", c.GetRequest().GetClient(), c.GetRequest().GetSequence())
}

func (p *play) hint() string {
	switch p.rng.IntN(3) {
	case 0:
		return ""
	case 1:
		return p.master
	}
	return p.nodes[p.rng.IntN(3)]
}

func (p *play) deliverReply() {
	i, ok := p.any(len(p.replies))
	if !ok {
		return
	}
	r := p.replies[i]
	p.replies = append(p.replies[:i:i], p.replies[i+1:]...)
	p.w.reply(r.f, r.reply)
}

// elect changes the master. What is in limbo gets committed or lost.
func (p *play) elect() {
	p.term++
	p.master = append([]string{""}, p.nodes...)[p.rng.IntN(4)]
	for _, c := range p.limbo {
		if p.rng.IntN(2) == 0 && p.admits(c) {
			p.run(c)
		}
	}
	p.limbo = nil
	for _, r := range p.here {
		r.Answer(&messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, MasterNode: p.hint(), Term: p.term})
	}
	p.here = nil
	p.w.loop.Drain(nil)
	if p.rng.IntN(4) != 0 {
		p.w.master(p.master, p.term)
	}
}

func (p *play) peer() {
	p.w.send(&call.PeerChanged{Node: p.nodes[1+p.rng.IntN(2)], Up: p.rng.IntN(2) == 0})
}

// killReplica takes the replica here away with all it had, and starts another.
func (p *play) killReplica() {
	p.w.here, p.here = nil, nil
	p.w.system.Root.Stop(p.replica)
	p.w.loop.Drain(nil)
	p.replica = p.w.startReplica()
}

// lose loses a message without a word.
func (p *play) lose() {
	if i, ok := p.any(len(p.w.out)); ok {
		p.w.out = append(p.w.out[:i:i], p.w.out[i+1:]...)
	}
	if i, ok := p.any(len(p.replies)); ok {
		p.replies = append(p.replies[:i:i], p.replies[i+1:]...)
	}
}

// finish lets every deadline end, then lets everything that is still on its way
// arrive, and looks at the books.
func (p *play) finish() {
	p.w.tick(110)
	for len(p.w.out)+len(p.w.here) > 0 {
		p.elect()
		p.atNode()
		p.atReplica()
	}
	p.replies = nil
	p.elect()
	for id, r := range p.w.requests {
		replies := p.w.answers[id]
		if len(replies) != 1 {
			p.t.Errorf("seed %d: request %d was answered %d times", p.seed, id, len(replies))
			continue
		}
		code, ran := replies[0].GetCode(), p.ran[id]
		if ran > 1 {
			p.t.Errorf("seed %d: request %d ran %d times", p.seed, id, ran)
		}
		if r.Call.GetQuery() {
			continue
		}
		switch code {
		case messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_OVERLOADED:
			if ran != 0 {
				p.t.Errorf("seed %d: request %d was answered %s, and ran", p.seed, id, strings.TrimPrefix(code.String(), "CODE_"))
			}
		case messages.Code_CODE_OK:
			if ran != 1 {
				p.t.Errorf("seed %d: request %d was answered OK and ran %d times", p.seed, id, ran)
			}
		case messages.Code_CODE_SESSION_EXPIRED:
			if r.Trail.Own {
				p.t.Errorf("seed %d: request %d had a number of the coordinator's and was told that its session expired", p.seed, id)
			}
		}
	}
}
