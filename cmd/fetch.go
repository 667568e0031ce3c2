package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-49de4af9/ringmaster/cluster"
	"github.com/seed-49de4af9/ringmaster/cluster/api"
)

// remote is how a command reaches a cluster.
type remote struct {
	addrs    []string
	certsDir string
	timeout  time.Duration
}

func (r *remote) flags(c *cobra.Command, timeout time.Duration, what string) {
	c.Flags().StringSliceVar(&r.addrs, "addr", []string{cluster.DefaultListen}, "nodes to ask, host:port, one after the other")
	c.Flags().StringVar(&r.certsDir, "certs-dir", "", "directory with ca.crt, client.crt and client.key, for TLS")
	c.Flags().DurationVar(&r.timeout, "timeout", timeout, what)
}

// answerGrace is how much later than a node a command gives up on its answer.
const answerGrace = time.Second

// bodyMax bounds what a node may answer: the status of 4096 partitions fits.
const bodyMax = 64 << 20

// tlsConfig is nil without certificates.
func (r *remote) tlsConfig() (*tls.Config, error) {
	if r.certsDir == "" {
		return nil, nil
	}
	return readCertificates(r.certsDir, "client")
}

// readCertificates reads ca.crt and the certificate of a role.
func readCertificates(dir, role string) (*tls.Config, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, exitf(ExitUsage, "--certs-dir: %w; it must hold ca.crt, %s.crt and %s.key", err, role, role)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, exitf(ExitUsage, "--certs-dir: %s holds no certificate in PEM form", filepath.Join(dir, "ca.crt"))
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, role+".crt"), filepath.Join(dir, role+".key"))
	if err != nil {
		return nil, exitf(ExitUsage, "--certs-dir: %w; it must hold ca.crt, %s.crt and %s.key", err, role, role)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: roots, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// caller asks nodes over HTTP.
type caller struct {
	remote *remote
	http   *http.Client
	scheme string
}

func (r *remote) caller() (*caller, error) {
	c, err := r.tlsConfig()
	if err != nil {
		return nil, err
	}
	if len(r.addrs) == 0 {
		return nil, exitf(ExitUsage, "--addr is empty; name at least one node as host:port")
	}
	for _, addr := range r.addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, exitf(ExitUsage, "--addr %q is not host:port: %w", addr, err)
		}
	}
	scheme := "http"
	if c != nil {
		scheme = "https"
	}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true, Proxy: nil}
	return &caller{remote: r, http: &http.Client{Transport: transport}, scheme: scheme}, nil
}

func (c *caller) close() { c.http.CloseIdleConnections() }

// problemError is an error that a node told.
type problemError struct {
	api.Problem
	status int
	addr   string
}

func (e *problemError) Error() string {
	text := e.Message
	if e.Rejection != nil {
		text = fmt.Sprintf("rejected (%s): %s", e.Rejection.Code, e.Rejection.Message)
	}
	return text
}

// request asks one node; its answer is decoded into reply unless that is nil.
func (c *caller) request(ctx context.Context, method, addr, path string, body string, headers map[string]string) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.scheme+"://"+addr+path, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, bodyMax))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: the answer broke off: %w", addr, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Header, text, nil
	}
	e := &problemError{status: resp.StatusCode, addr: addr}
	if err := json.Unmarshal(text, &e.Problem); err != nil || e.Code == "" {
		e.Code, e.Message = api.CodeInternal, fmt.Sprintf("%s answered %s, and not as a node of ringmaster does", addr, resp.Status)
	}
	return resp.Header, nil, e
}

// first asks the nodes one after the other, until one answers; an error that it
// tells is an answer too.
func (c *caller) first(ctx context.Context, method, path, body string, headers map[string]string) (http.Header, []byte, error) {
	// Nodes keep the same time; what they say at its end is worth the wait.
	ctx, cancel := context.WithTimeout(ctx, c.remote.timeout+answerGrace)
	defer cancel()
	var errs []error
	for _, addr := range c.remote.addrs {
		header, text, err := c.request(ctx, method, addr, path, body, headers)
		var told *problemError
		if err == nil || errors.As(err, &told) {
			return header, text, err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	if err := context.Cause(ctx); err != nil && ctx.Err() != nil {
		return nil, nil, exitf(ExitDeadline, "no answer from %s within %v (--timeout): %w", strings.Join(c.remote.addrs, ", "), c.remote.timeout, err)
	}
	return nil, nil, exitf(ExitUnreachable, "no node answers at %s: %w\nstart a cluster with 'ringmaster dev', or name a node with --addr host:port",
		strings.Join(c.remote.addrs, ", "), plain(errors.Join(errs...)))
}

// plain leaves out what the HTTP client says about itself.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}

// get asks for a view.
func get[V any](ctx context.Context, c *caller, path string) (V, error) {
	var view V
	_, text, err := c.first(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return view, err
	}
	if err := json.Unmarshal(text, &view); err != nil {
		return view, fmt.Errorf("GET %s: the answer is not what this version of ringmaster reads: %w", path, err)
	}
	return view, nil
}
