package cmd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

// peerTimeout is how long one node may take to tell its view, where others are
// asked at the same time.
const peerTimeout = 1500 * time.Millisecond

// overview is the cluster, put together from the views of the nodes that answer.
type overview struct {
	Verdict string `json:"verdict"`
	Epoch   uint64 `json:"epoch"`
	// NodesUp are those that answered, or that a node that did has a link to.
	NodesUp int `json:"nodes_up"`
	Nodes   int `json:"nodes"`
	// PartitionCount is the number of slices of the ring; the figures after it
	// count slices too.
	PartitionCount    int `json:"partition_count"`
	ReplicationFactor int `json:"replication_factor"`
	WithMaster        int `json:"with_master"`
	FullyCopied       int `json:"fully_copied"`
	// CanLose is how many nodes, whichever they are, may fail now without a
	// partition losing its majority; -1 where one has none.
	CanLose    int                `json:"can_lose"`
	Reasons    []string           `json:"reasons"`
	Members    []api.MemberStatus `json:"members"`
	Partitions []partitionView    `json:"partitions"`
}

// partitionView is one partition as all the nodes see it.
type partitionView struct {
	ID     uint64 `json:"id"`
	Term   uint64 `json:"term"`
	Master string `json:"master"`
	// State is "ok", "behind", "copy missing", "no master" or "no majority".
	State string `json:"state"`
	// Lag is how many entries the slave that is furthest behind lacks.
	Lag     uint64     `json:"lag"`
	Commit  uint64     `json:"commit"`
	Applied uint64     `json:"applied"`
	Copies  []copyView `json:"copies"`
}

// copyView is one copy of a partition.
type copyView struct {
	Node string `json:"node"`
	Role string `json:"role"`
	Up   bool   `json:"up"`
	// Commit is 0 where the node did not answer.
	Commit  uint64 `json:"commit"`
	Failure string `json:"failure,omitempty"`
}

// States of partitionView.
const (
	stateOK         = "ok"
	stateBehind     = "behind"
	stateMissing    = "copy missing"
	stateNoMaster   = "no master"
	stateNoMajority = "no majority"
)

// behindMin is the lag from which a slave is called behind: a few entries are on
// their way at any time under load, and the views are not of one instant.
const behindMin = 1000

// look asks one node, then all the members that it knows.
func (c *caller) look(ctx context.Context) (*overview, error) {
	first, err := get[api.Status](ctx, c, "/v1/status")
	if err != nil {
		return nil, err
	}
	views := map[string]*api.Status{first.NodeID: &first}
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, m := range first.Members {
		if m.NodeID == first.NodeID || m.State == "left" || m.APIAddress == "" {
			continue
		}
		asked.Go(func() {
			if view := c.ask(ctx, m.APIAddress); view != nil {
				mu.Lock()
				views[m.NodeID] = view
				mu.Unlock()
			}
		})
	}
	asked.Wait()
	return merge(&first, views), nil
}

// ask gets the view of one node; nil if it does not answer.
func (c *caller) ask(ctx context.Context, addr string) *api.Status {
	ctx, cancel := context.WithTimeout(ctx, min(peerTimeout, c.remote.timeout))
	defer cancel()
	_, text, err := c.request(ctx, http.MethodGet, addr, "/v1/status", "", nil)
	if err != nil {
		return nil
	}
	var view api.Status
	if json.Unmarshal(text, &view) != nil {
		return nil
	}
	return &view
}

// merge puts views together; first is that of the node that was asked first.
func merge(first *api.Status, views map[string]*api.Status) *overview {
	newest := first
	for _, v := range views {
		if v.Epoch > newest.Epoch {
			newest = v
		}
	}
	o := &overview{Epoch: newest.Epoch, PartitionCount: newest.PartitionCount, ReplicationFactor: newest.ReplicationFactor, Reasons: []string{}}
	up := map[string]bool{}
	for _, m := range first.Members {
		if m.State == "left" {
			continue
		}
		o.Nodes++
		// What a node answers itself is worth more than what another one says, and
		// links notice sooner than gossip.
		if views[m.NodeID] != nil || m.State == "alive" && m.Linked {
			up[m.Name] = true
			o.NodesUp++
		} else if m.State == "alive" {
			m.State = "unreachable"
		}
		o.Members = append(o.Members, m)
	}
	slices.SortFunc(o.Members, func(a, b api.MemberStatus) int { return cmp.Compare(a.Name, b.Name) })
	byName := map[string]*api.Status{}
	for _, v := range views {
		byName[v.Name] = v
	}
	for i := range newest.Partitions {
		o.Partitions = append(o.Partitions, mergePartition(&newest.Partitions[i], byName, up))
	}
	o.judge(first)
	return o
}

