// Package fault names the places in the code where the world may go wrong on
// purpose, and the switches that break a safety property on purpose.
//
// A fault point is one line, fault.Here(p, "replica.beforeSend"), that does
// nothing unless a simulation or a chaos run armed it. A planted defect is a
// switch, fault.Planted(p, "no-dedup"), that only a simulated world can turn on;
// the checkers must catch each one. The idea is FoundationDB's BUGGIFY.
package fault

// Points is the port through which the world injects faults. Implementations are
// called from the node's loop only.
type Points interface {
	// Here is called when the code passes the named point. The world may crash
	// the node: then nothing the node does from this instant on reaches disk or
	// network, although the code runs on for a moment.
	Here(point string)
	// Planted reports whether the named defect is switched on.
	Planted(defect string) bool
}

// Here passes the named point. A nil Points is a world without faults.
func Here(p Points, point string) {
	if p != nil {
		p.Here(point)
	}
}

// Planted reports whether the named defect is switched on; never with nil.
func Planted(p Points, defect string) bool {
	return p != nil && p.Planted(defect)
}
