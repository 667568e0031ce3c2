// Package cluster runs nodes: it joins the engine under actors/ to a disk, links
// between nodes, gossip, a clock and an API for clients.
//
// [Start] runs one node in this process; the zero [Config] is one working node.
// [StartLocal] runs several nodes in one process, for development, examples and
// tests. A [Client] calls actors from anywhere.
//
// A node's parts are started and stopped in one place each, in node.go; what may
// fail tells what, where and what to do about it.
package cluster
