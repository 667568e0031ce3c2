package api_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// fuzzOne asks a server for a path without a connection.
func fuzzOne(t *testing.T, s *api.Server, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	u, err := req.URL.Parse(path)
	if err != nil {
		return
	}
	req.URL = u
	w := httptest.NewRecorder()
	s.ServeHTTP(w, req)
	if w.Code >= 500 {
		t.Fatalf("%q: status %d: %s", path, w.Code, w.Body)
	}
	if w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("%q: no JSON: %s", path, w.Body)
	}
}

// h2c is an HTTP/2 client without TLS, as gRPC needs it.
func (n *node) h2c() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestInvokeByEveryProtocol(t *testing.T) {
	n := start(t)
	const procedure = "/ringmaster.ActorService/Invoke"
	for name, options := range map[string][]connect.ClientOption{
		"connect":      nil,
		"connect json": {connect.WithProtoJSON()},
		"grpc":         {connect.WithGRPC()},
		"grpc-web":     {connect.WithGRPCWeb()},
	} {
		client := n.client
		if name == "grpc" {
			client = n.h2c()
		}
		c := connect.NewClient[messages.InvokeRequest, messages.InvokeResponse](client, "http://"+n.addr+procedure, options...)
		got, err := c.CallUnary(t.Context(), connect.NewRequest(&messages.InvokeRequest{
			Kind: "counter", Key: name, Method: "Add", Payload: []byte{8, 5}, IdempotencyKey: "k",
		}))
		if err != nil || string(got.Msg.GetPayload()) != "\x08\x05" || got.Msg.GetNode() != "n1" {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		_, err = c.CallUnary(t.Context(), connect.NewRequest(&messages.InvokeRequest{Kind: "counter", Key: name, Method: "Sub"}))
		var e *connect.Error
		if !errors.As(err, &e) || e.Code() != connect.CodeNotFound || len(e.Details()) != 1 {
			t.Fatalf("%s: unknown method: %v", name, err)
		}
		detail, err := e.Details()[0].Value()
		if r, ok := detail.(*messages.Reply); err != nil || !ok || r.GetCode() != messages.Code_CODE_NOT_FOUND {
			t.Errorf("%s: detail %v, %v", name, detail, err)
		}
		for problem, req := range map[string]*messages.InvokeRequest{
			"two names":     {Kind: "counter", Key: "x", Method: "Add", IdempotencyKey: "k", Session: make([]byte, 16), Sequence: 1},
			"short session": {Kind: "counter", Key: "x", Method: "Add", Session: []byte("s"), Sequence: 1},
			"long key":      {Kind: "counter", Key: "x", Method: "Add", IdempotencyKey: strings.Repeat("k", 257)},
			"no key":        {Kind: "counter", Method: "Add"},
		} {
			if _, err := c.CallUnary(t.Context(), connect.NewRequest(req)); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s: %s: %v", name, problem, err)
			}
		}
	}
}

func TestReflection(t *testing.T) {
	n := start(t)
	stream := grpcreflect.NewClient(n.h2c(), "http://"+n.addr, connect.WithGRPC()).NewStream(t.Context())
	defer func() { _, _ = stream.Close() }()
	files, err := stream.FileContainingSymbol("ringmaster.ActorService")
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
}

func TestHealthOfGRPC(t *testing.T) {
	n := start(t)
	check := func() string {
		got := n.do(http.MethodPost, "/grpc.health.v1.Health/Check", "{}", "Content-Type", "application/json")
		return got.body
	}
	if got := check(); !strings.Contains(got, "SERVING_STATUS_SERVING") {
		t.Errorf("ready: %s", got)
	}
	n.engine.view = func(s *api.Status) { s.Draining = true }
	if got := check(); !strings.Contains(got, "NOT_SERVING") {
		t.Errorf("draining: %s", got)
	}
}

