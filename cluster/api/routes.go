package api

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-49de4af9/ringmaster/actors"
)

const actorsPath = "/v1/actors/"

// endpoint is what serves one path.
type endpoint struct {
	methods []string
	handler http.Handler
	// rpc says that connect serves it, which takes certain content types.
	rpc bool
}

// route fills in what is served where. The paths are matched as they are: a
// ServeMux would redirect, and answer in plain text.
func (s *Server) route() {
	look := func(h func(w http.ResponseWriter, r *http.Request)) endpoint {
		return endpoint{methods: []string{http.MethodGet, http.MethodHead}, handler: http.HandlerFunc(h)}
	}
	s.endpoints = map[string]endpoint{
		"/":           look(s.serveIndex),
		"/healthz":    look(s.serveHealth),
		"/readyz":     look(s.serveReady),
		"/v1/status":  look(s.serveStatus),
		"/v1/members": look(s.serveMembers),
		"/v1/ring":    look(s.serveRing),
		"/v1/kinds":   look(s.serveKinds),
		LinkPath:      {methods: []string{http.MethodGet}, handler: http.HandlerFunc(s.serveLink)},
		"/metrics": {
			methods: []string{http.MethodGet, http.MethodHead},
			handler: promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true}),
		},
	}
	rpc := func(path string, h http.Handler, methods ...string) {
		for _, m := range methods {
			s.endpoints[path+m] = endpoint{methods: []string{http.MethodPost}, handler: h, rpc: true}
		}
	}
	limits := s.rpcOptions()
	s.endpoints[invokeProcedure] = endpoint{methods: []string{http.MethodPost}, handler: s.invokeHandler(limits), rpc: true}
	path, h := grpchealth.NewHandler(checker{s}, limits...)
	rpc(path, h, "Check")
	reflector := grpcreflect.NewStaticReflector(serviceName)
	path, h = grpcreflect.NewHandlerV1(reflector, limits...)
	rpc(path, h, "ServerReflectionInfo")
	path, h = grpcreflect.NewHandlerV1Alpha(reflector, limits...)
	rpc(path, h, "ServerReflectionInfo")
	s.paths = slices.Sorted(maps.Keys(s.endpoints))
}

// refuses says what is wrong with a request for an endpoint, or nil.
func (e *endpoint) refuses(r *http.Request) *Problem {
	if !slices.Contains(e.methods, r.Method) {
		return notAllowed(r.Method, r.URL.Path, strings.Join(e.methods, ", "))
	}
	if !e.rpc {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && (strings.HasPrefix(kind, "application/grpc") || strings.HasPrefix(kind, "application/connect+") ||
		kind == "application/json" || kind == "application/proto") {
		return nil
	}
	return &Problem{
		Code: "invalid", status: http.StatusUnsupportedMediaType,
		Message: fmt.Sprintf("%s takes Content-Type application/json, application/proto or application/grpc, not %.40q; for plain JSON use POST %s{kind}/{key}/{method}",
			r.URL.Path, r.Header.Get("Content-Type"), actorsPath),
	}
}

func notAllowed(method, path, allow string) *Problem {
	return &Problem{
		Code: CodeMethodNotAllowed, status: http.StatusMethodNotAllowed, allow: allow,
		Message: fmt.Sprintf("%.200s does not take %.20q; use %s", path, method, allow),
	}
}

// unknownPath is the answer where there is nothing.
func (s *Server) unknownPath(r *http.Request) *Problem {
	p := &Problem{
		Code: "not_found", status: http.StatusNotFound, Known: s.paths,
		DidYouMean: actors.Nearest(r.URL.Path, s.paths),
		Message:    fmt.Sprintf("there is nothing at %.200q; call an actor with POST %s{kind}/{key}/{method}", r.URL.Path, actorsPath),
	}
	if p.DidYouMean != "" {
		p.Message += fmt.Sprintf(". Did you mean %s?", p.DidYouMean)
	}
	return p
}

// cutPath gives what follows a prefix of the path, still percent-encoded.
func cutPath(r *http.Request, prefix string) (rest string, ok bool) {
	path := r.URL.EscapedPath()
	if path == strings.TrimSuffix(prefix, "/") {
		return "", true
	}
	return strings.CutPrefix(path, prefix)
}
