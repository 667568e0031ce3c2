package api

import (
	"context"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Engine is the node behind the API. All methods may be called from any number of
// goroutines.
type Engine interface {
	// Submit runs a call, here or on the node that masters its partition. It owns
	// the call from then on. done is called once, from any goroutine, maybe before
	// Submit returns; it does not block. The reply is not written to afterwards.
	Submit(call *messages.Call, done func(*messages.Reply))
	// Route says where the masters are. It returns the same pointer as long as
	// nothing changed, and is cheap. While the node belongs to no cluster,
	// PartitionCount is 0.
	Route() *messages.Route
	// Table is the ring's table as this node knows it; nil while it knows none.
	Table() *messages.Table
	// Status is the node's own view. It may wait for the engine, at most until
	// the context ends.
	Status(ctx context.Context) (*Status, error)
	// Kinds are the behaviors that callers may use, always the same.
	Kinds() []*actors.Behavior
}

// Status is one node's own view of itself and its cluster, as GET /v1/status gives
// it. Names are those of people; an id of a node stands where the name is not known.
type Status struct {
	Name      string `json:"name"`
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id"`
	Version   string `json:"version"`
	// Epoch is the version of the ring's table; 0 before there is one.
	Epoch uint64 `json:"epoch"`
	// PartitionCount and ReplicationFactor are those of the ring; 0 before there
	// is one.
	PartitionCount    int `json:"partition_count"`
	ReplicationFactor int `json:"replication_factor"`
	// Ready says that the node can serve; Reasons say why not. The API fills both
	// in.
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"`
	// Draining says that the node hands its masterships over.
	Draining bool      `json:"draining"`
	Started  time.Time `json:"started"`
	// Failure says what ended the engine; empty while it runs.
	Failure string `json:"failure,omitempty"`
	// Waiting says what a node that belongs to no cluster waits for.
	Waiting string `json:"waiting,omitempty"`

	Members    []MemberStatus    `json:"members"`
	Partitions []PartitionStatus `json:"partitions"`
}

// MemberStatus is a node as this node sees it.
type MemberStatus struct {
	Name   string `json:"name"`
	NodeID string `json:"node_id"`
	Zone   string `json:"zone"`
	// State is "alive", "failed" or "left", as gossip has it, or "unknown" for a
	// member of the table that gossip has not seen.
	State string `json:"state"`
	// Since is when State last changed, by this node's clock.
	Since time.Time `json:"since,omitzero"`
	Self  bool      `json:"self"`
	// Linked says that messages reach it now.
	Linked bool `json:"linked"`
	// RTTMillis is the time of the newest probe, in milliseconds; 0: none yet.
	RTTMillis     float64 `json:"rtt_ms"`
	APIAddress    string  `json:"api_address"`
	PeerAddress   string  `json:"peer_address"`
	GossipAddress string  `json:"gossip_address"`
	Version       string  `json:"version"`
	Boot          uint64  `json:"boot"`
	// Masters and Copies count the partitions, as far as this node knows.
	Masters int `json:"masters"`
	Copies  int `json:"copies"`
}

// PartitionStatus is a partition as this node sees it; partition 0 holds the
// ring's table.
type PartitionStatus struct {
	ID   uint64 `json:"id"`
	Term uint64 `json:"term"`
	// Role is what the replica here is: "master", "slave", "learner" or "stopped";
	// "none" where the table wants none here.
	Role string `json:"role"`
	// Master is the name of the node believed to be the master, MasterID its id;
	// empty while there is none.
	Master   string `json:"master"`
	MasterID string `json:"master_id"`
	// Commit and Applied are log indexes of the replica here.
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
	// Replicas names the nodes that hold a copy, by the table; the first is where
	// the master should be.
	Replicas []string `json:"replicas"`
	// Failure says why the replica here is stopped.
	Failure string `json:"failure,omitempty"`
}

// The roles of PartitionStatus.
const (
	RoleMaster  = "master"
	RoleSlave   = "slave"
	RoleLearner = "learner"
	RoleStopped = "stopped"
	RoleNone    = "none"
)
