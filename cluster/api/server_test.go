package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/register"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a server on a port of its own.
type node struct {
	t      *testing.T
	engine *engine
	server *api.Server
	addr   string
	client *http.Client
}

func start(t *testing.T, change ...func(*api.Config)) *node {
	t.Helper()
	e := newEngine(counter.Behavior(), register.Behavior(), faulty())
	cfg := api.Config{Engine: e}
	for _, c := range change {
		c(&cfg)
	}
	s, err := api.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	n := &node{t: t, engine: e, server: s, addr: l.Addr().String(), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		n.client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return n
}

// faulty is a behavior whose handler fails and panics on demand.
func faulty() *actors.Behavior {
	return actors.Define("faulty", actors.On(
		actors.NewCommand[*messages.Member, *messages.Member]("faulty", "Fail"),
		func(_ *actors.Tx[*messages.Member], m *messages.Member) (*messages.Member, error) {
			return nil, io.ErrUnexpectedEOF
		}))
}

// answer is what came back from HTTP.
type answer struct {
	status int
	header http.Header
	body   string
}

func (n *node) do(method, path, body string, headers ...string) answer {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.addr+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, strings.TrimSpace(string(text))}
}

// problem reads an error, which must be JSON whatever went wrong.
func (n *node) problem(a answer) api.Problem {
	n.t.Helper()
	var p api.Problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Code == "" || p.Message == "" {
		n.t.Fatalf("status %d: the body is no problem in JSON: %q (%v)", a.status, a.body, err)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		n.t.Errorf("Content-Type %q", got)
	}
	return p
}

func TestCallByHTTP(t *testing.T) {
	n := start(t)
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"} {
		got := n.do(http.MethodPost, "/v1/actors/counter/alice/Add", `{"delta":1}`, "Content-Type", contentType)
		if got.status != http.StatusOK || got.header.Get(api.HeaderNode) != "n1" {
			t.Fatalf("Content-Type %q: %+v", contentType, got)
		}
	}
	for path, want := range map[string]string{
		"/v1/actors/counter/alice/Get":  `{"value":"4"}`,
		"/v1/actors/counter/nobody/Get": `{"value":"0"}`, // zero values are there
		"/v1/actors/register/x/Read":    `{"value":"","version":"0","found":false}`,
	} {
		got := n.do(http.MethodPost, path, "")
		if got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: got %d %s, want %s", path, got.status, got.body, want)
		}
	}
	got := n.do(http.MethodPost, "/v1/actors/counter/alice/Add", `{"delta":"40"}`)
	if got.body != `{"value":"44"}` || got.header.Get(api.HeaderPartition) == "" || got.header.Get(api.HeaderIndex) == "0" {
		t.Errorf("got %+v", got)
	}
}

func TestKeysArePercentDecoded(t *testing.T) {
	n := start(t)
	for path, key := range map[string]string{
		"a%2Fb": "a/b", "%7Btag%7Dx": "{tag}x", "..": "..", ".": ".", "%25": "%", "b%20c": "b c", "%C3%A9": "é", "a:b": "a:b", "a+b": "a+b",
	} {
		if got := n.do(http.MethodPost, "/v1/actors/counter/"+path+"/Add", `{"delta":7}`); got.status != http.StatusOK {
			t.Errorf("key %s: %+v", path, got)
		}
		n.engine.mu.Lock()
		if n.engine.states[actors.ActorID{Kind: "counter", Key: key}] == nil {
			t.Errorf("key %s did not arrive as %q", path, key)
		}
		n.engine.mu.Unlock()
	}
}

