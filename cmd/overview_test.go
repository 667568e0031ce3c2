package cmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

// threeNodes is what three nodes say of two partitions, all being well.
func threeNodes() map[string]*api.Status {
	views := map[string]*api.Status{}
	for _, name := range []string{"n1", "n2", "n3"} {
		s := &api.Status{Name: name, NodeID: "id-" + name, Epoch: 3, PartitionCount: 2, ReplicationFactor: 3, Ready: true}
		for _, other := range []string{"n1", "n2", "n3"} {
			s.Members = append(s.Members, api.MemberStatus{Name: other, NodeID: "id-" + other, State: "alive", Linked: true, APIAddress: other + ":7420"})
		}
		for id, master := range []string{"n1", "n2", "n3"} {
			role := api.RoleSlave
			if master == name {
				role = api.RoleMaster
			}
			s.Partitions = append(s.Partitions, api.PartitionStatus{
				ID: uint64(id), Term: 5, Role: role, Master: master, Commit: 100, Applied: 90, Replicas: []string{"n1", "n2", "n3"},
			})
		}
		views[s.NodeID] = s
	}
	return views
}

// without is the cluster as the others see it after some nodes were killed.
func without(names ...string) map[string]*api.Status {
	views := threeNodes()
	for _, gone := range names {
		delete(views, "id-"+gone)
	}
	for _, v := range views {
		for i := range v.Members {
			for _, gone := range names {
				if v.Members[i].Name == gone {
					v.Members[i].State, v.Members[i].Linked = "failed", false
				}
			}
		}
	}
	return views
}

func look(views map[string]*api.Status) *overview {
	for _, name := range []string{"n1", "n2", "n3"} {
		if first := views["id-"+name]; first != nil {
			return merge(first, views)
		}
	}
	return nil
}

func TestVerdict(t *testing.T) {
	elect := func(views map[string]*api.Status, partition int, master string) map[string]*api.Status {
		for _, v := range views {
			p := &v.Partitions[partition]
			p.Term++
			p.Master, p.Role = master, api.RoleSlave
			if v.Name == master {
				p.Role = api.RoleMaster
			}
		}
		return views
	}
	unseen := threeNodes() // gossip has not noticed yet, the link has
	delete(unseen, "id-n3")
	unseen["id-n1"].Members[2].Linked = false
	far := threeNodes() // we cannot reach the others, who are well
	delete(far, "id-n2")
	delete(far, "id-n3")
	behind := threeNodes()
	behind["id-n1"].Partitions[1].Commit = 5000
	behind["id-n2"].Partitions[1].Commit = 5000
	forming := map[string]*api.Status{"id-n1": {Name: "n1", NodeID: "id-n1", Reasons: []string{"it waits for 2 more nodes"}}}
	stopped := threeNodes()
	stopped["id-n3"].Partitions[1].Role = api.RoleStopped

	for name, test := range map[string]struct {
		views       map[string]*api.Status
		verdict     string
		up          int
		withMaster  int
		fullyCopied int
		canLose     int
		says        string
	}{
		"all is well":      {threeNodes(), "HEALTHY", 3, 2, 2, 1, "can lose: any 1 node"},
		"others not ours":  {far, "HEALTHY", 3, 2, 2, 1, "HEALTHY"},
		"one gone":         {elect(without("n3"), 2, "n1"), "DEGRADED", 2, 2, 0, 0, "fix: start n3 again"},
		"one gone, before": {without("n3"), "DEGRADED", 2, 1, 0, 0, "1 of 2 partitions have a master"},
		"gossip is late":   {elect(unseen, 2, "n1"), "DEGRADED", 2, 2, 0, 0, "n3  n3:7420  unreachable"},
		"two gone":         {without("n2", "n3"), "UNAVAILABLE", 1, 0, 0, -1, "0 of 2 partitions have a master"},
		"slave behind":     {behind, "HEALTHY", 3, 2, 2, 1, "HEALTHY"},
		"not formed":       {forming, "FORMING", 0, 0, 0, -1, "it waits for 2 more nodes"},
		"replica stopped":  {stopped, "DEGRADED", 3, 2, 1, 0, "1 have 3 copies"},
	} {
		o := look(test.views)
		if o.Verdict != test.verdict || o.NodesUp != test.up || o.WithMaster != test.withMaster || o.FullyCopied != test.fullyCopied || o.CanLose != test.canLose {
			t.Errorf("%s: got %s, %d up, %d with master, %d copied, can lose %d; want %+v", name, o.Verdict, o.NodesUp, o.WithMaster, o.FullyCopied, o.CanLose, test)
		}
		a := &app{color: "never", streams: Streams{Out: &bytes.Buffer{}}}
		p := &page{app: a}
		o.text(p)
		if !strings.Contains(p.buf.String(), test.says) {
			t.Errorf("%s: the text does not say %q:\n%s", name, test.says, p.buf.String())
		}
	}
	if p := look(behind).Partitions[1]; p.State != stateBehind || p.Lag != 4900 {
		t.Errorf("a slave that is behind: %+v", p)
	}
	if p := look(without("n2", "n3")).Partitions[1]; p.State != stateNoMajority || p.Master != "" {
		t.Errorf("no majority: %+v", p)
	}
}
