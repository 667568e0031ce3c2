package cluster

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func TestMetricsAreShownAndWellNamed(t *testing.T) {
	n := startNode(t, testConfig(t))
	await(t, "the node to be ready", n.Ready())
	mustCall(t, n, "page", "Add", `{"delta":1}`)

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(n))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`ringmaster_build_info{go="go1.`, `ringmaster_fsync_duration_seconds_count`, `ringmaster_fsync_batch_writes_bucket`,
		`ringmaster_members{state="alive"} 1`, `ringmaster_links{state="up"} 0`, `ringmaster_calls_total`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("/metrics does not show %s", want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
