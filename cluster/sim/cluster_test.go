package sim

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
	"github.com/seed-49de4af9/ringmaster/examples/register"
)

// both are the behaviors that the cluster is tried with.
func both() []*actors.Behavior {
	return []*actors.Behavior{counter.Behavior(), register.Behavior()}
}

// swarm is the usual test of a seed: two virtual minutes of everything that can go
// wrong, one seed in eight on the real store.
func swarm(seed uint64) Config {
	cfg := Config{Seed: seed, Behaviors: both(), Faults: Swarm(), Duration: 2 * time.Minute}
	if seed%4 == 3 {
		cfg.Nodes = 5
	}
	if seed%3 == 1 {
		cfg.Partitions = 2
	}
	if seed%8 == 5 {
		cfg.Engine = newPebble
	}
	return flags.Apply(cfg)
}

func TestCalmCluster(t *testing.T) {
	cfg := flags.Apply(Config{Behaviors: both(), Duration: time.Minute})
	r := Test(t, cfg, nil)
	t.Log(r)
	if r.Acked < 1000 || r.Unknown+r.Refused > 0 {
		t.Errorf("in a healthy cluster %d operations were acknowledged, %d refused, %d unknown", r.Acked, r.Refused, r.Unknown)
	}
}

func TestSwarm(t *testing.T) {
	probes, faults, list := map[string]int{}, map[string]int{}, seeds(20)
	for _, seed := range list {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := Test(t, swarm(seed), nil)
			t.Log(r)
			addUp(probes, r.Probes)
			addUp(faults, r.Faults)
			if r.Acked < 200 {
				t.Errorf("only %d operations were acknowledged; a run that does nothing proves nothing", r.Acked)
			}
		})
	}
	t.Logf("faults: %v", faults)
	t.Logf("states: %v", probes)
	if len(list) < 20 {
		return
	}
	for _, class := range Classes() {
		if faults[class] == 0 {
			t.Errorf("no seed had a fault of the class %s", class)
		}
	}
	for _, state := range dangerous {
		if probes[state] == 0 {
			t.Errorf("no seed reached the state %q; without it the runs prove little", state)
		}
	}
}

// dangerous are the states in which promises are broken, if ever.
var dangerous = []string{
	probeTwoMasters, probeReplayed, probeRenewed,
	"replica: " + replica.EventSnapshot, "replica: " + replica.EventSlave, "replica: " + replica.EventFlush,
	"coordinator: " + coordinator.TakenBack.String(), "coordinator: " + coordinator.Refused.String(),
}

func addUp(sum, more map[string]int) {
	for k, n := range more {
		sum[k] += n
	}
}

// TestPlantedDefects switches each defect on and demands that the checks notice. A
// suite that stays green against a broken cluster is a broken suite.
func TestPlantedDefects(t *testing.T) {
	if testing.Short() {
		t.Skip("runs up to 40 seeds for each defect")
	}
	for _, defect := range defects {
		t.Run(defect, func(t *testing.T) {
			for seed := uint64(1); seed <= 40; seed++ {
				cfg := swarm(seed)
				cfg.Plant = []string{defect}
				if r := Run(cfg, nil); !r.OK() {
					t.Logf("caught by seed %d: %s", seed, r.Violations[0])
					return
				}
			}
			t.Error("40 seeds found nothing")
		})
	}
}

// defects are the switches in the engine that break a promise.
var defects = []string{
	"no-dedup", "ack-before-fsync", "send-before-persist",
	"commit-not-raised", "early-exec", "dup-ungated", "applied-before-rows", "stale-read",
}

// TestSeedsRepeat runs a seed twice here and once in another process: one seed on
// the model of a store, one on the real store.
func TestSeedsRepeat(t *testing.T) {
	list := []uint64{1, 5}
	if flags.Seed != 0 {
		list = []uint64{flags.Seed}
	}
	for _, seed := range list {
		a, b := Run(swarm(seed), nil), Run(swarm(seed), nil)
		if a.Trace != b.Trace {
			t.Errorf("seed %d: %d events with hash %016x, then %d with %016x", seed, a.Events, a.Trace, b.Events, b.Trace)
		}
		child := exec.Command(os.Args[0], "-test.run=^TestTraceOfSeed$", "-test.v", fmt.Sprintf("-sim.seed=%d", seed))
		child.Env = append(os.Environ(), traceWanted+"=1")
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if want := fmt.Sprintf("trace %016x", a.Trace); !bytes.Contains(out, []byte(want)) {
			t.Errorf("seed %d: another process does not have %s:\n%s", seed, want, out)
		}
	}
}

// traceWanted is set in the environment of the second process.
const traceWanted = "RINGMASTER_SIM_TRACE"

func TestTraceOfSeed(t *testing.T) {
	if os.Getenv(traceWanted) == "" {
		t.Skip("runs in the second process of TestSeedsRepeat")
	}
	t.Log(Run(swarm(flags.Seed), nil))
}

// TestExactlyOnce counts: every counter holds what was acknowledged, and at most
// what is unknown besides.
func TestExactlyOnce(t *testing.T) {
	cfg := swarm(100)
	cfg.OpsMax = 300
	var finals map[actors.ActorID]int64
	r := Test(t, cfg, func(w *World) {
		for range 6 {
			w.Go(func(c *Client) {
				for c.Running() {
					key := c.Pick("counter", 12).Key
					// The history has it, whatever comes of it.
					_, _ = counter.Add.Call(c.Context(), c, key, &counterpb.AddRequest{Delta: 1})
					c.Think()
				}
			})
		}
		w.AtEnd(func(c *Client) { finals = finalCounts(t, w, c) })
		w.Sleep(time.Minute)
	})
	for actor, sum := range r.History.Sum("counter", "Add", delta) {
		if got := finals[actor]; got < sum.Least || got > sum.Most {
			t.Errorf("%s is %d; %d was acknowledged, %d is unknown", actor, got, sum.Least, sum.Most-sum.Least)
		}
	}
}

func delta(op *Op) int64 {
	m := &counterpb.AddRequest{}
	if proto.Unmarshal(op.Payload, m) != nil {
		return 0
	}
	return m.GetDelta()
}

// finalCounts reads every counter of the history.
func finalCounts(t *testing.T, w *World, c *Client) map[actors.ActorID]int64 {
	t.Helper()
	counts := map[actors.ActorID]int64{}
	for _, ops := range w.History().ByActor() {
		n, err := counter.Get.Call(c.Context(), c, ops[0].Actor.Key, &counterpb.GetRequest{})
		if err != nil {
			t.Errorf("read %s: %v", ops[0].Actor, err)
			continue
		}
		counts[ops[0].Actor] = n.GetValue()
	}
	return counts
}
