package ringowner

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// memory is the ring's actor without a cluster: its behavior and its state.
type memory struct {
	t          testing.TB
	behavior   *actors.Behavior
	activation *actors.Activation
	state      []byte
}

func newMemory(t testing.TB, table *messages.Table) *memory {
	m := &memory{t: t, behavior: Behavior()}
	if table != nil {
		m.state = encode(t, table)
	}
	var err error
	m.activation, err = m.behavior.Activate(actors.ActorID{Kind: ring.SystemKind, Key: ring.TableKey}, m.state)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t testing.TB, m proto.Message) []byte {
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// call runs a method and gives the reply as a node would.
func (m *memory) call(method string, payload []byte) *messages.Reply {
	m.t.Helper()
	found, ok := m.behavior.Method(method)
	if !ok {
		m.t.Fatalf("no method %s", method)
	}
	run := m.activation.Command
	if found.Query {
		run = m.activation.Query
	}
	effects, err := run(actors.Input{Method: found, Payload: payload})
	switch {
	case err != nil:
		return actors.ToReply(err)
	case effects.Rejection != nil:
		return &messages.Reply{Code: messages.Code_CODE_REJECTED, Rejection: effects.Rejection}
	}
	if effects.Changed {
		m.state = effects.State
	}
	return &messages.Reply{Code: messages.Code_CODE_OK, Payload: effects.Reply}
}

func (m *memory) table() *messages.Table {
	m.t.Helper()
	table := &messages.Table{}
	reply := m.call("GetTable", nil)
	if err := proto.Unmarshal(reply.GetPayload(), table); err != nil || reply.Code != messages.Code_CODE_OK {
		m.t.Fatalf("GetTable: %v, %v", reply, err)
	}
	return table
}

// change runs a command that must succeed and returns the epoch.
func (m *memory) change(method string, request proto.Message) uint64 {
	m.t.Helper()
	reply := m.call(method, encode(m.t, request))
	change := &messages.RingChange{}
	if err := proto.Unmarshal(reply.GetPayload(), change); err != nil || reply.Code != messages.Code_CODE_OK {
		m.t.Fatalf("%s: %v, %v", method, reply, err)
	}
	if got := m.table().Epoch; got != change.Epoch {
		m.t.Fatalf("%s says epoch %d, the table %d", method, change.Epoch, got)
	}
	return change.Epoch
}

// refuse runs a command that must be rejected with a code and change nothing.
func (m *memory) refuse(method string, request proto.Message, code string) {
	m.t.Helper()
	before := m.table()
	reply := m.call(method, encode(m.t, request))
	if reply.Rejection.GetCode() != code {
		m.t.Errorf("%s: %v, want a rejection with code %s", method, reply, code)
	}
	if diff := cmp.Diff(before, m.table(), protocmp.Transform()); diff != "" {
		m.t.Errorf("a rejected %s changed the table (-before +after):\n%s", method, diff)
	}
}

func nodes(ids ...string) []*messages.Member {
	var list []*messages.Member
	for _, id := range ids {
		list = append(list, &messages.Member{NodeId: id, Name: "name-" + id, PeerAddress: id + ":1", Boot: 1})
	}
	return list
}

func TestRegister(t *testing.T) {
	m := newMemory(t, ring.NewTable("cluster", nodes("a", "c", "d"), 8, 3))
	register := func(member *messages.Member) uint64 {
		t.Helper()
		return m.change("Register", &messages.RegisterMemberRequest{Member: member})
	}
	if got := register(nodes("c")[0]); got != 1 {
		t.Errorf("registering an unchanged member moved the epoch to %d", got)
	}
	moved := nodes("c")[0]
	moved.PeerAddress, moved.Boot = "elsewhere:1", 2
	if got := register(moved); got != 2 {
		t.Errorf("a new address gave epoch %d, want 2", got)
	}
	if got := register(nodes("c")[0]); got != 2 {
		t.Errorf("a late report of an older boot moved the epoch to %d", got)
	}
	if got := register(nodes("b")[0]); got != 3 {
		t.Errorf("a new member gave epoch %d, want 3", got)
	}
	table := m.table()
	want := []*messages.Member{nodes("a")[0], nodes("b")[0], moved, nodes("d")[0]}
	if diff := cmp.Diff(want, table.Members, protocmp.Transform()); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	if n := len(ring.PartitionsOn(table, "b")); n != 0 {
		t.Errorf("a new member got %d partitions at once", n)
	}
}

func TestRegisterRefuses(t *testing.T) {
	m := newMemory(t, ring.NewTable("cluster", nodes("a", "b"), 8, 2))
	for _, c := range []struct {
		member *messages.Member
		code   string
	}{
		{&messages.Member{NodeId: "z", Name: "name-a"}, RejectNameTaken},
		{&messages.Member{NodeId: "b", Name: "name-a", Boot: 7}, RejectNameTaken},
		{&messages.Member{Name: "nobody"}, RejectInvalid},
		{&messages.Member{NodeId: "z"}, RejectInvalid},
		{nil, RejectInvalid},
	} {
		m.refuse("Register", &messages.RegisterMemberRequest{Member: c.member}, c.code)
	}
	newMemory(t, nil).refuse("Register", &messages.RegisterMemberRequest{Member: nodes("a")[0]}, RejectNotFormed)
}

func TestAssign(t *testing.T) {
	m := newMemory(t, ring.NewTable("cluster", nodes("a", "b", "c"), 8, 2))
	m.change("Register", &messages.RegisterMemberRequest{Member: nodes("d")[0]})
	table := m.table()
	plan := ring.PlanOf(table, table.Members)
	if plan.Added == 0 {
		t.Fatal("a new node should get replicas")
	}
	request := &messages.AssignRequest{Epoch: table.Epoch, Assignments: plan.Assignments, NextReplicaId: plan.NextReplicaID}
	if got := m.change("Assign", request); got != table.Epoch+1 {
		t.Errorf("epoch %d, want %d", got, table.Epoch+1)
	}
	if diff := cmp.Diff(plan.Assignments, m.table().Assignments, protocmp.Transform()); diff != "" {
		t.Errorf("assignments (-want +got):\n%s", diff)
	}
	m.refuse("Assign", request, RejectStaleEpoch)
	request.Epoch++
	if got := m.change("Assign", request); got != request.Epoch {
		t.Errorf("assigning what is assigned moved the epoch to %d", got)
	}
}

func TestAssignRefuses(t *testing.T) {
	table := ring.NewTable("cluster", nodes("a", "b", "c"), 8, 2)
	next := table.NextReplicaId
	on := func(partition uint64, places ...any) *messages.Assignment {
		a := &messages.Assignment{Partition: partition}
		for i := 0; i < len(places); i += 2 {
			a.Replicas = append(a.Replicas, &messages.ReplicaAddress{NodeId: places[i].(string), ReplicaId: places[i+1].(uint64)})
		}
		return a
	}
	kept := table.Assignments[3].Replicas[0]
	for name, assignments := range map[string][]*messages.Assignment{
		"no such partition":       {on(9, "a", next)},
		"no replica":              {on(3)},
		"no member":               {on(3, "z", next)},
		"twice on a node":         {on(3, "a", next, "a", next+1)},
		"an old id":               {on(3, kept.NodeId, uint64(1))},
		"an id beyond the next":   {on(3, "a", next+2)},
		"an id in two partitions": {on(3, "a", next), on(4, "a", next)},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t, table)
			m.refuse("Assign", &messages.AssignRequest{Epoch: 1, Assignments: assignments, NextReplicaId: next + 2}, RejectInvalid)
		})
	}
	m := newMemory(t, table)
	m.refuse("Assign", &messages.AssignRequest{Epoch: 1, NextReplicaId: next - 1}, RejectInvalid)
	m.refuse("Assign", &messages.AssignRequest{Epoch: 0, NextReplicaId: next}, RejectStaleEpoch)
	// The replica that stays may keep its id next to a fresh one.
	other := map[bool]string{true: "b", false: "a"}[kept.NodeId == "a"]
	m.change("Assign", &messages.AssignRequest{
		Epoch: 1, NextReplicaId: next + 1,
		Assignments: []*messages.Assignment{on(3, kept.NodeId, kept.ReplicaId, pick(table, 3, other), next)},
	})
}

// pick is a member that holds no replica of a partition, or the given one.
func pick(table *messages.Table, partition uint64, otherwise string) string {
	for _, m := range table.Members {
		if _, ok := ring.ReplicaOn(table, partition, m.NodeId); !ok {
			return m.NodeId
		}
	}
	return otherwise
}
