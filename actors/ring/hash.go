package ring

import (
	"math"
	"math/bits"
	"strings"

	"github.com/cespare/xxhash/v2"
)

const (
	// SystemPartition holds the ring's own table and nothing else.
	SystemPartition = 0
	// SystemKind is the kind of the ring's own actor; every actor of this kind
	// lives on the system partition.
	SystemKind = "ring"
	// TableKey is the key of the actor whose state is the ring's table.
	TableKey = "table"
)

// Partition returns the partition of the actor kind/key in a ring of count
// partitions: SystemPartition for the kind "ring", otherwise 1 to count. A count
// of 0 has no slices, so the answer is SystemPartition there too.
//
// The kind is not hashed, so that actors of different kinds with one key, or one
// tag, live together. The mapping is written to disk by way of where actors are
// stored: it never changes.
func Partition(kind, key string, count uint32) uint64 {
	if kind == SystemKind || count == 0 {
		return SystemPartition
	}
	slice, _ := bits.Mul64(Position(key), uint64(count))
	return slice + 1
}

// Position returns where a key lies on the circle: the xxhash of its tag, or of
// the whole key if it has none.
func Position(key string) uint64 {
	return xxhash.Sum64String(Tag(key))
}

// Tag returns the part of a key that chooses its partition: the text between the
// first "{" and the next "}" if there is any, else the whole key.
func Tag(key string) string {
	_, rest, found := strings.Cut(key, "{")
	if !found {
		return key
	}
	tag, _, found := strings.Cut(rest, "}")
	if !found || tag == "" {
		return key
	}
	return tag
}

// Slice returns the first and the last position of partition p on the circle,
// both included. Slices of a ring differ in size by at most one position. The
// system partition, and a p above count, have no slice: both results are 0.
func Slice(p uint64, count uint32) (from, to uint64) {
	if p == SystemPartition || p > uint64(count) {
		return 0, 0
	}
	from = sliceStart(p-1, uint64(count))
	if p == uint64(count) {
		return from, math.MaxUint64
	}
	return from, sliceStart(p, uint64(count)) - 1
}

// sliceStart is index * 2^64 / count, rounded up; index < count.
func sliceStart(index, count uint64) uint64 {
	quotient, remainder := bits.Div64(index, 0, count)
	if remainder > 0 {
		quotient++
	}
	return quotient
}