// mergePartition puts together what the nodes say about a partition.
func mergePartition(seen *api.PartitionStatus, views map[string]*api.Status, up map[string]bool) partitionView {
	p := partitionView{ID: seen.ID, Term: seen.Term, Copies: []copyView{}}
	if up[seen.Master] {
		p.Master = seen.Master
	}
	for _, name := range seen.Replicas {
		copied := copyView{Node: name, Up: up[name]}
		if own := partitionOf(views[name], seen.ID); own != nil {
			copied.Role, copied.Commit, copied.Failure = own.Role, own.Commit, own.Failure
			copied.Up = own.Role != api.RoleStopped && own.Role != api.RoleNone
			if own.Role == api.RoleMaster && own.Term >= p.Term {
				p.Master, p.Term = name, own.Term
			}
			p.Commit, p.Applied = max(p.Commit, own.Commit), max(p.Applied, own.Applied)
		}
		p.Copies = append(p.Copies, copied)
	}
	p.State = stateOK
	alive := 0
	for _, c := range p.Copies {
		if c.Up {
			alive++
		}
		if c.Up && c.Commit > 0 {
			p.Lag = max(p.Lag, p.Commit-c.Commit)
		}
	}
	switch {
	case alive <= len(p.Copies)/2:
		p.State, p.Master = stateNoMajority, ""
	case p.Master == "":
		p.State = stateNoMaster
	case alive < len(p.Copies):
		p.State = stateMissing
	case p.Lag >= behindMin:
		p.State = stateBehind
	}
	return p
}

func partitionOf(s *api.Status, id uint64) *api.PartitionStatus {
	if s == nil {
		return nil
	}
	for i := range s.Partitions {
		if s.Partitions[i].ID == id {
			return &s.Partitions[i]
		}
	}
	return nil
}

// judge counts, and gives the verdict.
func (o *overview) judge(first *api.Status) {
	if o.Epoch == 0 {
		o.Verdict, o.CanLose, o.Reasons = "FORMING", -1, first.Reasons
		return
	}
	o.CanLose = len(o.Members)
	want := min(o.ReplicationFactor, o.Nodes)
	lost := 0
	for _, p := range o.Partitions {
		alive := 0
		for _, c := range p.Copies {
			if c.Up {
				alive++
			}
		}
		o.CanLose = min(o.CanLose, alive-len(p.Copies)/2-1)
		if p.Master == "" {
			lost++
		}
		if p.ID == 0 {
			continue
		}
		if p.Master != "" {
			o.WithMaster++
		}
		if alive >= want {
			o.FullyCopied++
		}
	}
	o.CanLose = max(o.CanLose, -1)
	switch {
	case lost > 0:
		o.Verdict = "UNAVAILABLE"
		if o.WithMaster > 0 {
			o.Verdict = "DEGRADED"
		}
		o.Reasons = append(o.Reasons, fmt.Sprintf("%d of %d partitions have no master: their actors cannot be called", o.PartitionCount-o.WithMaster, o.PartitionCount))
	case o.NodesUp < o.Nodes || o.FullyCopied < o.PartitionCount:
		o.Verdict = "DEGRADED"
	default:
		o.Verdict = "HEALTHY"
	}
	for _, m := range o.Members {
		if m.State != "alive" {
			o.Reasons = append(o.Reasons, fmt.Sprintf("%s (%s) is %s", m.Name, m.APIAddress, m.State))
		}
	}
	if first.Draining {
		o.Reasons = append(o.Reasons, first.Name+" is draining")
	}
}
