// Package gossip finds the nodes of a cluster and notices when they come, change
// and go. It is a small room around hashicorp/memberlist.
//
// What gossip says is a hint, never a decision: a member may be alive and out of
// reach, or believed dead and well. Ownership of data is decided elsewhere.
//
// A node is its node id; its name is for people. Each boot of a node gossips
// under a name of its own ("n1#17#9KZQ"), so that a node that returns at another
// address need not wait until its old self is declared dead. The newest boot of a
// node id wins, whatever the others say.
//
// Members that fell out of sight, and the addresses to join, are tried again for
// ever: nodes may start in any order, and halves of a split find each other when
// it heals. Each stream opens with a hello of our own that proves the key and
// names the cluster, so that a wrong key or a foreign cluster is a clear error at
// the joiner and not a closed connection.
package gossip
