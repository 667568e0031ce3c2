package node

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// ports is what bootstrap needs of the node.
type ports struct {
	t    *root
	self *actor.PID
}

func (p ports) Identity() *messages.Identity { return p.t.cfg.Identities.Identity() }

func (p ports) Accept(plan *messages.BootstrapPlan, done func(error)) {
	p.t.cfg.Identities.SubmitIdentity(func(id *messages.Identity) { id.Plan = proto.CloneOf(plan) }, done)
}

func (p ports) Release(done func(error)) {
	p.t.cfg.Identities.SubmitIdentity(func(id *messages.Identity) { id.Plan = nil }, done)
}

func (p ports) Form(plan *messages.BootstrapPlan, done func(error)) {
	if p.Identity().GetClusterId() == plan.GetClusterId() {
		// Formed before; what it began with has moved on.
		done(nil)
		return
	}
	ops, err := FormWrite(plan, p.t.self())
	if err != nil {
		done(err)
		return
	}
	p.t.cfg.Identities.SubmitIdentity(func(id *messages.Identity) {
		id.ClusterId, id.Plan = plan.GetClusterId(), proto.CloneOf(plan)
	}, p.then(plan.GetClusterId(), done), ops...)
}

func (p ports) Join(clusterID string, done func(error)) {
	p.t.cfg.Identities.SubmitIdentity(func(id *messages.Identity) { id.ClusterId = clusterID }, p.then(clusterID, done))
}

// then tells the root that the node belongs to a cluster, before it calls done.
func (p ports) then(clusterID string, done func(error)) func(error) {
	return func(err error) {
		if err == nil {
			p.t.n.root.Send(p.self, &formed{clusterID})
		}
		done(err)
	}
}

func (p ports) NewClusterID() string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], p.t.rng.Uint64())
	binary.BigEndian.PutUint64(b[8:], p.t.rng.Uint64())
	return hex.EncodeToString(b[:])
}
