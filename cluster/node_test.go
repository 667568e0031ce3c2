package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/storage"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/counter/counterpb"
)

// testConfig is a node on free ports that says what matters to the test's log.
func testConfig(t testing.TB) Config {
	return Config{
		Listen: "127.0.0.1:0", PeerListen: "127.0.0.1:0", GossipListen: "127.0.0.1:0",
		Behaviors: []*actors.Behavior{counter.Behavior()}, Partitions: 8, Version: "test",
		Logger: slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// testLog writes to a test's log until the test ends.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s", bytes.TrimSpace(p))
	}
	return len(p), nil
}

// noLeaks returns a check that no goroutine was left behind since.
func noLeaks(t *testing.T) func() {
	t.Helper()
	before := goleak.IgnoreCurrent()
	return func() {
		t.Helper()
		// memberlist's last probe ends with its interval.
		goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probe"))
	}
}

func startNode(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { _ = n.Kill() }) // tests that care look at errors themselves
	return n
}

// httpCall runs a method of the counter over a node's port.
func httpCall(t testing.TB, n *Node, key, method, body, idempotencyKey string) (status int, reply map[string]any) {
	t.Helper()
	url := fmt.Sprintf("http://%s/v1/actors/counter/%s/%s", n.Addr(), key, method)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Request-Timeout", "10s")
	if idempotencyKey != "" {
		request.Header.Set("Idempotency-Key", idempotencyKey)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, map[string]any{"error": err.Error()}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		t.Fatalf("%s: %v in %s", url, err, text)
	}
	return response.StatusCode, reply
}

func mustCall(t testing.TB, n *Node, key, method, body string) map[string]any {
	t.Helper()
	status, reply := httpCall(t, n, key, method, body, "")
	if status != http.StatusOK {
		t.Fatalf("%s %s on node %s: status %d, %v", method, key, n.Name(), status, reply)
	}
	return reply
}

func TestOneNodeIsACluster(t *testing.T) {
	defer noLeaks(t)()
	n := startNode(t, testConfig(t))
	await(t, "the node to be ready", n.Ready())
	mustCall(t, n, "page", "Add", `{"delta":40}`)
	mustCall(t, n, "page", "Add", `{"delta":2}`)
	want := map[string]any{"value": "42"}
	if diff := cmp.Diff(want, mustCall(t, n, "page", "Get", `{}`)); diff != "" {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	got, err := counter.Add.Call(t.Context(), n.Client(), "page", &counterpb.AddRequest{Delta: 1})
	if err != nil || got.GetValue() != 43 {
		t.Errorf("Add by the node's own client: %v, %v; want 43", got, err)
	}
	if n.Name() != "node-"+strings.ToLower(n.ID()[20:]) {
		t.Errorf("the node %s is called %s", n.ID(), n.Name())
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := errors.Join(n.Kill(), n.Stop(t.Context())); err != nil {
		t.Errorf("ended again: %v", err)
	}
}

func TestANodeRemembersWhatItsDirectoryHolds(t *testing.T) {
	cfg := testConfig(t)
	cfg.Dir, cfg.Name = t.TempDir(), "ada"
	n := startNode(t, cfg)
	await(t, "the node to be ready", n.Ready())
	mustCall(t, n, "page", "Add", `{"delta":7}`)
	id := n.ID()
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg.Name = ""
	for boot := uint64(2); boot < 4; boot++ {
		n = startNode(t, cfg)
		await(t, "the node to be ready again", n.Ready())
		if n.ID() != id || n.Name() != "ada" || n.self.GetBoot() != boot {
			t.Errorf("after a restart: node %s %s, boot %d; want %s ada, %d", n.ID(), n.Name(), n.self.GetBoot(), id, boot)
		}
		if diff := cmp.Diff(map[string]any{"value": "7"}, mustCall(t, n, "page", "Get", `{}`)); diff != "" {
			t.Errorf("after a restart (-want +got):\n%s", diff)
		}
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartSaysWhatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := testConfig(t)
	used.Dir = t.TempDir()
	startNode(t, used)
	address := taken.Addr().String()
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"api port", func(c *Config) { c.Listen = address }, "--listen"},
		{"peer port", func(c *Config) { c.PeerListen = address }, "--peer-listen"},
		{"gossip port", func(c *Config) { c.GossipListen = address }, "--gossip-listen"},
		{"directory", func(c *Config) { c.Dir = used.Dir }, "another process"},
		{"kind given twice", func(c *Config) { c.Behaviors = append(c.Behaviors, counter.Behavior()) }, "counter"},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer noLeaks(t)()
			cfg := testConfig(t)
			test.change(&cfg)
			n, err := Start(t.Context(), cfg)
			if err == nil {
				_ = n.Kill()
				t.Fatal("Start worked")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("Start: %v; want it to name %q", err, test.want)
			}
			t.Log(err)
		})
	}
}

func TestANodeWhoseDiskFailsEndsItself(t *testing.T) {
	broken := make(chan struct{})
	disk := errorfs.Wrap(storage.NewDisk().FS(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		select {
		case <-broken:
			if op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncTo {
				return syscall.EIO
			}
		default:
		}
		return nil
	}))
	n, err := start(t.Context(), testConfig(t), disk)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the node to be ready", n.Ready())
	mustCall(t, n, "page", "Add", `{"delta":1}`)
	close(broken)
	status, reply := httpCall(t, n, "page", "Add", `{"delta":1}`, "")
	if status == http.StatusOK {
		t.Errorf("a call was acknowledged that is not on disk: %v", reply)
	}
	if err := await(t, "the node's failure", n.Fatal()); !errors.Is(err, syscall.EIO) {
		t.Errorf("Fatal: %v, want the disk's error", err)
	}
	_ = n.Stop(t.Context()) // waits until the node has ended itself
	if conn, err := net.DialTimeout("tcp", n.Addr(), time.Second); err == nil {
		conn.Close()
		t.Errorf("the node still listens")
	}
}
