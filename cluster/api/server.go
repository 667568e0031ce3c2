package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// Server serves clients of one node. Its methods may be called from any number of
// goroutines.
type Server struct {
	cfg       Config
	engine    Engine
	logger    *slog.Logger
	methods   *methodTable
	metrics   *metrics
	endpoints map[string]endpoint
	// paths are those of endpoints, in order, for suggestions.
	paths []string
	names atomic.Pointer[nodeNames]
	http  *http.Server

	mu    sync.Mutex
	links map[*link]struct{}
	// closing refuses new links.
	closing bool
	// linksEnded is closed when the last link has gone after closing was set.
	linksEnded chan struct{}
	// watching is the goroutine that tells links of new routes; stopWatch ends it.
	watching  sync.WaitGroup
	stopWatch context.CancelFunc
}

// New makes a server; Serve starts it.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg:        cfg,
		engine:     cfg.Engine,
		logger:     cfg.Logger,
		links:      make(map[*link]struct{}),
		linksEnded: make(chan struct{}),
	}
	if s.metrics, err = newMetrics(cfg.Registry); err != nil {
		return nil, err
	}
	s.methods = newMethodTable(cfg.Engine.Kinds(), s.metrics)
	s.route()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           s,
		TLSConfig:         cfg.TLS,
		Protocols:         protocols,
		ReadHeaderTimeout: cfg.Limits.HeaderTimeout,
		IdleTimeout:       cfg.Limits.IdleTimeout,
		MaxHeaderBytes:    cfg.Limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	var watch context.Context
	watch, s.stopWatch = context.WithCancel(context.Background())
	s.watching.Go(func() { s.watchRoute(watch) })
	return s, nil
}

// Serve answers on a listener until Shutdown or Close; it returns nil then.
func (s *Server) Serve(l net.Listener) error {
	var err error
	if s.cfg.TLS != nil {
		err = s.http.ServeTLS(l, "", "")
	} else {
		err = s.http.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown takes no more calls, waits until those under way are answered, at most
// until the context ends, and closes everything.
func (s *Server) Shutdown(ctx context.Context) error {
	s.closeLinks()
	err := s.http.Shutdown(ctx)
	select {
	case <-s.linksEnded:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return errors.Join(err, s.Close())
}

// Close ends everything at once.
func (s *Server) Close() error {
	s.closeLinks()
	s.mu.Lock()
	for l := range s.links {
		l.abort()
	}
	s.mu.Unlock()
	s.stopWatch()
	s.watching.Wait()
	err := s.http.Close()
	<-s.linksEnded
	return err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.recovered(w, r)
	if rest, ok := cutPath(r, actorsPath); ok {
		s.serveActor(w, r, rest)
		return
	}
	e, ok := s.endpoints[r.URL.Path]
	if !ok {
		s.unknownPath(r).write(w)
		return
	}
	if p := e.refuses(r); p != nil {
		p.write(w)
		return
	}
	e.handler.ServeHTTP(w, r)
}

// recovered turns a panic of a handler into an answer.
func (s *Server) recovered(w http.ResponseWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if err, ok := cause.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(cause) // net/http's own way to end a connection
	}
	s.logger.Error("request failed by a panic", "path", r.URL.Path, "cause", cause, "stack", string(debug.Stack()))
	p := &Problem{
		Code: CodeInternal, status: http.StatusInternalServerError,
		Message: "this node failed while it handled the request, a bug of ringmaster; its log has the details",
	}
	p.write(w)
}

// nodeNames holds the names of the members of one route.
type nodeNames struct {
	route  *messages.Route
	byNode map[string]string
}

// nodeName is a node's name for people, or its id.
func (s *Server) nodeName(nodeID string) string {
	route := s.engine.Route()
	names := s.names.Load()
	if names == nil || names.route != route {
		names = &nodeNames{route: route, byNode: make(map[string]string, len(route.GetMembers()))}
		for _, m := range route.GetMembers() {
			names.byNode[m.GetNodeId()] = m.GetName()
		}
		s.names.Store(names)
	}
	if name := names.byNode[nodeID]; name != "" {
		return name
	}
	return nodeID
}

// call runs one call and waits for its reply.
func (s *Server) call(ctx context.Context, m *method, c *messages.Call) *messages.Reply {
	if s.engine.Route().GetPartitionCount() == 0 {
		return noCluster()
	}
	started := m.begin()
	replies := make(chan *messages.Reply, 1)
	s.engine.Submit(c, func(r *messages.Reply) { replies <- r })
	// The engine keeps the deadline; this one is for an engine that is stuck.
	patience := time.NewTimer(time.Duration(c.GetTimeoutMs())*time.Millisecond + time.Second)
	defer patience.Stop()
	var reply *messages.Reply
	select {
	case reply = <-replies:
	case <-ctx.Done():
		reply = unanswered(m, "the caller went away")
	case <-patience.C:
		reply = unanswered(m, "this node did not answer in time")
	}
	reply = Checked(reply)
	m.end(started, reply.GetCode())
	return reply
}

// unanswered is the reply to a call that may still run.
func unanswered(m *method, why string) *messages.Reply {
	if m.Query {
		return &messages.Reply{Code: messages.Code_CODE_UNAVAILABLE, Message: why + "; a query changes nothing: ask again"}
	}
	return &messages.Reply{
		Code:    messages.Code_CODE_OUTCOME_UNKNOWN,
		Message: why + "; it may have run: with an idempotency key it can be repeated without harm, without one read the actor first",
	}
}

// noCluster is the reply of a node that belongs to no cluster.
func noCluster() *messages.Reply {
	return &messages.Reply{
		Code:         messages.Code_CODE_UNAVAILABLE,
		Message:      "this node belongs to no cluster yet; GET /readyz says what it waits for",
		RetryAfterMs: 250,
	}
}

// Checked turns a success whose reply is not kept any more into an error: an
// empty message would be taken for the reply. Replayed stays set: asking again
// gives the same.
func Checked(r *messages.Reply) *messages.Reply {
	if r.GetCode() != messages.Code_CODE_OK || !r.GetReplayed() || len(r.GetPayload()) > 0 || r.GetMessage() == "" {
		return r
	}
	return &messages.Reply{
		Id: r.GetId(), Code: messages.Code_CODE_OUTCOME_UNKNOWN, Message: r.GetMessage() + "; read the actor to see", Replayed: true,
		Partition: r.GetPartition(), Term: r.GetTerm(), Index: r.GetIndex(), MasterNode: r.GetMasterNode(),
	}
}

// errorOf is the error of a reply that is none.
func errorOf(r *messages.Reply) *actors.Error {
	if e, ok := errors.AsType[*actors.Error](actors.FromReply(r)); ok {
		return e
	}
	return &actors.Error{Code: r.GetCode(), Message: r.GetMessage()}
}
