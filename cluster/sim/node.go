package sim

import (
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/seed-49de4af9/ringmaster/actors/bootstrap"
	"github.com/seed-49de4af9/ringmaster/actors/coordinator"
	"github.com/seed-49de4af9/ringmaster/actors/node"
	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/actors/ringowner"
	"github.com/seed-49de4af9/ringmaster/actors/supervisor"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Run runs one simulation and judges it. body is the first phase, written in the
// blocking style; nil means: the clients of the Config work for its Duration.
// Runs of one process take turns.
func Run(cfg Config, body func(w *World)) *Result {
	return run(cfg, body, launchNode)
}

// launchNode starts the real engine on a host.
func launchNode(h *host, l *life) (program, error) {
	cfg := h.w.cfg
	self := &messages.Member{
		NodeId: h.id, Name: fmt.Sprintf("n%d", h.index+1), Boot: l.boot,
		ApiAddress: fmt.Sprintf("n%d:7420", h.index+1), PeerAddress: fmt.Sprintf("n%d:7421", h.index+1),
	}
	h.self = self
	return node.Start(node.Config{
		System: newSystem(h, l), Loop: l.loop, Self: self, Store: l.store, Identities: h.identities(l), Behaviors: cfg.Behaviors,
		Clock: h.clock, Seed: xxhash.Sum64String(fmt.Sprintf("%d/%d/%d", cfg.Seed, h.index, l.boot)),
		After:        func(d time.Duration, f func()) { l.after(h, d, f) },
		TickInterval: cfg.Tick, Expect: uint32(cfg.Nodes), Partitions: uint32(cfg.Partitions), Replication: uint32(cfg.Replicas),
		ReplicaLimits: cfg.Limits, CoordinatorLimits: cfg.CoordinatorLimits, Faults: l.points, Logger: h.logger(), Observer: h.observer(l),
		Clustered: func(id string) { h.clusterID = id },
		Fatal:     func(err error) { h.fatal(l, err) },
	})
}

// after has f called when a time has passed, in this life only.
func (l *life) after(h *host, d time.Duration, f func()) {
	h.w.schedule(event{at: h.w.now + int64(d), kind: evTimer, node: h.index, boot: l.boot, run: f})
}

// fatal is what a process does whose disk failed: it ends.
func (h *host) fatal(l *life, err error) {
	if h.boot != l.boot {
		return
	}
	if !h.disk.broken {
		h.w.violate("a sound disk", "node %d gave up its store: %v", h.index, err)
	}
	h.crash(fmt.Sprintf("it stopped itself: %v", err))
	h.w.faults.restartLater(h)
}

// observer watches one life of a node.
func (h *host) observer(l *life) node.Observer {
	alive := func() bool { return h.boot == l.boot }
	return node.Observer{
		Replica: func(e replica.Event) {
			if alive() {
				h.w.probes["replica: "+e.Name]++
				h.replicaEvent(e)
			}
		},
		Supervisor: func(e supervisor.Event) {
			if alive() {
				h.w.violate("no actor fails", "node %d: %s %s: %s", h.index, e.Who, e.Kind, e.Why)
			}
		},
		Coordinator: func(e coordinator.Event) {
			if alive() {
				h.w.probes[fmt.Sprintf("coordinator: %v", e.Kind)]++
			}
		},
		RingOwner: func(e ringowner.Event) {
			if alive() {
				h.w.probes[fmt.Sprintf("ring owner: %v", e.Kind)]++
				h.w.log("node %d: ring owner: %v partition %d node %s epoch %d %s", h.index, e.Kind, e.Partition, e.Node, e.Epoch, e.Detail)
			}
		},
		Bootstrap: func(e bootstrap.Event) {
			if alive() {
				h.w.log("node %d: bootstrap: %v %s", h.index, e.Kind, e.Detail)
			}
		},
	}
}

// replicaEvent keeps track of who is master of what.
func (h *host) replicaEvent(e replica.Event) {
	switch e.Name {
	case replica.EventMaster:
		h.w.log("node %d: master of partition %d in term %d", h.index, e.Partition, e.Term)
		h.w.claim(e.Partition, e.Term, h.id)
		h.w.masterships = append(h.w.masterships, Mastership{At: h.w.Now(), Node: h.index, Partition: e.Partition, Term: e.Term})
		h.masters[e.Partition] = true
		for _, other := range h.w.hosts {
			if other != h && other.running() && other.masters[e.Partition] {
				h.w.probe(probeTwoMasters)
			}
		}
	case replica.EventSlave:
		h.w.log("node %d: no longer master of partition %d", h.index, e.Partition)
		delete(h.masters, e.Partition)
	case replica.EventSnapshot:
		h.w.log("node %d: snapshot of partition %d at %d", h.index, e.Partition, e.Index)
	}
}
