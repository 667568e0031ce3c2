package ring

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// The places of these keys are on users' disks: a change here loses their data.
func TestPartitionNeverChanges(t *testing.T) {
	cases := []struct {
		kind, key string
		count     uint32
		want      uint64
	}{
		{"ring", "table", 64, 0},
		{"ring", "anything", 64, 0},
		{"counter", "", 64, 60},
		{"counter", "page-42", 1, 1},
		{"counter", "page-42", 64, 29},
		{"register", "page-42", 64, 29},
		{"register", "page-42", 1000, 450},
		{"counter", "page-42", 0, 0},
	}
	for _, c := range cases {
		if got := Partition(c.kind, c.key, c.count); got != c.want {
			t.Errorf("Partition(%q, %q, %d) = %d, want %d", c.kind, c.key, c.count, got, c.want)
		}
	}
}

func TestTag(t *testing.T) {
	cases := []struct{ key, want string }{
		{"plain", "plain"},
		{"{user-7}/cart", "user-7"},
		{"order/{user-7}/9", "user-7"},
		{"a{}b{c}", "a{}b{c}"},
		{"a{b", "a{b"},
		{"a}b{c}", "c"},
		{"{{x}}", "{x"},
		{"", ""},
	}
	for _, c := range cases {
		if got := Tag(c.key); got != c.want {
			t.Errorf("Tag(%q) = %q, want %q", c.key, got, c.want)
		}
	}
	if Partition("a", "{user-7}/cart", 64) != Partition("b", "user-7", 64) {
		t.Error("a tag and the key equal to it should share a partition")
	}
}

func TestSlicesCoverTheCircle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Uint32Range(1, 5000).Draw(t, "count")
		next, least, most := uint64(0), uint64(math.MaxUint64), uint64(0)
		for p := uint64(1); p <= uint64(count); p++ {
			from, to := Slice(p, count)
			if from != next || to < from {
				t.Fatalf("slice %d is %d to %d, want it to start at %d", p, from, to, next)
			}
			next = to + 1
			least, most = min(least, to-from), max(most, to-from)
		}
		if next != 0 || most-least > 1 {
			t.Fatalf("slices end at %d, sizes differ by %d", next-1, most-least)
		}
		key := rapid.String().Draw(t, "key")
		p := Partition("counter", key, count)
		if from, to := Slice(p, count); Position(key) < from || Position(key) > to {
			t.Fatalf("key %q at %d is in partition %d, %d to %d", key, Position(key), p, from, to)
		}
	})
}

func TestPointsOfANode(t *testing.T) {
	ids := []string{"a", "b", "c"}
	c := newCircle(ids, []uint64{1, 2, 1})
	count := map[int]int{}
	for i, p := range c {
		count[p.node]++
		if i > 0 && c[i-1].position > p.position {
			t.Fatalf("points %d and %d are out of order", i-1, i)
		}
	}
	if diff := cmp.Diff(map[int]int{0: 16, 1: 32, 2: 16}, count); diff != "" {
		t.Errorf("points per node (-want +got):\n%s", diff)
	}
	for x := range uint64(48) {
		node, step := x%3, x/3
		at := pointAt(baseOf(ids[node]), offsetOf(ids[node]), step)
		if step < 16 && !slices.Contains(c, point{at, int(node)}) {
			t.Errorf("virtual point %d is not on the circle", x)
		}
	}
}

func TestNewTable(t *testing.T) {
	given := members(5, nil, nil)
	slices.Reverse(given)
	table := NewTable("cluster", given, 64, 3)
	if table.ClusterId != "cluster" || table.Epoch != 1 || table.PartitionCount != 64 || table.ReplicationFactor != 3 {
		t.Errorf("wrong head of the table: %v", table)
	}
	if table.Members[0].NodeId != "id-000" || given[0].NodeId != "id-004" {
		t.Error("members should be sorted in the table and untouched in the input")
	}
	if len(table.Assignments) != 65 || table.NextReplicaId != 65*3+1 {
		t.Errorf("%d assignments, next replica id %d", len(table.Assignments), table.NextReplicaId)
	}
	if same := NewTable("cluster", members(5, nil, nil), 64, 3); !proto.Equal(table, same) {
		t.Error("the order of members should not matter")
	}
	if plan := PlanOf(table, table.Members); plan.Added+plan.Dropped+len(plan.Problems) != 0 {
		t.Errorf("a new table should need nothing: %+v", plan)
	}
}

