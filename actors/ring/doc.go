// Package ring is the hash circle and its table, as pure functions: which
// partition an actor belongs to, which nodes should hold each partition, and
// what a table's figures are. It does no I/O, keeps no state and draws no
// randomness: the same input gives the same output on every node.
//
// A key is hashed to a position on a circle of 2^64 positions, which is cut into
// equal slices, one per partition. Partitions are placed on nodes by consistent
// hashing with bounded load: see Plan.
//
// All functions may be called concurrently. None of them changes its input.
package ring
