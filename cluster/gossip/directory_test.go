package gossip

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func member(id string, boot uint64) record {
	return record{Member: Member{NodeID: id, Name: "name-" + id, Boot: boot}}
}

func leaving(r record) record {
	r.leaving = true
	return r
}

func TestDirectory(t *testing.T) {
	type step struct {
		what  string
		do    func(*directory) Event
		want  EventKind
		state State
		boot  uint64
	}
	alive := func(r record) func(*directory) Event { return func(d *directory) Event { return d.alive(r) } }
	gone := func(r record) func(*directory) Event { return func(d *directory) Event { return d.gone(r) } }
	renamed := member("a", 2)
	renamed.Zone = "z2"
	steps := []step{
		{"gone before it was seen", gone(member("a", 1)), 0, 0, 0},
		{"first sight", alive(member("a", 1)), Joined, Alive, 1},
		{"again", alive(member("a", 1)), 0, Alive, 1},
		{"fails", gone(member("a", 1)), MemberFailed, Failed, 1},
		{"fails again", gone(member("a", 1)), 0, Failed, 1},
		{"returns", alive(member("a", 1)), Joined, Alive, 1},
		{"boots anew", alive(member("a", 2)), Joined, Alive, 2},
		{"old boot shows up", alive(member("a", 1)), 0, Alive, 2},
		{"old boot fails", gone(member("a", 1)), 0, Alive, 2},
		{"new zone", alive(renamed), Updated, Alive, 2},
		{"is leaving", alive(leaving(member("a", 2))), Updated, Alive, 2},
		{"left", gone(member("a", 2)), MemberLeft, Left, 2},
		{"self", alive(member("self", 9)), 0, Left, 2},
	}
	d := newDirectory(record{Member: Member{NodeID: "self", State: Alive}}, time.Hour, time.Now)
	for _, s := range steps {
		e := s.do(d)
		if e.Kind != s.want {
			t.Errorf("%s: event %v, want %v", s.what, e.Kind, s.want)
		}
		if m := d.members["a"]; m != nil && (m.State != s.state || m.Boot != s.boot) {
			t.Errorf("%s: state %v boot %d, want %v boot %d", s.what, m.State, m.Boot, s.state, s.boot)
		}
	}
}

func TestDirectoryForgets(t *testing.T) {
	now := time.Unix(1000, 0)
	d := newDirectory(record{Member: Member{NodeID: "self"}}, time.Minute, func() time.Time { return now })
	for _, id := range []string{"a", "b", "c"} {
		d.alive(member(id, 1))
	}
	d.gone(member("a", 1))
	now = now.Add(2 * time.Minute)
	d.gone(member("b", 1))
	d.prune()
	var left []string
	for _, m := range d.list() {
		left = append(left, m.NodeID)
	}
	if diff := cmp.Diff([]string{"b", "c", "self"}, left); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func TestYieldsIsOneSided(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	tests := []struct {
		name string
		a, b Member
		want bool
	}{
		{"no cluster", Member{NodeID: "a", Started: at(0)}, Member{NodeID: "b", ClusterID: "c", Started: at(99)}, true},
		{"later", Member{NodeID: "a", Started: at(99)}, Member{NodeID: "b", Started: at(0)}, true},
		{"together, higher id", Member{NodeID: "b", Started: at(0)}, Member{NodeID: "a", Started: at(1)}, true},
		{"together, lower id", Member{NodeID: "a", Started: at(1)}, Member{NodeID: "b", Started: at(0)}, false},
		{"copies", Member{NodeID: "a", GossipAddress: "h:2"}, Member{NodeID: "a", GossipAddress: "h:1"}, true},
	}
	for _, test := range tests {
		if got := yields(&test.a, &test.b); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		if yields(&test.a, &test.b) == yields(&test.b, &test.a) {
			t.Errorf("%s: both or neither yield", test.name)
		}
	}
}
