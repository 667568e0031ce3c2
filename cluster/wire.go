package cluster

import (
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/bootstrap"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// wireTypes are the messages that nodes say to each other. Nothing else is ever
// decoded.
func wireTypes() []proto.Message {
	return []proto.Message{
		&messages.RaftBatch{}, &messages.SnapshotChunk{}, &messages.SnapshotAck{},
		&messages.Call{}, &messages.Reply{},
		&messages.NodeReport{}, &messages.TableUpdate{}, &messages.TableRequest{},
		&messages.TransferMastership{}, &messages.MasterAnnounce{},
		&messages.BootstrapOffer{}, &messages.BootstrapAnswer{}, &messages.BootstrapAsk{},
		&messages.BootstrapRelease{}, &messages.BootstrapDone{},
	}
}

// wireTargets are the actors that other nodes may send to. User code is not among
// them: it is reached through its partition's replica only.
func wireTargets() []string {
	return []string{
		ringowner.NodeName, replica.InboxName, coordinator.CallsName, ringowner.Name, bootstrap.Name,
		"coordinator/", // answers to what a coordinator forwarded
	}
}
