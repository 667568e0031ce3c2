package node

import (
	"fmt"
	"slices"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// tableKey is the node's own copy of the ring's table, so that it knows the other
// nodes when it starts.
func tableKey() []byte { return []byte{0x01, 't'} }

func (t *root) cachedTable() (*messages.Table, error) {
	value, found, err := t.cfg.Store.Get(tableKey())
	if err != nil || !found {
		return nil, err
	}
	table := &messages.Table{}
	if err := proto.Unmarshal(value, table); err != nil {
		return nil, fmt.Errorf("the node's copy of the ring's table cannot be read: %w; the store is damaged: remove this node's data directory and let it come back as a new one", err)
	}
	return table, nil
}

// adopt takes a newer table. The members in it are not changed any more.
func (t *root) adopt(ctx actor.Context, table *messages.Table) {
	if table == nil || table.GetClusterId() != t.clusterID || table.GetEpoch() <= t.table.GetEpoch() {
		return
	}
	value, err := encode(table)
	if err != nil {
		t.cfg.Logger.Error("a table of the ring cannot be kept", "error", err)
		return
	}
	t.cfg.Store.Submit(&replica.Write{Ops: []replica.Op{{Kind: replica.Put, Key: tableKey(), Value: value}}})
	t.table = table
	t.n.table.Store(table)
	partitions := int(table.GetPartitionCount()) + 1
	t.masters = append(t.masters, make([]mastership, max(0, partitions-len(t.masters)))...)
	if pids := *t.n.coordinators.Load(); len(pids) < partitions {
		pids = append(slices.Clone(pids), make([]*actor.PID, partitions-len(pids))...)
		t.n.coordinators.Store(&pids)
	}
	t.changed = true
	t.toCoordinators(ctx, &call.TableChanged{Table: table})
}

// onTableRequest helps a node that knows no table, or an old one.
func (t *root) onTableRequest(ctx actor.Context, m *messages.TableRequest) {
	if from := ctx.Sender(); from != nil && t.table.GetEpoch() > m.GetEpoch() {
		ctx.Send(from, &messages.TableUpdate{Table: t.table})
	}
}

// askForTable asks one member after the other.
func (t *root) askForTable(ctx actor.Context) {
	others := t.others()
	if len(others) == 0 {
		return
	}
	t.asked = (t.asked + 1) % len(others)
	ctx.Request(actor.NewPID(others[t.asked], ringowner.NodeName), &messages.TableRequest{Epoch: t.table.GetEpoch()})
}

// reporting gathers the reports of the replicas here.
type reporting struct {
	round   uint64
	waiting int
	reports []*messages.ReplicaReport
	asked   []func([]*messages.ReplicaReport)
}

// gather asks every replica for its view and calls then, on the loop, with the
// answers in the order of the partitions.
func (t *root) gather(ctx actor.Context, then func([]*messages.ReplicaReport)) {
	r := &t.report
	r.asked = append(r.asked, then)
	if r.waiting > 0 && r.round+t.everySecond() > t.number {
		return // a round is under way
	}
	*r = reporting{round: t.number, asked: r.asked}
	for _, p := range t.held {
		if why, failed := t.failures[p]; failed {
			r.reports = append(r.reports, &messages.ReplicaReport{Partition: p, Role: "stopped", Failure: why})
			continue
		}
		pid, ok := t.PID(replica.Name(p))
		if !ok {
			r.reports = append(r.reports, &messages.ReplicaReport{Partition: p, Role: "restarting"})
			continue
		}
		r.waiting++
		round := r.round
		ctx.Send(pid, &replica.Report{Reply: func(rep *messages.ReplicaReport) { t.gathered(round, rep) }})
	}
	t.gatherDone()
}

func (t *root) gathered(round uint64, rep *messages.ReplicaReport) {
	if r := &t.report; r.round == round && r.waiting > 0 {
		r.reports = append(r.reports, rep)
		r.waiting--
		t.gatherDone()
	}
}

func (t *root) gatherDone() {
	r := &t.report
	if r.waiting > 0 {
		return
	}
	slices.SortFunc(r.reports, func(a, b *messages.ReplicaReport) int { return int(a.GetPartition()) - int(b.GetPartition()) })
	asked := r.asked
	r.asked = nil
	for _, then := range asked {
		then(r.reports)
	}
}

// startReport tells the ring owner how this node is.
func (t *root) startReport(ctx actor.Context) {
	system := t.cfg.System.Root
	t.gather(ctx, func(reports []*messages.ReplicaReport) {
		owner := t.masterOf(0).node
		if owner == "" {
			return
		}
		system.Send(actor.NewPID(owner, ringowner.Name), &messages.NodeReport{
			Member: t.cfg.Self, Epoch: t.table.GetEpoch(), Replicas: reports, Draining: t.draining,
		})
	})
}

func (t *root) onStatus(ctx actor.Context, m *statusRequest) {
	t.gather(ctx, func(reports []*messages.ReplicaReport) {
		s := &Status{ClusterID: t.clusterID, Draining: t.draining, Replicas: reports, Waiting: t.waiting()}
		for _, ms := range t.masters {
			s.Terms = append(s.Terms, ms.term)
		}
		for node, up := range t.up {
			if up {
				s.Reachable = append(s.Reachable, node)
			}
		}
		slices.Sort(s.Reachable)
		m.reply(s)
	})
}

// waiting says what a node without a cluster waits for.
func (t *root) waiting() string {
	if t.clusterID != "" {
		return ""
	}
	if t.cfg.Expect == 0 {
		return "a cluster to join: none of the nodes that gossip shows belongs to one"
	}
	seen := 1
	for id, g := range t.gossip {
		if id != t.self() && !g.Gone && g.ClusterID == "" {
			seen++
		}
	}
	return fmt.Sprintf("%d nodes to begin a cluster with; gossip shows %d", t.cfg.Expect, seen)
}

func (t *root) onDrain(ctx actor.Context, m *drain) {
	t.draining, t.drained = true, m.done
	t.toReplicas(ctx, &replica.Handover{})
	t.drainStep()
}

// drainStep ends a drain when nothing is left that another node could take.
func (t *root) drainStep() {
	if t.drained == nil {
		return
	}
	for _, p := range t.held {
		if t.masterOf(p).node == t.self() && t.takeable(p) {
			return
		}
	}
	done := t.drained
	t.drained = nil
	done()
}

// takeable reports whether some other node that can be reached holds a partition.
func (t *root) takeable(p uint64) bool {
	for _, r := range t.table.GetAssignments()[p].GetReplicas() {
		if r.GetNodeId() != t.self() && t.up[r.GetNodeId()] {
			return true
		}
	}
	return false
}
