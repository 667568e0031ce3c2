package gossip

import "errors"

// The kinds of trouble; errors of this package wrap them.
var (
	// ErrNameTaken: another node is alive under this node's name, and it was
	// first. This node must stop.
	ErrNameTaken = errors.New("node name is taken")
	// ErrNodeIDTaken: another process runs with this node's id and is newer: the
	// data directory was copied. This node must stop.
	ErrNodeIDTaken = errors.New("node id is taken")
	// ErrKeyMismatch: the other node has another gossip key, or only one has any.
	ErrKeyMismatch = errors.New("gossip key mismatch")
	// ErrOtherCluster: the other node belongs to another cluster.
	ErrOtherCluster = errors.New("other cluster")
	// ErrListen: the gossip address cannot be listened on.
	ErrListen = errors.New("cannot listen for gossip")
)

// errSelf: the node reached itself. It is expected while joining, and kept quiet.
var errSelf = errors.New("this is the node itself")
