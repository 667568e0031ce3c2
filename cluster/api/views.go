package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/actors/ring"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Unready says why a node with this status cannot serve; nothing when it can.
func (s *Status) Unready() []string {
	var reasons []string
	add := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	switch {
	case s.Failure != "":
		add("the engine stopped: %s", s.Failure)
	case s.ClusterID == "":
		why := s.Waiting
		if why == "" {
			why = "check --expect and --join"
		}
		add("it belongs to no cluster yet: %s", why)
	case s.Epoch == 0:
		add("it does not know the ring's table yet: a majority of its copies must be up")
	}
	if s.Draining {
		add("it is draining: its masterships go to other nodes")
	}
	var headless, stopped []string
	for _, p := range s.Partitions {
		switch {
		case p.Role == RoleStopped:
			stopped = append(stopped, fmt.Sprint(p.ID))
		case p.Role != RoleNone && p.Master == "":
			headless = append(headless, fmt.Sprint(p.ID))
		}
	}
	if len(headless) > 0 {
		add("no master known for %d of its partitions: %s", len(headless), abbreviated(headless))
	}
	if len(stopped) > 0 {
		add("%d of its replicas failed and stay stopped: partitions %s", len(stopped), abbreviated(stopped))
	}
	return reasons
}

func abbreviated(names []string) string {
	const most = 8
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// status asks the engine, and judges its answer.
func (s *Server) status(ctx context.Context) (*Status, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.StatusTimeout)
	defer cancel()
	status, err := s.engine.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("the engine of this node does not answer: %w; its log may say why", err)
	}
	if status.Members == nil {
		status.Members = []MemberStatus{}
	}
	if status.Partitions == nil {
		status.Partitions = []PartitionStatus{}
	}
	status.Reasons = status.Unready()
	status.Ready = len(status.Reasons) == 0
	if status.Reasons == nil {
		status.Reasons = []string{}
	}
	return status, nil
}

func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	status, err := s.status(r.Context())
	if err != nil {
		notReady(err.Error()).write(w)
		return
	}
	writeJSON(w, http.StatusOK, status)
}

// MembersView is what GET /v1/members answers.
type MembersView struct {
	// Node is the name of the node that answers.
	Node    string         `json:"node"`
	Members []MemberStatus `json:"members"`
}

func (s *Server) serveMembers(w http.ResponseWriter, r *http.Request) {
	status, err := s.status(r.Context())
	if err != nil {
		notReady(err.Error()).write(w)
		return
	}
	writeJSON(w, http.StatusOK, MembersView{Node: status.Name, Members: status.Members})
}

// serveHealth says that the process runs and its engine was not given up. It never
// depends on other nodes: who restarts on it must not restart a whole cluster.
func (s *Server) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.Limits.StatusTimeout)
	defer cancel()
	status, err := s.engine.Status(ctx)
	if err == nil && status.Failure != "" {
		notReady("the engine stopped: " + status.Failure).write(w)
		return
	}
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func notReady(message string) *Problem {
	return &Problem{Code: CodeNotReady, Message: message, status: http.StatusServiceUnavailable, RetryAfterMillis: 1000}
}

