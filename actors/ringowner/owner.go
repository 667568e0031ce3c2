package ringowner

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/internal/call"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// owner is the actor. While it is not active it holds nothing.
type owner struct {
	cfg Config
	ctx actor.Context
	// stays counts the times any incarnation became active: answers to questions
	// of an earlier stay are ignored.
	stays *uint64

	now      int64
	nextLook int64
	active   bool
	stay     uint64

	// table is the newest one that was read; nil before the first.
	table *messages.Table
	// loading and registering are when an unanswered question was asked; 0: none.
	loading     int64
	registering int64
	loadedAt    int64
	// stale: the table moved on, and is to be read again.
	stale bool

	reports map[string]*report
	balance balance
}

// report is the newest one of a node.
type report struct {
	*messages.NodeReport
	at int64
	// refused is the entry that the table refused; it is not tried again on the
	// same table.
	refused *messages.Member
}

// answer brings the reply to a question of the owner into its mailbox.
type answer struct {
	stay  uint64
	reply *messages.Reply
	// member is set when the question was to register it.
	member *messages.Member
}

// Producer makes the actor. Its incarnations share nothing but the count of stays.
func Producer(cfg Config) actor.Producer {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	stays := new(uint64)
	return func() actor.Actor { return &owner{cfg: cfg, stays: stays} }
}

// Receive implements actor.Actor.
func (o *owner) Receive(ctx actor.Context) {
	o.ctx = ctx
	switch m := ctx.Message().(type) {
	case *call.Tick:
		o.onTick(m.Now)
	case *call.MasterChanged:
		o.onMaster(m)
	case *messages.NodeReport:
		o.onReport(m)
	case *answer:
		o.onAnswer(m)
	}
}

// onMaster begins or ends the owner's activity.
func (o *owner) onMaster(m *call.MasterChanged) {
	if m.Partition != ring.SystemPartition || o.active == (m.Node == o.cfg.Self) {
		return
	}
	if o.active {
		o.observe(Event{Kind: Deactivated})
		o.cfg.Logger.Info("ring ownership ended here", "master", m.Node)
		*o = owner{cfg: o.cfg, ctx: o.ctx, stays: o.stays, now: o.now}
		return
	}
	*o.stays++
	o.active, o.stay = true, *o.stays
	o.reports = map[string]*report{}
	o.balance = newBalance()
	o.observe(Event{Kind: Activated})
	o.cfg.Logger.Info("ring ownership began here", "term", m.Term)
	o.load()
}

func (o *owner) onTick(now int64) {
	o.now = now
	if !o.active || now < o.nextLook {
		return
	}
	o.nextLook = now + int64(o.cfg.Limits.Interval)
	// An answer that never came is as good as a refusal.
	lost := now - int64(2*o.cfg.Limits.CallTimeout)
	if o.loading != 0 && o.loading < lost {
		o.loading = 0
	}
	if o.registering != 0 && o.registering < lost {
		o.registering = 0
	}
	if o.table == nil || o.stale || now-o.loadedAt >= int64(o.cfg.Limits.Reload) {
		o.load()
	}
	if o.table != nil {
		o.balanceMasters()
	}
}

// onReport takes what a node says of itself; an owner that is not active has no
// use for it, the next report comes within a second.
func (o *owner) onReport(m *messages.NodeReport) {
	id := m.GetMember().GetNodeId()
	if !o.active || id == "" {
		return
	}
	r := o.reports[id]
	if r == nil {
		r = &report{}
		o.reports[id] = r
	}
	if r.NodeReport != nil && m.GetMember().GetBoot() < r.GetMember().GetBoot() {
		return
	}
	r.NodeReport, r.at = m, o.now
	o.balance.settle(o, m)
	if o.table == nil {
		return
	}
	switch epoch := o.table.GetEpoch(); {
	case m.GetEpoch() < epoch:
		o.sendTable(id)
	case m.GetEpoch() > epoch:
		o.stale = true
	}
	o.register(r)
}

