package sim

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// identities keeps who a node is on its simulated disk, in one life of the node.
type identities struct {
	store replica.Store
	// latest has every change that was submitted, durable those on disk.
	latest, durable *messages.Identity
}

var _ node.Identities = (*identities)(nil)

// identityKey is the row of the identity.
func identityKey() []byte { return []byte("\x01simulated identity") }

// identities reads who the node is, or makes it someone.
func (h *host) identities(l *life) *identities {
	id := &messages.Identity{}
	value, found, err := l.store.Get(identityKey())
	if err == nil && found {
		err = proto.Unmarshal(value, id)
	}
	if err != nil {
		h.w.violate("a node knows who it is", "node %d: %v", h.index, err)
	}
	id.NodeId, id.Name, id.Boot, id.StoreId = h.id, fmt.Sprintf("n%d", h.index+1), l.boot, "store of "+h.id
	return &identities{store: l.store, latest: id, durable: id}
}

// Identity returns what is durable.
func (i *identities) Identity() *messages.Identity { return i.durable }

// SubmitIdentity changes the identity, and rows with it.
func (i *identities) SubmitIdentity(update func(*messages.Identity), done func(error), with ...replica.Op) {
	next := proto.CloneOf(i.latest)
	update(next)
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(next)
	if err != nil {
		done(err)
		return
	}
	i.latest = next
	ops := append([]replica.Op{{Kind: replica.Put, Key: identityKey(), Value: value}}, with...)
	i.store.Submit(&replica.Write{Ops: ops, Sync: true, Done: func(err error) {
		if err == nil {
			i.durable = next
		}
		done(err)
	}})
}
