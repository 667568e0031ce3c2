package ring

import (
	"fmt"
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// bruteForce returns the fewest replicas that any even plan for equal nodes has to
// add, by trying every placement. It walks the partitions and keeps, for each
// possible vector of loads so far, the fewest additions that lead to it.
func bruteForce(in PlanInput) int {
	n := len(in.Members)
	copies := min(n, int(max(in.Replication, 1)))
	partitions := int(in.Partitions) + 1
	high := (copies*partitions + n - 1) / n
	low := copies * partitions / n
	held := make([]uint, partitions)
	for _, a := range in.Present {
		for _, r := range a.Replicas {
			for i, m := range in.Members {
				if m.NodeId == r.NodeId {
					held[a.Partition] |= 1 << i
				}
			}
		}
	}
	best := map[[6]int]int{{}: 0}
	for _, before := range held {
		next := map[[6]int]int{}
		for loads, added := range best {
			for nodes := range uint(1 << n) {
				if bits.OnesCount(nodes) != copies {
					continue
				}
				after, fits := loads, true
				for i := range n {
					after[i] += int(nodes >> i & 1)
					fits = fits && after[i] <= high
				}
				cost := added + bits.OnesCount(nodes&^before)
				if old, ok := next[after]; fits && (!ok || cost < old) {
					next[after] = cost
				}
			}
		}
		best = next
	}
	fewest := -1
	for loads, added := range best {
		even := true
		for i := range n {
			even = even && loads[i] >= low
		}
		if even && (fewest < 0 || added < fewest) {
			fewest = added
		}
	}
	return fewest
}

// TestPlanAgainstBruteForce lets every small ring start anywhere, however uneven,
// and compares with the best of all plans.
func TestPlanAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := members(rapid.IntRange(1, 6).Draw(t, "nodes"), nil, nil)
		in := PlanInput{Partitions: rapid.Uint32Range(0, 6).Draw(t, "partitions"), Replication: rapid.Uint32Range(1, 4).Draw(t, "replication")}
		id := uint64(1)
		copies := rapid.IntRange(0, min(len(all), int(in.Replication))).Draw(t, "copies")
		for partition := range in.Partitions + 1 {
			a := &messages.Assignment{Partition: uint64(partition)}
			nodes := rapid.Permutation(all).Draw(t, fmt.Sprint("nodes of ", partition))
			for _, m := range nodes[:copies] {
				a.Replicas = append(a.Replicas, &messages.ReplicaAddress{ReplicaId: id, NodeId: m.NodeId})
				id++
			}
			in.Present = append(in.Present, a)
		}
		in.Members = all[:rapid.IntRange(1, len(all)).Draw(t, "members")]
		out := Plan(in)
		checkPlan(t, in, out)
		checkEven(t, in, out)
		best := bruteForce(in)
		if best < 0 {
			t.Fatalf("no even plan exists: the test is wrong")
		}
		// The greedy steps are one off in about one of some thousand wild starts.
		if out.Added > best+1 {
			t.Fatalf("%d replicas added, %d would do", out.Added, best)
		}
	})
}