// register brings a node's entry in the table up to date, one node at a time; the
// others follow with their next report.
func (o *owner) register(r *report) {
	member := r.GetMember()
	entry := ring.MemberByID(o.table, member.GetNodeId())
	if o.registering != 0 || o.stale || proto.Equal(entry, member) || member.GetBoot() < entry.GetBoot() {
		return
	}
	if r.refused != nil && proto.Equal(r.refused, member) {
		return
	}
	o.registering = max(o.now, 1)
	o.ask(Register.Name(), &messages.RegisterMemberRequest{Member: member}, proto.CloneOf(member))
}

// load reads the table.
func (o *owner) load() {
	if o.loading == 0 {
		o.loading = max(o.now, 1)
		o.ask(GetTable.Name(), &messages.GetTableRequest{}, nil)
	}
}

// ask sends a call to the ring's actor; the answer comes back as a message.
func (o *owner) ask(method string, request proto.Message, member *messages.Member) {
	payload, err := proto.Marshal(request)
	if err != nil {
		o.cfg.Logger.Error("request to the ring cannot be encoded", "method", method, "error", err)
		return
	}
	root, self, stay := o.ctx.ActorSystem().Root, o.ctx.Self(), o.stay
	o.cfg.Submit(&messages.Call{
		Kind: ring.SystemKind, Key: ring.TableKey, Method: method, Payload: payload,
		TimeoutMs: uint32(o.cfg.Limits.CallTimeout / time.Millisecond),
	}, func(reply *messages.Reply) {
		root.Send(self, &answer{stay: stay, reply: reply, member: member})
	})
}

func (o *owner) onAnswer(a *answer) {
	switch {
	case !o.active || a.stay != o.stay:
	case a.member != nil:
		o.onRegistered(a.member, a.reply)
	default:
		o.onTable(a.reply)
	}
}

// onTable takes the table as it was read, and tells everybody when it is news.
func (o *owner) onTable(reply *messages.Reply) {
	o.loading = 0
	table := &messages.Table{}
	if reply.GetCode() != messages.Code_CODE_OK {
		o.cfg.Logger.Debug("ring table cannot be read yet", "code", reply.GetCode(), "message", reply.GetMessage())
		return
	}
	if err := proto.Unmarshal(reply.GetPayload(), table); err != nil {
		o.cfg.Logger.Error("ring table cannot be decoded", "error", err)
		return
	}
	if o.table != nil && table.GetEpoch() < o.table.GetEpoch() {
		return
	}
	news := o.table == nil || table.GetEpoch() > o.table.GetEpoch()
	o.table, o.loadedAt, o.stale = table, o.now, false
	if !news {
		return
	}
	o.observe(Event{Kind: TableLoaded, Epoch: table.GetEpoch()})
	for _, r := range o.reports {
		r.refused = nil
	}
	for _, m := range table.GetMembers() {
		if r := o.reports[m.GetNodeId()]; r == nil || r.GetEpoch() < table.GetEpoch() {
			o.sendTable(m.GetNodeId())
		}
	}
}

// onRegistered takes the answer of the table to a node's entry.
func (o *owner) onRegistered(member *messages.Member, reply *messages.Reply) {
	o.registering = 0
	switch reply.GetCode() {
	case messages.Code_CODE_OK:
		o.observe(Event{Kind: Registered, Node: member.GetNodeId()})
		o.cfg.Logger.Info("ring member registered", "peer", member.GetNodeId(), "name", member.GetName(), "boot", member.GetBoot())
		o.stale = true
		o.load()
	case messages.Code_CODE_REJECTED:
		if r := o.reports[member.GetNodeId()]; r != nil {
			r.refused = member
		}
		o.observe(Event{Kind: RegisterRefused, Node: member.GetNodeId(), Detail: reply.GetRejection().GetCode()})
		o.cfg.Logger.Warn("ring member refused", "peer", member.GetNodeId(), "name", member.GetName(),
			"code", reply.GetRejection().GetCode(), "reason", reply.GetRejection().GetMessage())
	default:
		// It is tried again with the node's next report.
		o.stale = true
	}
}

// sendTable brings a node the newest table.
func (o *owner) sendTable(nodeID string) {
	o.ctx.Send(actor.NewPID(nodeID, NodeName), &messages.TableUpdate{Table: o.table})
}

func (o *owner) observe(e Event) {
	if o.cfg.Observe != nil {
		o.cfg.Observe(e)
	}
}