func TestFigures(t *testing.T) {
	table := NewTable("cluster", members(4, nil, nil), 64, 3)
	f := Figures(table)
	if f.Copies != 192 || f.Partitions != 64 || f.ReplicationFactor() != 3 {
		t.Errorf("N %d, M %d, R %v, want 192, 64, 3", f.Copies, f.Partitions, f.ReplicationFactor())
	}
	if got := f.PartitionSize(1920); got != 10 {
		t.Errorf("P = %v, want 10", got)
	}
	if f.Balance < 1 || f.Balance > 1.03 {
		t.Errorf("balance %v, want about 1", f.Balance)
	}
	for _, n := range f.Nodes {
		if n.Masters != 16 || n.Copies < 47 || n.Copies > 49 {
			t.Errorf("node %s holds %d copies and masters %d, want about 48 and 16", n.Name, n.Copies, n.Masters)
		}
	}
	empty := Figures(&messages.Table{})
	if empty.ReplicationFactor() != 0 || empty.PartitionSize(7) != 0 || empty.Balance != 0 {
		t.Errorf("figures of nothing should be 0: %+v", empty)
	}
}

func TestFiguresOfAnUnevenTable(t *testing.T) {
	on := func(nodes ...string) *messages.Assignment {
		a := &messages.Assignment{Partition: 1}
		for i, n := range nodes {
			a.Replicas = append(a.Replicas, &messages.ReplicaAddress{NodeId: n, ReplicaId: uint64(i + 1)})
		}
		return a
	}
	table := &messages.Table{
		Members:     []*messages.Member{{NodeId: "a", Weight: 2}, {NodeId: "b"}},
		Assignments: []*messages.Assignment{on("a", "gone"), on("b"), on("b")},
	}
	want := TableFigures{
		Copies: 4, Partitions: 3, Balance: 1.5,
		Nodes: []NodeFigures{{NodeID: "a", Weight: 2, Copies: 1, Masters: 1}, {NodeID: "b", Weight: 1, Copies: 2, Masters: 2}},
	}
	if diff := cmp.Diff(want, Figures(table)); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}

func TestLookups(t *testing.T) {
	table := NewTable("cluster", members(3, nil, nil), 8, 3)
	if m := MemberByID(table, "id-001"); m.GetName() != "n1" {
		t.Errorf("MemberByID = %v", m)
	}
	if m := MemberByName(table, "n2"); m.GetNodeId() != "id-002" {
		t.Errorf("MemberByName = %v", m)
	}
	if MemberByID(table, "nobody") != nil || MemberByName(table, "nobody") != nil || NameOf(table, "nobody") != "nobody" {
		t.Error("an unknown node should not be found, and be called by its id")
	}
	for _, a := range table.Assignments {
		for _, r := range a.Replicas {
			id, ok := ReplicaOn(table, a.Partition, r.NodeId)
			node, found := NodeOf(table, a.Partition, r.ReplicaId)
			if id != r.ReplicaId || !ok || node != r.NodeId || !found {
				t.Errorf("partition %d: replica %v found as %d on %s", a.Partition, r, id, node)
			}
		}
		if diff := cmp.Diff(a.Replicas[0], PreferredMaster(table, a.Partition), protocmp.Transform()); diff != "" {
			t.Errorf("preferred master (-want +got):\n%s", diff)
		}
	}
	if _, ok := ReplicaOn(table, 3, "nobody"); ok || PreferredMaster(table, 9) != nil || len(ReplicasOf(table, 9)) != 0 {
		t.Error("unknown partitions and nodes should have no replicas")
	}
	if got := PartitionsOn(table, "id-000"); len(got) != 9 {
		t.Errorf("partitions on id-000: %v, want all nine", got)
	}
}

func TestKeysSpreadEvenly(t *testing.T) {
	counts := make([]int, 65)
	for i := range 64_000 {
		counts[Partition("counter", "key-"+strconv.Itoa(i), 64)]++
	}
	if counts[0] != 0 || slices.Min(counts[1:]) < 850 || slices.Max(counts) > 1150 {
		t.Errorf("64,000 keys over 64 partitions, want about 1,000 each: %v", counts)
	}
}