func TestViews(t *testing.T) {
	n := start(t)
	got := n.do(http.MethodGet, "/v1/status", "")
	var status map[string]any
	if err := json.Unmarshal([]byte(got.body), &status); err != nil || got.status != 200 {
		t.Fatal(got, err)
	}
	for _, field := range []string{"name", "node_id", "epoch", "members", "partitions", "ready"} {
		if _, ok := status[field]; !ok {
			t.Errorf("status has no %s: %s", field, got.body)
		}
	}
	first, _ := status["partitions"].([]any)[1].(map[string]any)
	for _, field := range []string{"id", "term", "role", "master", "commit", "applied", "replicas"} {
		if _, ok := first[field]; !ok {
			t.Errorf("a partition of the status has no %s", field)
		}
	}
	var ring api.RingView
	if got = n.do(http.MethodGet, "/v1/ring", ""); json.Unmarshal([]byte(got.body), &ring) != nil || len(ring.Partitions) != 9 ||
		ring.Partitions[8].To != "ffffffffffffffff" || ring.Nodes[0].Masters != 8 {
		t.Errorf("ring: %s", got.body)
	}
	var kinds api.KindsView
	if got = n.do(http.MethodGet, "/v1/kinds", ""); json.Unmarshal([]byte(got.body), &kinds) != nil || kinds.Node != "n1" ||
		len(kinds.Kinds) != 3 || kinds.Kinds[0].Methods[0].Request != "AddRequest { int64 delta }" {
		t.Errorf("kinds: %s", got.body)
	}
	var members api.MembersView
	if got = n.do(http.MethodGet, "/v1/members", ""); json.Unmarshal([]byte(got.body), &members) != nil || members.Members[0].Name != "n1" {
		t.Errorf("members: %s", got.body)
	}
	if got = n.do(http.MethodGet, "/", ""); got.status != 200 || !strings.Contains(got.body, "/v1/status") {
		t.Errorf("index: %+v", got)
	}
}

func TestReady(t *testing.T) {
	n := start(t)
	for name, test := range map[string]struct {
		change func(*api.Status)
		says   string
	}{
		"ready":       {func(*api.Status) {}, ""},
		"not formed":  {func(s *api.Status) { s.ClusterID = "" }, "no cluster"},
		"no table":    {func(s *api.Status) { s.Epoch = 0 }, "table"},
		"draining":    {func(s *api.Status) { s.Draining = true }, "draining"},
		"no master":   {func(s *api.Status) { s.Partitions[3].Master = "" }, "no master known for 1 of its partitions: 3"},
		"not ours":    {func(s *api.Status) { s.Partitions[3].Master, s.Partitions[3].Role = "", api.RoleNone }, ""},
		"stopped":     {func(s *api.Status) { s.Partitions[3].Role = api.RoleStopped }, "partitions 3"},
		"engine gone": {func(s *api.Status) { s.Failure = "disk full" }, "disk full"},
	} {
		n.engine.view = test.change
		got, verbose := n.do(http.MethodGet, "/readyz", ""), n.do(http.MethodGet, "/readyz?verbose", "")
		want := http.StatusOK
		if test.says != "" {
			want = http.StatusServiceUnavailable
			if p := n.problem(got); p.Code != api.CodeNotReady || !strings.Contains(p.Message, test.says) {
				t.Errorf("%s: %s", name, got.body)
			}
		}
		if got.status != want || verbose.status != want || !strings.Contains(verbose.body, test.says) {
			t.Errorf("%s: status %d and %d, want %d: %s", name, got.status, verbose.status, want, verbose.body)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	n := start(t, func(c *api.Config) { c.Registry = registry })
	n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{"delta":1}`)
	got := n.do(http.MethodGet, "/metrics", "")
	for _, line := range []string{
		`ringmaster_calls_total{code="ok",kind="counter",method="Add"} 1`,
		`ringmaster_call_duration_seconds_count{kind="counter",method="Add"} 1`,
		`ringmaster_calls_in_flight{kind="counter",method="Add"} 0`,
	} {
		if !strings.Contains(got.body, line) {
			t.Errorf("no line %s", line)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestTLS(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	s, err := api.New(api.Config{Engine: newEngine(), TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: certificate.TLS.Certificates}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client := certificate.Client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://"+l.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
