package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// methodTable finds methods by name. It does not change.
type methodTable struct {
	kinds map[string]*kind
	names []string
}

type kind struct {
	behavior *actors.Behavior
	methods  map[string]*method
	names    []string
}

// method is a method with its metrics at hand.
type method struct {
	*actors.Method
	calls    [codesMax]prometheus.Counter
	duration prometheus.Observer
	underWay prometheus.Gauge
}

// codesMax is more than the highest number of a Code.
const codesMax = 16

// newMethodTable lists what callers may use. The ring's own kind is not among it:
// its actor is reached through the table alone.
func newMethodTable(behaviors []*actors.Behavior, m *metrics) *methodTable {
	t := &methodTable{kinds: make(map[string]*kind)}
	for _, b := range behaviors {
		if b.Kind() == actors.SystemKind {
			continue
		}
		k := &kind{behavior: b, methods: make(map[string]*method)}
		for _, am := range b.Methods() {
			k.methods[am.Name] = m.method(am)
			k.names = append(k.names, am.Name)
		}
		t.kinds[b.Kind()] = k
	}
	t.names = slices.Sorted(maps.Keys(t.kinds))
	return t
}

// find gives a method, or what is wrong with the names.
func (t *methodTable) find(kindName, name string) (*method, *unknownName) {
	k := t.kinds[kindName]
	if k == nil {
		return nil, unknown("kind", kindName, "this node has", t.names)
	}
	m := k.methods[name]
	if m == nil {
		return nil, unknown("method", name, kindName+" has", k.names)
	}
	return m, nil
}

// unknownName is about a name that does not exist.
type unknownName struct {
	message, near string
	known         []string
}

func unknown(what, name, owner string, known []string) *unknownName {
	u := &unknownName{near: actors.Nearest(name, known), known: known}
	list := strings.Join(known, ", ")
	if list == "" {
		list = "none"
	}
	u.message = fmt.Sprintf("there is no %s %.80q; %s %s", what, name, owner, list)
	if u.near != "" {
		u.message += fmt.Sprintf(". Did you mean %q?", u.near)
	}
	return u
}

// begin counts a call in; end counts it out.
func (m *method) begin() time.Time {
	m.underWay.Inc()
	return time.Now()
}

func (m *method) end(started time.Time, code messages.Code) {
	m.underWay.Dec()
	m.duration.Observe(time.Since(started).Seconds())
	if code < 0 || int(code) >= codesMax {
		code = 0
	}
	m.calls[code].Inc()
}
