// Package storage keeps everything a node must remember, in one Pebble store for
// all its partitions.
//
// A Store is the node's disk as the replicas see it (replica.Store): one queue of
// writes and one goroutine that commits them in groups. Whatever gathered in the
// queue while the disk was busy becomes one Pebble batch and shares one fsync, so
// the number of fsyncs falls as the load grows. At most Config.Pipeline batches
// wait for the disk at a time; a second goroutine waits for them in order and
// calls Done.
//
// What holds, always:
//
//  1. Writes take effect in the order of Submit, each whole or not at all.
//  2. What survives a power loss is a prefix of that order, because there is one
//     write-ahead log. A write that asked for Sync has Done called with nil only
//     once its batch and every earlier one is on disk.
//  3. A failed write or fsync is never retried. The kernel may have dropped the
//     pages that it could not write and call the next fsync a success. So the
//     first failure is final: it is reported once through Config.OnFatal, every
//     write that waits gets the error, and nothing is accepted any more. The node
//     must stop; the prefix on disk is what it starts from.
//
// An Engine is the same store without the queue and without goroutines of its
// own: the caller commits, and decides when a sync happens. Simulations use it.
//
// The node's own rows start with the byte 0x01: who the node is and which format
// the store has. All other rows belong to actors/replica.
package storage
