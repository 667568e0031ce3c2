package api

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// metrics are what the API counts. Names of kinds and methods are labels, since
// programs define them; keys never are.
type metrics struct {
	calls    *prometheus.CounterVec
	duration *prometheus.HistogramVec
	underWay *prometheus.GaugeVec
	links    prometheus.Gauge
}

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ringmaster_calls_total",
			Help: "Calls of clients that ended at this node, by how they ended.",
		}, []string{"kind", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ringmaster_call_duration_seconds",
			Help:    "Time from a client's call to its reply at this node, waiting for a master included.",
			Buckets: prometheus.ExponentialBucketsRange(0.0005, 8, 15),
		}, []string{"kind", "method"}),
		underWay: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "ringmaster_calls_in_flight",
			Help: "Calls of clients under way at this node.",
		}, []string{"kind", "method"}),
		links: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "ringmaster_client_links",
			Help: "Clients connected by a link.",
		}),
	}
	for _, c := range []prometheus.Collector{m.calls, m.duration, m.underWay, m.links} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of the api: %w", err)
		}
	}
	return m, nil
}

// method gives a method its metrics, so that counting needs no look-up. The code
// that matters most stands in the output from the start.
func (m *metrics) method(am *actors.Method) *method {
	out := &method{
		Method:   am,
		duration: m.duration.WithLabelValues(am.Kind, am.Name),
		underWay: m.underWay.WithLabelValues(am.Kind, am.Name),
	}
	for code := range out.calls {
		name := "unspecified"
		if _, known := messages.Code_name[int32(code)]; known {
			name = actors.CodeName(messages.Code(code))
		}
		out.calls[code] = m.calls.WithLabelValues(am.Kind, am.Name, name)
	}
	return out
}
