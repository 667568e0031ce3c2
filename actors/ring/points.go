package ring

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// pointsPerWeight is the number of virtual points a node has for each unit of its
// weight (after scaling, see pointCounts). Points only decide the order in which
// nodes are asked to take a partition; the loads are bounded by Plan. 16 keep the
// circle of 1,000 nodes in a processor's cache and spread a node's first choices well.
const pointsPerWeight = 16

// maxPointWeight bounds a node's points: heavier nodes are scaled to it.
const maxPointWeight = 16

// point is one virtual point of a node on the circle.
type point struct {
	position uint64
	node     int
}

// circle is the points of all nodes in the order of their positions.
type circle []point

// pointAt is the position of virtual point x of a circle of p nodes:
// h(x) = h(x mod p) + k * (x div p). x mod p is the node, h of it the node's base
// position, and x div p the number of steps of the offset k.
//
// k is a second hash of the node, not one number for all. With a common k the
// nodes would follow each other in the same order all around the circle, and one
// node would inherit everything of a lost one. k is odd, so that a node's points
// are distinct.
func pointAt(base, offset, step uint64) uint64 {
	return base + offset*step
}

// baseOf and offsetOf place a node on the circle.
func baseOf(nodeID string) uint64 { return xxhash.Sum64String("base/" + nodeID) }

func offsetOf(nodeID string) uint64 { return xxhash.Sum64String("offset/"+nodeID) | 1 }

// newCircle places the points of the nodes; weights has each node's weight.
func newCircle(nodeIDs []string, weights []uint64) circle {
	heaviest := slices.Max(append([]uint64{maxPointWeight}, weights...))
	points := make(circle, 0, len(nodeIDs)*pointsPerWeight)
	for node, id := range nodeIDs {
		base, offset := baseOf(id), offsetOf(id)
		scaled := max(weights[node]*maxPointWeight/heaviest, 1)
		for step := range scaled * pointsPerWeight {
			points = append(points, point{pointAt(base, offset, step), node})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(a.node, b.node))
	})
	return points
}

// walker visits nodes in the order of the circle, each at most once per walk.
type walker struct {
	circle circle
	nodes  int
	// stamp[node] == walk: visited in this walk.
	stamp []int
	walk  int
}

func newWalker(c circle, nodes int) *walker {
	return &walker{circle: c, nodes: nodes, stamp: make([]int, nodes)}
}

// from visits every node, clockwise from a position, until visit returns false.
func (w *walker) from(position uint64, visit func(node int) bool) {
	w.walk++
	start, _ := slices.BinarySearchFunc(w.circle, position, func(p point, at uint64) int {
		return cmp.Compare(p.position, at)
	})
	left := w.nodes
	for i := 0; i < len(w.circle) && left > 0; i++ {
		node := w.circle[(start+i)%len(w.circle)].node
		if w.stamp[node] == w.walk {
			continue
		}
		w.stamp[node] = w.walk
		left--
		if !visit(node) {
			return
		}
	}
}
