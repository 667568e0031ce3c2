package ring

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// members makes n members n0, n1, ...; zone and weight may be nil.
func members(n int, zone func(int) string, weight func(int) uint32) []*messages.Member {
	list := make([]*messages.Member, 0, n)
	for i := range n {
		m := &messages.Member{NodeId: fmt.Sprintf("id-%03d", i), Name: fmt.Sprintf("n%d", i)}
		if zone != nil {
			m.Zone = zone(i)
		}
		if weight != nil {
			m.Weight = weight(i)
		}
		list = append(list, m)
	}
	return list
}

// checkPlan checks what must hold of every plan: its rules 1, 2, 5 and the ids.
func checkPlan(t rapid.TB, in PlanInput, out PlanResult) {
	t.Helper()
	if got, want := len(out.Assignments), int(in.Partitions)+1; got != want {
		t.Fatalf("%d assignments, want %d", got, want)
	}
	zoneOf := map[string]string{}
	zoneSize := map[string]int{}
	for _, m := range in.Members {
		zoneOf[m.NodeId] = m.Zone
		zoneSize[m.Zone]++
	}
	copies := min(len(in.Members), int(max(in.Replication, 1)))
	used := map[uint64]bool{}
	for i, a := range out.Assignments {
		if a.Partition != uint64(i) {
			t.Fatalf("assignment %d is of partition %d", i, a.Partition)
		}
		if len(a.Replicas) != copies {
			t.Fatalf("partition %d has %d replicas, want %d", i, len(a.Replicas), copies)
		}
		perZone := map[string]int{}
		nodes := map[string]bool{}
		for _, r := range a.Replicas {
			zone, ok := zoneOf[r.NodeId]
			if !ok || nodes[r.NodeId] {
				t.Fatalf("partition %d: node %s is no member or holds two replicas", i, r.NodeId)
			}
			if r.ReplicaId == 0 || r.ReplicaId >= out.NextReplicaID || used[r.ReplicaId] {
				t.Fatalf("partition %d: replica id %d is 0, not given away yet, or used twice", i, r.ReplicaId)
			}
			nodes[r.NodeId], used[r.ReplicaId] = true, true
			perZone[zone]++
		}
		// Even spread: no zone could give one to a zone with two less and a free node.
		for from, n := range perZone {
			for to, size := range zoneSize {
				if perZone[to] < n-1 && perZone[to] < size {
					t.Fatalf("partition %d: %d copies in zone %q, %d of %d in zone %q", i, n, from, perZone[to], size, to)
				}
			}
		}
	}
	checkKept(t, in, out)
}

// checkKept checks that a replica that stays keeps its id, and that new ones have
// ids that were never used.
func checkKept(t rapid.TB, in PlanInput, out PlanResult) {
	t.Helper()
	type place struct {
		partition uint64
		node      string
	}
	old := map[place]uint64{}
	highest := uint64(0)
	for _, a := range in.Present {
		for _, r := range a.Replicas {
			old[place{a.Partition, r.NodeId}] = r.ReplicaId
			highest = max(highest, r.ReplicaId)
		}
	}
	added := 0
	for _, a := range out.Assignments {
		for _, r := range a.Replicas {
			id, kept := old[place{a.Partition, r.NodeId}]
			switch {
			case kept && id != r.ReplicaId:
				t.Fatalf("partition %d: replica on %s changed from %d to %d", a.Partition, r.NodeId, id, r.ReplicaId)
			case !kept && (r.ReplicaId <= highest || r.ReplicaId < in.NextReplicaID):
				t.Fatalf("partition %d: new replica on %s has the old id %d", a.Partition, r.NodeId, r.ReplicaId)
			case !kept:
				added++
			}
		}
	}
	if added != out.Added {
		t.Fatalf("%d added, result says %d", added, out.Added)
	}
}

// loads counts replicas and masters per node.
func loads(in PlanInput, assignments []*messages.Assignment) (replicas, masters map[string]int) {
	replicas, masters = map[string]int{}, map[string]int{}
	for _, m := range in.Members {
		replicas[m.NodeId], masters[m.NodeId] = 0, 0
	}
	for _, a := range assignments {
		for i, r := range a.Replicas {
			if _, ok := replicas[r.NodeId]; ok {
				replicas[r.NodeId]++
				if i == 0 {
					masters[r.NodeId]++
				}
			}
		}
	}
	return replicas, masters
}