// serveReady answers 200 when this node can serve. With ?verbose it lists its
// checks, one a line.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	status, err := s.status(r.Context())
	var reasons []string
	if err != nil {
		reasons = []string{err.Error()}
	} else {
		reasons = status.Reasons
	}
	if r.URL.Query().Has("verbose") {
		s.serveChecks(w, status, reasons)
		return
	}
	if len(reasons) > 0 {
		p := notReady("not ready: " + strings.Join(reasons, "; "))
		p.Known = nil
		p.write(w)
		return
	}
	writeBody(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (s *Server) serveChecks(w http.ResponseWriter, status *Status, reasons []string) {
	var text bytes.Buffer
	check := func(name string, ok bool) {
		sign, word := "-", "failed"
		if ok {
			sign, word = "+", "ok"
		}
		fmt.Fprintf(&text, "[%s]%s %s\n", sign, name, word)
	}
	check("engine", status != nil && status.Failure == "")
	if status != nil {
		check("cluster", status.ClusterID != "")
		check("table", status.Epoch > 0)
		check("not draining", !status.Draining)
		ready := true
		for _, p := range status.Partitions {
			ready = ready && (p.Role == RoleNone || p.Master != "" && p.Role != RoleStopped)
		}
		check("masters", ready && status.Epoch > 0)
	}
	for _, reason := range reasons {
		fmt.Fprintf(&text, "not ready: %s\n", reason)
	}
	code := http.StatusOK
	if len(reasons) > 0 {
		code = http.StatusServiceUnavailable
	}
	writeBody(w, code, "text/plain; charset=utf-8", text.Bytes())
}

// KindView describes a kind, as GET /v1/kinds lists them.
type KindView struct {
	Kind    string       `json:"kind"`
	Version uint64       `json:"version"`
	State   string       `json:"state"`
	Methods []MethodView `json:"methods"`
}

// MethodView describes a method.
type MethodView struct {
	Name  string `json:"name"`
	Query bool   `json:"query"`
	// Request and Reply list the fields: "AddRequest { int64 delta }".
	Request string `json:"request"`
	Reply   string `json:"reply"`
}

// KindsView is what GET /v1/kinds answers.
type KindsView struct {
	Node  string     `json:"node"`
	Kinds []KindView `json:"kinds"`
}

func (s *Server) serveKinds(w http.ResponseWriter, _ *http.Request) {
	view := KindsView{Node: s.nodeName(s.engine.Route().GetNodeId()), Kinds: []KindView{}}
	for _, name := range s.methods.names {
		view.Kinds = append(view.Kinds, DescribeKind(s.methods.kinds[name].behavior))
	}
	writeJSON(w, http.StatusOK, view)
}

// DescribeKind describes a behavior for people and programs.
func DescribeKind(b *actors.Behavior) KindView {
	view := KindView{Kind: b.Kind(), Version: b.Version(), State: actors.DescribeMessage(b.State().Descriptor())}
	for _, m := range b.Methods() {
		view.Methods = append(view.Methods, MethodView{
			Name: m.Name, Query: m.Query,
			Request: actors.Describe(m), Reply: actors.DescribeMessage(m.Reply.Descriptor()),
		})
	}
	return view
}

// RingView is what GET /v1/ring answers: the table, and who masters what.
type RingView struct {
	Node      string `json:"node"`
	ClusterID string `json:"cluster_id"`
	Epoch     uint64 `json:"epoch"`
	// ReplicationFactor is R = N / M: copies for each partition, on average.
	ReplicationFactor float64 `json:"replication_factor"`
	// Balance is the largest load of a node divided by the mean; 1 is perfect.
	Balance    float64        `json:"balance"`
	Nodes      []RingNode     `json:"nodes"`
	Partitions []RingAssigned `json:"partitions"`
}

// RingNode is a node's share of the ring, by the table.
type RingNode struct {
	Name   string `json:"name"`
	NodeID string `json:"node_id"`
	Zone   string `json:"zone"`
	Weight uint32 `json:"weight"`
	Copies int    `json:"copies"`
	// WantedMasters is how many it should master, Masters how many it is believed
	// to master now.
	WantedMasters int `json:"wanted_masters"`
	Masters       int `json:"masters"`
}

// RingAssigned is one partition's slice of the circle and its copies.
type RingAssigned struct {
	ID uint64 `json:"id"`
	// From and To are the first and the last position of its slice, in hex; empty
	// for partition 0, which holds the table.
	From     string   `json:"from,omitempty"`
	To       string   `json:"to,omitempty"`
	Master   string   `json:"master"`
	Replicas []string `json:"replicas"`
}

func (s *Server) serveRing(w http.ResponseWriter, _ *http.Request) {
	table := s.engine.Table()
	if table == nil || table.GetEpoch() == 0 {
		notReady("this node does not know the ring's table yet; GET /readyz says what it waits for").write(w)
		return
	}
	writeJSON(w, http.StatusOK, ringView(table, s.engine.Route()))
}

func ringView(table *messages.Table, route *messages.Route) RingView {
	figures := ring.Figures(table)
	view := RingView{
		Node: ring.NameOf(table, route.GetNodeId()), ClusterID: table.GetClusterId(), Epoch: table.GetEpoch(),
		ReplicationFactor: figures.ReplicationFactor(), Balance: figures.Balance,
	}
	masters := make(map[string]int)
	for _, a := range table.GetAssignments() {
		id := a.GetPartition()
		p := RingAssigned{ID: id, Replicas: []string{}}
		if id != ring.SystemPartition {
			from, to := ring.Slice(id, table.GetPartitionCount())
			p.From, p.To = fmt.Sprintf("%016x", from), fmt.Sprintf("%016x", to)
		}
		if id < uint64(len(route.GetMasters())) {
			if node := route.GetMasters()[id]; node != "" {
				p.Master = ring.NameOf(table, node)
				if id != ring.SystemPartition {
					masters[node]++
				}
			}
		}
		for _, r := range a.GetReplicas() {
			p.Replicas = append(p.Replicas, ring.NameOf(table, r.GetNodeId()))
		}
		view.Partitions = append(view.Partitions, p)
	}
	for _, n := range figures.Nodes {
		view.Nodes = append(view.Nodes, RingNode{
			Name: n.Name, NodeID: n.NodeID, Zone: n.Zone, Weight: n.Weight, Copies: n.Copies,
			WantedMasters: n.Masters, Masters: masters[n.NodeID],
		})
	}
	return view
}

// serveIndex says what there is.
func (s *Server) serveIndex(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Name  string   `json:"name"`
		Node  string   `json:"node"`
		Call  string   `json:"call"`
		Kinds []string `json:"kinds"`
		Paths []string `json:"paths"`
	}{"ringmaster", s.nodeName(s.engine.Route().GetNodeId()), "POST " + actorsPath + "{kind}/{key}/{method}", s.methods.names, s.paths})
}