func TestCallersFaults(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.BodyBytes = 1000 })
	long := strings.Repeat("k", 513)
	for _, test := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		code, says               string
	}{
		{"unknown kind", "POST", "/v1/actors/conter/a/Add", "{}", nil, 404, "not_found", `Did you mean "counter"?`},
		{"kind of the system", "POST", "/v1/actors/ring/table/GetTable", "{}", nil, 404, "not_found", "counter, faulty, register"},
		{"unknown method", "POST", "/v1/actors/counter/a/add", "{}", nil, 404, "not_found", `Did you mean "Add"?`},
		{"no method", "POST", "/v1/actors/counter/a", "{}", nil, 404, "not_found", "Add, Get"},
		{"no kind", "POST", "/v1/actors", "{}", nil, 404, "not_found", "{kind}/{key}/{method}"},
		{"too many parts", "POST", "/v1/actors/counter/a/b/Add", "{}", nil, 404, "not_found", "%2F"},
		{"empty key", "POST", "/v1/actors/counter//Add", "{}", nil, 400, "invalid", "key is empty"},
		{"long key", "POST", "/v1/actors/counter/" + long + "/Add", "{}", nil, 400, "invalid", "513 bytes"},
		{"key with a control character", "POST", "/v1/actors/counter/a%0Ab/Add", "{}", nil, 400, "invalid", "control character"},
		{"key that is not UTF-8", "POST", "/v1/actors/counter/a%FF/Add", "{}", nil, 400, "invalid", "UTF-8"},
		{"unknown field", "POST", "/v1/actors/counter/a/Add", `{"delat":1}`, nil, 400, "invalid", `Did you mean "delta"?`},
		{"wrong type", "POST", "/v1/actors/counter/a/Add", `{"delta":"two"}`, nil, 400, "invalid", "delta"},
		{"trailing data", "POST", "/v1/actors/counter/a/Add", `{"delta":1}{}`, nil, 400, "invalid", "more after"},
		{"no JSON", "POST", "/v1/actors/counter/a/Add", `delta=1`, nil, 400, "invalid", ""},
		{"too large", "POST", "/v1/actors/counter/a/Add", `{"delta":` + strings.Repeat(" ", 1000) + `1}`, nil, 413, "too_large", "1000 bytes"},
		{"GET", "GET", "/v1/actors/counter/a/Add", "", nil, 405, "method_not_allowed", "use POST"},
		{"PUT", "PUT", "/v1/actors/counter/a/Add", "{}", nil, 405, "method_not_allowed", "use POST"},
		{"empty idempotency key", "POST", "/v1/actors/counter/a/Add", "{}", []string{"Idempotency-Key", ""}, 400, "invalid", "1 to 256"},
		{"long idempotency key", "POST", "/v1/actors/counter/a/Add", "{}", []string{"Idempotency-Key", strings.Repeat("k", 257)}, 400, "invalid", "257 bytes"},
		{"two idempotency keys", "POST", "/v1/actors/counter/a/Add", "{}", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "invalid", "2 times"},
		{"bad timeout", "POST", "/v1/actors/counter/a/Add", "{}", []string{"Request-Timeout", "soon"}, 400, "invalid", "duration"},
		{"nothing there", "GET", "/v1/statsu", "", nil, 404, "not_found", "/v1/status"},
		{"POST to a view", "POST", "/v1/status", "", nil, 405, "method_not_allowed", "GET"},
		{"link without upgrade", "GET", "/v1/link", "", nil, 426, "invalid", "Upgrade"},
		{"Invoke by GET", "GET", "/ringmaster.ActorService/Invoke", "", nil, 405, "method_not_allowed", "POST"},
		{"Invoke as a form", "POST", "/ringmaster.ActorService/Invoke", "a=b", []string{"Content-Type", "text/plain"}, 415, "invalid", "application/json"},
		{"rejected", "POST", "/v1/actors/counter/max/Add", `{"delta":"9223372036854775807"}`, nil, 200, "", ""},
		{"rejected", "POST", "/v1/actors/counter/max/Add", `{"delta":1}`, nil, 422, "rejected", "64 bits"},
		{"failed", "POST", "/v1/actors/faulty/a/Fail", `{}`, nil, 500, "failed", "unexpected EOF"},
	} {
		got := n.do(test.method, test.path, test.body, test.headers...)
		if got.status != test.status {
			t.Errorf("%s: status %d, want %d: %s", test.name, got.status, test.status, got.body)
			continue
		}
		if test.status == http.StatusOK {
			continue
		}
		p := n.problem(got)
		if p.Code != test.code || !strings.Contains(p.Message, test.says) {
			t.Errorf("%s: got %s %q, want %s with %q", test.name, p.Code, p.Message, test.code, test.says)
		}
		if test.status == http.StatusMethodNotAllowed && got.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow header", test.name)
		}
		if p.Code == "rejected" && (p.Rejection == nil || p.Rejection.Code != "overflow" || got.header.Get(api.HeaderNode) != "n1") {
			t.Errorf("%s: got %s %v", test.name, got.body, got.header)
		}
	}
}

