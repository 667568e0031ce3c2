// Package messages holds what Ringmaster's roles say to each other and what they
// write to disk, as protobuf contracts and the code generated from them. It has
// no logic.
//
// log.proto is the contract with the disk, wire.proto the one between nodes and
// with clients, ring.proto that of the ring's own behavior. Regenerate with
// `make generate`; buf checks that no change breaks what was written before.
package messages
