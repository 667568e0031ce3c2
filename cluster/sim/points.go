package sim

import (
	"maps"
	"slices"

	"github.com/seed-49de4af9/ringmaster/actors/fault"
)

// points are the fault points of one life of a node.
type points struct {
	host *host
	boot uint64
}

var _ fault.Points = (*points)(nil)

// Here counts the passing of a named point and crashes the node if it is doomed
// to end there.
func (p *points) Here(point string) {
	h := p.host
	if h.boot != p.boot {
		return
	}
	h.w.points[point]++
	if h.doomed != point {
		return
	}
	h.countdown--
	if h.countdown > 0 {
		return
	}
	h.w.faults.count("crash at "+point, h)
	h.crash("at the fault point " + point)
	h.w.faults.restartLater(h)
}

// Planted reports whether a defect is switched on.
func (p *points) Planted(defect string) bool { return p.host.w.planted(defect) }

// knownPoints gives the points passed so far, sorted.
func (w *World) knownPoints() []string { return slices.Sorted(maps.Keys(w.points)) }

// States that are counted because promises are most easily broken in them.
const (
	// A replica became master while another node still believed to be it.
	probeTwoMasters = "two masters of a partition at a time"
	probeReplayed   = "a retry got the stored answer"
	probeRenewed    = "a session was renewed"
)
