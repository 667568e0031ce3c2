package cluster

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func startLocal(t *testing.T, n int, cfg Config) *Local {
	t.Helper()
	l, err := StartLocal(t.Context(), n, cfg)
	if err != nil {
		t.Fatalf("StartLocal: %v", err)
	}
	t.Cleanup(func() { _ = l.Kill() }) // tests that care look at errors themselves
	ready(t, l)
	return l
}

func ready(t *testing.T, l *Local) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventually asks again until a call works; the idempotency key sees to it that it
// runs once.
func eventually(t *testing.T, n *Node, key, method, body, once string) map[string]any {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		status, reply := httpCall(t, n, key, method, body, once)
		if status == http.StatusOK {
			return reply
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s on node %s: status %d, %v", method, key, n.Name(), status, reply)
		}
	}
}

func TestThreeNodesOutliveTheLossOfEach(t *testing.T) {
	defer noLeaks(t)()
	l := startLocal(t, 3, testConfig(t))
	if diff := cmp.Diff([]string{"n1", "n2", "n3"}, l.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	const keys = 20 // enough for every partition
	add := func(round int) {
		t.Helper()
		for k := range keys {
			n := l.Nodes()[k%len(l.Nodes())]
			eventually(t, n, fmt.Sprintf("k%d", k), "Add", `{"delta":1}`, fmt.Sprintf("round %d key %d", round, k))
		}
	}
	check := func(want int) {
		t.Helper()
		for k := range keys {
			for _, n := range l.Nodes() {
				got := eventually(t, n, fmt.Sprintf("k%d", k), "Get", `{}`, "")
				if diff := cmp.Diff(map[string]any{"value": fmt.Sprint(want)}, got); diff != "" {
					t.Fatalf("k%d on node %s (-want +got):\n%s", k, n.Name(), diff)
				}
			}
		}
	}
	add(0)
	check(1)
	for i, name := range l.Names() {
		if err := l.Kill(name); err != nil {
			t.Fatal(err)
		}
		if l.Node(name) != nil || len(l.Nodes()) != 2 {
			t.Fatalf("node %s is still there", name)
		}
		start := time.Now()
		add(i + 1)
		t.Logf("%d calls after the loss of %s took %v", keys, name, time.Since(start))
		check(i + 2)
		if err := l.Restart(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		ready(t, l)
		check(i + 2)
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestAStoppedNodeHandsItsMastershipsOver(t *testing.T) {
	l := startLocal(t, 3, testConfig(t))
	mustCall(t, l.Node("n1"), "page", "Add", `{"delta":1}`)
	if err := l.Stop(t.Context(), "n2"); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	for k := range 20 {
		mustCall(t, l.Node("n1"), fmt.Sprintf("k%d", k), "Add", `{"delta":1}`)
	}
	if err := l.Restart(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	ready(t, l)
	if diff := cmp.Diff(map[string]any{"value": "1"}, mustCall(t, l.Node("n2"), "page", "Get", `{}`)); diff != "" {
		t.Errorf("on the node that came back (-want +got):\n%s", diff)
	}
}

func TestLocalSaysWhatIsWrong(t *testing.T) {
	l := startLocal(t, 1, testConfig(t))
	for name, err := range map[string]error{
		"kill unknown":    l.Kill("n9"),
		"restart running": l.Restart(t.Context(), "n1"),
		"restart unknown": l.Restart(t.Context(), "n9"),
		"stop unknown":    l.Stop(t.Context(), "n9"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := l.Kill("n1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Kill("n1"); err == nil {
		t.Errorf("a node was killed twice")
	}
	for _, n := range []int{0, 1000} {
		if _, err := StartLocal(t.Context(), n, testConfig(t)); err == nil {
			t.Errorf("a cluster of %d nodes started", n)
		}
	}
}
