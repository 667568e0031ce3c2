package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// The second phase, in virtual time.
const (
	// graceTime is what a healed cluster gets to find itself: elections, links
	// and gossip need a few seconds.
	graceTime = 10 * time.Second
	// progressTime is how long it then has to carry every client on.
	progressTime = 10 * time.Second
	// answerTime bounds the final question to each actor.
	answerTime = 10 * time.Second
	// settleTime lets slaves catch up and rows reach the disks at the end.
	settleTime = 8 * time.Second
)

// conclude heals the world and demands what a healthy cluster owes: progress, an
// answer for every actor, and replicas that agree.
func (w *World) conclude() {
	w.faults.stop()
	w.Sleep(graceTime)
	before := make([]int, len(w.clients))
	for i, c := range w.clients {
		before[i] = c.acked
	}
	w.Sleep(progressTime)
	for i, c := range w.clients {
		if c.busySince >= 0 && c.acked == before[i] {
			w.violate("progress after healing", "client %d got nothing done for %v; it waits since %v", i, progressTime, time.Duration(c.busySince))
		}
	}
	w.draining = true
	w.finishClients()
	w.finalQuestions()
	for _, f := range w.atEnd {
		f(w.newClient(w.director))
	}
	w.Sleep(settleTime)
	w.compareReplicas()
}

// finishClients waits until every client has ended its operation.
func (w *World) finishClients() {
	until := w.now + int64(w.cfg.Deadline+5*time.Second)
	for w.now < until {
		busy := false
		for _, c := range w.clients {
			busy = busy || c.busySince >= 0
		}
		if !busy {
			return
		}
		w.Sleep(100 * time.Millisecond)
	}
	w.violate("every operation ends", "clients still wait %v after the end of work", w.cfg.Deadline+5*time.Second)
}

// finalQuestions asks every actor of the history all its queries: what was
// acknowledged must be there.
func (w *World) finalQuestions() {
	c := w.newClient(w.director)
	c.patience = w.cfg.Deadline
	asked := map[actors.ActorID]bool{}
	for _, op := range slices.Clip(w.history.ops) {
		if asked[op.Actor] {
			continue
		}
		asked[op.Actor] = true
		for _, m := range w.behavior(op.Actor.Kind).Methods() {
			if m.Query {
				w.finalQuestion(c, op.Actor, m)
			}
		}
	}
}

func (w *World) finalQuestion(c *Client, actor actors.ActorID, m *actors.Method) {
	for try := 1; ; try++ {
		began := w.now
		_, err := c.Invoke(c.Context(), actors.Invocation{Actor: actor, Method: m.Name, Query: true})
		if took := time.Duration(w.now - began); took > answerTime {
			w.violate("a healed cluster answers", "%s of %s took %v: %v", m.Name, actor, took, err)
			return
		}
		if err == nil || actors.RejectionOf(err) != nil {
			return
		}
		if actors.CodeOf(err) != messages.Code_CODE_FAILED || try == 10 {
			w.violate("a healed cluster answers", "%s of %s: %v", m.Name, actor, err)
			return
		}
		w.Sleep(5 * time.Second) // an actor that panicked often rests for a while
	}
}

// judge checks the history of each actor against its behavior.
func (w *World) judge() {
	checker := NewChecker(w.cfg.Behaviors...)
	for _, ops := range w.history.ByActor() {
		v, err := checker.Check(ops)
		switch {
		case err != nil:
			w.violate("linearizable", "%v", err)
		case v.Undecided:
			w.violate("linearizable", "%s: %d operations could not be judged within %v", v.Actor, v.Ops, checker.Timeout)
		case !v.OK:
			w.verdicts = append(w.verdicts, v)
			w.violate("linearizable", "%s: no order of its %d operations explains what clients saw", v.Actor, v.Ops)
		}
		if len(w.verdicts) >= 5 {
			return // enough to look at
		}
	}
}

// describeOps gives the operations of an actor as text, in the order of their
// invocation.
func describeOps(ops []*Op) []string {
	lines := make([]string, 0, len(ops))
	for _, op := range ops {
		returned := "never"
		if op.ReturnTime >= 0 {
			returned = fmt.Sprintf("%.6f", time.Duration(op.ReturnTime).Seconds())
		}
		lines = append(lines, fmt.Sprintf("[%d %d] %.6f to %s, %d attempts, partition %d term %d index %d: %s",
			op.Call, op.Return, time.Duration(op.CallTime).Seconds(), returned, op.Attempts, op.Partition, op.Term, op.Index, op))
	}
	return lines
}