// checkEven checks balance among equal nodes: replicas and masters within one.
// With a handful of partitions, or with single copies, where a copy lies may
// leave no choice of masters: then the plan must say so.
func checkEven(t rapid.TB, in PlanInput, out PlanResult) {
	t.Helper()
	replicas, masters := loads(in, out.Assignments)
	if spread(replicas) > 1 {
		t.Fatalf("replicas not even: %v", replicas)
	}
	_, slices := loads(in, out.Assignments[1:])
	if spread(masters) <= 1 && spread(slices) <= 1 {
		return
	}
	if in.Replication > 1 && int(in.Partitions) >= 4*len(in.Members) {
		t.Fatalf("masters not even: %v, of the slices %v", masters, slices)
	}
	if len(out.Problems) == 0 {
		t.Fatalf("masters not even, and no problem is reported: %v, of the slices %v", masters, slices)
	}
}

func spread(counts map[string]int) int {
	least, most := -1, 0
	for _, n := range counts {
		if least < 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	return most - max(least, 0)
}

// fewestMoves is a bound no even plan for equal nodes can beat: of the wanted
// copies, no more can stay than each node's upper share and than each partition's
// wanted number; and every node gets what it lacks to its lower share.
func fewestMoves(in PlanInput) int {
	copies := min(len(in.Members), int(max(in.Replication, 1)))
	total := copies * (int(in.Partitions) + 1)
	low := total / len(in.Members)
	high := (total + len(in.Members) - 1) / len(in.Members)
	replicas, _ := loads(in, in.Present)
	stayByNode, stayByPartition, lack := 0, 0, 0
	for _, n := range replicas {
		stayByNode += min(n, high)
		lack += max(0, low-n)
	}
	for _, a := range in.Present {
		held := 0
		for _, r := range a.Replicas {
			if _, ok := replicas[r.NodeId]; ok {
				held++
			}
		}
		stayByPartition += min(held, copies)
	}
	return max(total-stayByNode, total-stayByPartition, lack)
}

func TestPlanOfRandomClusters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := rapid.IntRange(1, 5).Draw(t, "zones")
		heaviest := rapid.SampledFrom([]uint32{1, 3, 20}).Draw(t, "heaviest")
		all := members(rapid.IntRange(1, 14).Draw(t, "nodes"),
			func(int) string { return fmt.Sprintf("z%d", rapid.IntRange(1, zones).Draw(t, "zone")) },
			func(int) uint32 { return rapid.Uint32Range(0, heaviest).Draw(t, "weight") })
		in := PlanInput{
			Members: all, Partitions: rapid.Uint32Range(0, 130).Draw(t, "partitions"),
			Replication: rapid.Uint32Range(0, 5).Draw(t, "replication"), NextReplicaID: rapid.Uint64Range(0, 9).Draw(t, "next"),
		}
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			in.Members = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, len(all),
				func(m *messages.Member) string { return m.NodeId }).Draw(t, "members")
			in.Replication = rapid.Uint32Range(1, 5).Draw(t, "replication")
			out := Plan(in)
			checkPlan(t, in, out)
			checkWeights(t, in, out)
			in.Present, in.NextReplicaID = out.Assignments, out.NextReplicaID
			again := Plan(in)
			if again.Added != 0 || again.Dropped != 0 {
				t.Fatalf("a plan for a planned ring adds %d and drops %d", again.Added, again.Dropped)
			}
			if diff := cmp.Diff(out.Assignments, again.Assignments, protocmp.Transform()); diff != "" {
				t.Fatalf("a plan for a planned ring differs (-first +second):\n%s", diff)
			}
		}
	})
}

// checkWeights checks the bound on loads, which may only be broken aloud.
func checkWeights(t rapid.TB, in PlanInput, out PlanResult) {
	t.Helper()
	replicas, _ := loads(in, out.Assignments)
	total, weight := 0, uint32(0)
	for _, m := range in.Members {
		total += replicas[m.NodeId]
		weight += max(m.Weight, 1)
	}
	for _, m := range in.Members {
		mean := float64(total) * float64(max(m.Weight, 1)) / float64(weight)
		if float64(replicas[m.NodeId]) > 1.1*mean+1 && len(out.Problems) == 0 {
			t.Fatalf("node %s holds %d replicas, mean by weight %.1f, and no problem is reported", m.NodeId, replicas[m.NodeId], mean)
		}
	}
}

func TestPlanIsEvenAndMovesFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := members(rapid.IntRange(1, 20).Draw(t, "nodes"), nil, nil)
		in := PlanInput{
			Partitions:  rapid.Uint32Range(1, 300).Draw(t, "partitions"),
			Replication: rapid.Uint32Range(1, 5).Draw(t, "replication"),
		}
		for step := range rapid.IntRange(1, 8).Draw(t, "steps") {
			in.Members = rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, len(all),
				func(m *messages.Member) string { return m.NodeId }).Draw(t, "members")
			out := Plan(in)
			checkPlan(t, in, out)
			checkEven(t, in, out)
			if least := fewestMoves(in); step > 0 && float64(out.Added) > 1.1*float64(least)+1 {
				t.Fatalf("%d replicas move, %d would do", out.Added, least)
			}
			in.Present, in.NextReplicaID = out.Assignments, out.NextReplicaID
		}
	})
}

func TestPlanDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := members(rapid.IntRange(1, 12).Draw(t, "nodes"), func(i int) string { return fmt.Sprint("z", i%3) }, nil)
		first := Plan(PlanInput{Members: all[:rapid.IntRange(1, len(all)).Draw(t, "first")], Partitions: 64, Replication: 3})
		in := PlanInput{Members: all, Present: first.Assignments, Partitions: 64, Replication: 3, NextReplicaID: first.NextReplicaID}
		want := Plan(in)
		in.Members = rapid.Permutation(all).Draw(t, "members")
		in.Present = rapid.Permutation(first.Assignments).Draw(t, "present")
		if diff := cmp.Diff(want, Plan(in), protocmp.Transform()); diff != "" {
			t.Fatalf("order matters (-sorted +shuffled):\n%s", diff)
		}
	})
}

func TestPlanTellsOfImpossibleWishes(t *testing.T) {
	twoZones := func(i int) string { return []string{"a", "b"}[min(i, 1)] }
	cases := []struct {
		name    string
		members []*messages.Member
		want    []string
	}{
		{"enough nodes", members(3, nil, nil), nil},
		{"no nodes", nil, []string{"no nodes: nothing can be placed; add a node"}},
		{"too few nodes", members(2, nil, nil), []string{"3 copies wanted, 2 nodes: every partition has 2 copies; add 1 node"}},
		{"a lone node in a zone", members(10, twoZones, nil), []string{
			`3 copies over 2 zones: losing zone "b" alone may take a majority of some partition's copies; add nodes in another zone`,
			"node n0 holds 65 replicas, above the bound of 22: the zones and weights of the 10 nodes leave no room elsewhere; " +
				"add nodes in its zone or lower the weights of others less",
		}},
		{"a node too heavy", members(4, nil, func(i int) uint32 { return []uint32{9, 1, 1, 1}[i] }), []string{
			"node n0: weight 9 asks for more than one copy of each partition, it gets one; give weight to other nodes",
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			out := Plan(PlanInput{Members: c.members, Partitions: 64, Replication: 3})
			if diff := cmp.Diff(c.want, out.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanFollowsWeights(t *testing.T) {
	in := PlanInput{Members: members(4, nil, func(i int) uint32 { return uint32(i + 1) }), Partitions: 99, Replication: 2}
	replicas, masters := loads(in, Plan(in).Assignments)
	if diff := cmp.Diff(map[string]int{"id-000": 20, "id-001": 40, "id-002": 60, "id-003": 80}, replicas); diff != "" {
		t.Errorf("replicas (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"id-000": 10, "id-001": 20, "id-002": 30, "id-003": 40}, masters); diff != "" {
		t.Errorf("masters (-want +got):\n%s", diff)
	}
}

func TestPlanNeverReusesReplicaIDs(t *testing.T) {
	all := members(5, nil, nil)
	in := PlanInput{Members: all, Partitions: 64, Replication: 3}
	seen := map[uint64]string{}
	for step := range 20 {
		in.Members = slices.Delete(slices.Clone(all), step%5, step%5+1)
		out := Plan(in)
		for _, a := range out.Assignments {
			for _, r := range a.Replicas {
				place := fmt.Sprint(a.Partition, r.NodeId)
				if was, ok := seen[r.ReplicaId]; ok && was != place {
					t.Fatalf("replica id %d was %s and is %s", r.ReplicaId, was, place)
				}
				seen[r.ReplicaId] = place
			}
		}
		in.Present, in.NextReplicaID = out.Assignments, out.NextReplicaID
	}
}

func BenchmarkPlanLargeJoin(b *testing.B) {
	all := members(1001, func(i int) string { return fmt.Sprint("z", i%3) }, nil)
	first := Plan(PlanInput{Members: all[:1000], Partitions: 100_000, Replication: 3})
	for b.Loop() {
		out := Plan(PlanInput{Members: all, Present: first.Assignments, Partitions: 100_000, Replication: 3, NextReplicaID: first.NextReplicaID})
		b.ReportMetric(float64(out.Added), "moves")
	}
}

func BenchmarkPlanLargeLoss(b *testing.B) {
	all := members(1000, nil, nil)
	first := Plan(PlanInput{Members: all, Partitions: 100_000, Replication: 3})
	for b.Loop() {
		out := Plan(PlanInput{Members: all[1:], Present: first.Assignments, Partitions: 100_000, Replication: 3, NextReplicaID: first.NextReplicaID})
		b.ReportMetric(float64(out.Added), "moves")
	}
}

func BenchmarkPlanLargeFresh(b *testing.B) {
	all := members(1000, nil, nil)
	for b.Loop() {
		Plan(PlanInput{Members: all, Partitions: 100_000, Replication: 3})
	}
}
