package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// TestScenarios plays the stories in testdata. After each step stands all that
// the coordinator did. Regenerate with -rewrite, and read the difference.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s scenario
		datadriven.RunTest(t, path, s.step)
	})
}

type scenario struct{ w *world }

func (s *scenario) step(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd == "start" {
		var limits Limits
		d.MaybeScanArgs(t, "held", &limits.MaxHeld)
		d.MaybeScanArgs(t, "flight", &limits.MaxInFlight)
		d.MaybeScanArgs(t, "numbered", &limits.MaxNumbered)
		s.w = newWorld(t, limits, func(e Event) { s.observe(e) })
		return s.w.takeLog()
	}
	s.w.tb = t
	switch d.Cmd {
	case "call":
		s.call(t, d)
	case "master":
		s.w.master(strings.TrimPrefix(d.CmdArgs[0].Key, "none"), term(t, d))
	case "table":
		var nodes []string
		for _, a := range d.CmdArgs {
			nodes = append(nodes, a.Key)
		}
		s.w.table(nodes...)
	case "peer":
		s.w.send(&call.PeerChanged{Node: d.CmdArgs[0].Key, Up: d.CmdArgs[1].Key == "up"})
	case "missing":
		s.w.missing = nil
		for _, a := range d.CmdArgs {
			s.w.missing = append(s.w.missing, a.Key)
		}
	case "tick":
		n := 1
		if len(d.CmdArgs) > 0 {
			if _, err := fmt.Sscan(d.CmdArgs[0].Key, &n); err != nil {
				d.Fatalf(t, "tick: %v", err)
			}
		}
		s.w.tick(n)
	case "reply":
		s.reply(t, d)
	case "answer":
		s.answer(t, d)
	case "replica":
		if d.CmdArgs[0].Key == "start" {
			s.w.startReplica()
		} else {
			s.w.here = nil
			s.w.system.Root.Stop(s.w.replica())
		}
	case "end":
		s.w.system.Root.Poison(s.w.pid)
	default:
		d.Fatalf(t, "no such step: %s", d.Cmd)
	}
	s.w.loop.Drain(nil)
	return s.w.takeLog()
}

func (s *scenario) observe(e Event) {
	switch e.Kind {
	case Routed:
		number := number(s.w.requests[e.Request].Call)
		s.w.logf("%d -> %s attempt %d (%s)", e.Request, e.Node, e.Attempt, number)
	case Held:
		s.w.logf("%d held, %d in line", e.Request, e.Count)
	case Probed:
		s.w.logf("%d asks around", e.Request)
	case MasterLearned:
		s.w.logf("master %s", e.Node)
	case MasterLost, GaveUp:
		s.w.logf("%s", e.Kind)
	case Refused:
		s.w.logf("%s refused", e.Node)
	case TakenBack:
		s.w.logf("%d back from %s", e.Count, e.Node)
	}
}

func (s *scenario) call(t *testing.T, d *datadriven.TestData) {
	c := &messages.Call{Kind: "counter", Key: "page", Method: "Add"}
	var timeout time.Duration
	var client string
	d.ScanArgs(t, "id", &c.Id)
	c.Query = d.HasArg("query")
	if d.HasArg("timeout") {
		var text string
		d.ScanArgs(t, "timeout", &text)
		var err error
		if timeout, err = time.ParseDuration(text); err != nil {
			d.Fatalf(t, "timeout: %v", err)
		}
		c.TimeoutMs = uint32(timeout.Milliseconds())
	}
	if d.HasArg("client") {
		d.ScanArgs(t, "client", &client)
		c.Request = &messages.RequestID{Client: []byte(client), LowWater: 1}
		d.ScanArgs(t, "seq", &c.Request.Sequence)
	}
	s.w.call(c)
}

func (s *scenario) replyOf(t *testing.T, d *datadriven.TestData) *messages.Reply {
	var code string
	reply := &messages.Reply{Term: term(t, d)}
	d.ScanArgs(t, "code", &code)
	n, ok := messages.Code_value["CODE_"+code]
	if !ok {
		d.Fatalf(t, "no such code: %s", code)
	}
	reply.Code = messages.Code(n)
	d.MaybeScanArgs(t, "hint", &reply.MasterNode)
	return reply
}

// reply plays another node: it answers the id-th request's newest attempt there,
// or an older one with attempt=N.
func (s *scenario) reply(t *testing.T, d *datadriven.TestData) {
	var id uint64
	var attempt uint16
	d.ScanArgs(t, "id", &id)
	d.MaybeScanArgs(t, "attempt", &attempt)
	number := s.w.requests[id].Trail.Number
	for _, v := range slices.Backward(s.w.out) {
		n, a := splitForwardID(v.call.GetId())
		if n == number && (attempt == 0 || a == attempt) {
			s.w.reply(v, s.replyOf(t, d))
			return
		}
	}
	d.Fatalf(t, "request %d was not forwarded", id)
}

// answer plays the replica here.
func (s *scenario) answer(t *testing.T, d *datadriven.TestData) {
	var id uint64
	d.ScanArgs(t, "id", &id)
	for i, r := range s.w.here {
		if r.Call.GetId() == id {
			s.w.here = append(s.w.here[:i:i], s.w.here[i+1:]...)
			r.Answer(s.replyOf(t, d))
			return
		}
	}
	d.Fatalf(t, "request %d is not at the replica", id)
}

func term(t *testing.T, d *datadriven.TestData) uint64 {
	var n uint64
	d.MaybeScanArgs(t, "term", &n)
	return n
}