// A body whose length is not announced is bounded too.
func TestChunkedBodyIsBounded(t *testing.T) {
	n := start(t, func(c *api.Config) { c.Limits.BodyBytes = 1000 })
	body := struct{ io.Reader }{strings.NewReader(strings.Repeat(" ", 5000))}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.addr+"/v1/actors/counter/a/Add", body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestIdempotencyKey(t *testing.T) {
	n := start(t)
	add := func(key, actor, delta string) answer {
		return n.do(http.MethodPost, "/v1/actors/counter/"+actor+"/Add", `{"delta":`+delta+`}`, "Idempotency-Key", key)
	}
	if got := add("k1", "a", "1"); got.status != 200 || got.body != `{"value":"1"}` || got.header.Get(api.HeaderReplayed) != "" {
		t.Errorf("first: %+v", got)
	}
	if got := add("k1", "a", "1"); got.status != 200 || got.body != `{"value":"1"}` || got.header.Get(api.HeaderReplayed) != "true" {
		t.Errorf("again: %+v", got)
	}
	if got := add("k1", "a", "2"); got.status != http.StatusConflict || n.problem(got).Code != "conflict" {
		t.Errorf("same key, another request: %+v", got)
	}
	if got := add("k1", "b", "1"); got.body != `{"value":"1"}` || got.header.Get(api.HeaderReplayed) != "" {
		t.Errorf("same key, another actor: %+v", got)
	}
	if got := add("k2", "a", "1"); got.body != `{"value":"2"}` {
		t.Errorf("another key: %+v", got)
	}
}

func TestRepliesOfTheEngineAsHTTP(t *testing.T) {
	n := start(t)
	for _, test := range []struct {
		reply      *messages.Reply
		status     int
		code       string
		retryAfter string
	}{
		{&messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: "no majority", Missing: []string{"n2", "n3"}, RetryAfterMs: 1200}, 503, "unavailable", "2"},
		{&messages.Reply{Code: messages.Code_CODE_OVERLOADED, Message: "busy", RetryAfterMs: 100}, 429, "overloaded", "1"},
		{&messages.Reply{Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: "who knows"}, 504, "outcome_unknown", ""},
		{&messages.Reply{Code: messages.Code_CODE_FAILED, Message: "handler panicked"}, 500, "failed", ""},
		{&messages.Reply{Code: messages.Code_CODE_SESSION_EXPIRED, Message: "gone"}, 409, "session_expired", ""},
		{&messages.Reply{Code: messages.Code_CODE_OK, Replayed: true, Message: "done before; the reply was too large to keep"}, 504, "outcome_unknown", ""},
	} {
		n.engine.hold = func(_ *messages.Call, done func(*messages.Reply)) bool {
			done(test.reply)
			return true
		}
		got := n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{"delta":1}`)
		p := n.problem(got)
		if got.status != test.status || p.Code != test.code || got.header.Get("Retry-After") != test.retryAfter {
			t.Errorf("%v: got %d %s, Retry-After %q", test.reply, got.status, got.body, got.header.Get("Retry-After"))
		}
		if p.Partition == nil || *p.Partition == 0 || len(p.Missing) != len(test.reply.GetMissing()) {
			t.Errorf("%v: got %s", test.reply, got.body)
		}
	}
}

// An engine that never answers costs the caller no more than its own timeout.
func TestStuckEngine(t *testing.T) {
	n := start(t)
	n.engine.hold = func(*messages.Call, func(*messages.Reply)) bool { return true }
	started := time.Now()
	got := n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{"delta":1}`, "Request-Timeout", "0.01")
	if got.status != http.StatusGatewayTimeout || n.problem(got).Code != "outcome_unknown" {
		t.Errorf("command: %+v", got)
	}
	got = n.do(http.MethodPost, "/v1/actors/counter/a/Get", ``, "Request-Timeout", "10ms")
	if got.status != http.StatusServiceUnavailable || n.problem(got).Code != "unavailable" {
		t.Errorf("query: %+v", got)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	var log strings.Builder
	n := start(t, func(c *api.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	n.engine.hold = func(*messages.Call, func(*messages.Reply)) bool { panic("oh") }
	got := n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{"delta":1}`)
	if got.status != http.StatusInternalServerError || n.problem(got).Code != "internal" {
		t.Errorf("got %+v", got)
	}
	if !strings.Contains(log.String(), "oh") {
		t.Errorf("the log does not say why: %s", log.String())
	}
}

func TestNoClusterYet(t *testing.T) {
	n := start(t)
	n.engine.route.Store(&messages.Route{NodeId: "01NODE"})
	n.engine.view = func(s *api.Status) { s.ClusterID, s.Epoch, s.Waiting = "", 0, "2 of 3 nodes are here" }
	if got := n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{}`); got.status != 503 || n.problem(got).Code != "unavailable" {
		t.Errorf("call: %+v", got)
	}
	if got := n.do(http.MethodGet, "/readyz", ""); got.status != 503 || !strings.Contains(n.problem(got).Message, "2 of 3 nodes") {
		t.Errorf("readyz: %+v", got)
	}
	if got := n.do(http.MethodGet, "/healthz", ""); got.status != 200 {
		t.Errorf("healthz: %+v", got)
	}
}

func TestShutdownWaitsForCalls(t *testing.T) {
	n := start(t)
	came := make(chan func(*messages.Reply), 1)
	n.engine.hold = func(_ *messages.Call, done func(*messages.Reply)) bool {
		came <- done
		return true
	}
	answered := make(chan answer, 1)
	go func() { answered <- n.do(http.MethodPost, "/v1/actors/counter/a/Add", `{"delta":1}`) }()
	done := <-came
	ended := make(chan error, 1)
	go func() { ended <- n.server.Shutdown(context.Background()) }()
	done(&messages.Reply{Code: messages.Code_CODE_OK, MasterNode: "01NODE"})
	if got := <-answered; got.status != 200 {
		t.Errorf("the call under way: %+v", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}
