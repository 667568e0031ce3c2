package ringmaster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a page's server and its commands may take on a slow machine.
const (
	readyWithin = 60 * time.Second
	shownWithin = 30 * time.Second
)

// A session is one bash, which runs the commands of one page.
type session struct {
	t       *testing.T
	ports   ports
	dir     string // output of the commands
	bash    *exec.Cmd
	in      io.Writer
	replies *bufio.Scanner
	count   int
	// servers are the pids of what runs in the background, with the addresses
	// that have to be ready before the next command.
	servers []background
	waitFor []string
}

// A background is a command that runs until it is stopped.
type background struct {
	pid string
	// viaGo: the go command runs it. That ends with 1 after Ctrl-C, however well
	// the program ended.
	viaGo bool
}

// newSession starts a bash in dir, with the program first in its PATH.
func newSession(t *testing.T, dir, bin string) *session {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	s := &session{t: t, ports: freePorts(t), dir: t.TempDir()}
	home := "127.0.0.1:" + strconv.Itoa(s.ports.first)
	s.bash = exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	// Bash ends its servers itself however this test ends: it sees the end of its
	// input when the test's process dies.
	s.bash.Cancel = func() error { return s.bash.Process.Signal(syscall.SIGTERM) }
	s.bash.WaitDelay = shownWithin
	s.bash.Dir = dir
	s.bash.Env = append(os.Environ(),
		"PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"RINGMASTER_LISTEN="+home, "RINGMASTER_ADDR="+home, "NO_COLOR=1")
	in, err := s.bash.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.bash.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in, s.replies = in, bufio.NewScanner(out)
	if err := s.bash.Start(); err != nil {
		t.Fatalf("bash is needed to run the console blocks: %v", err)
	}
	t.Cleanup(func() {
		defer cancel()
		defer func() {
			in.Close()
			if err := s.bash.Wait(); err != nil {
				s.kill()
				t.Errorf("the session ended with %v", err)
			}
		}()
		s.stop()
	})
	if _, err := io.WriteString(in, ownGroups+"; "+killServers+"\n"); err != nil {
		t.Fatal(err)
	}
	return s
}

// ownGroups gives each background command a process group of its own. The flag -m
// does so only where there is a terminal.
const ownGroups = `set -m`

// killServers has bash kill whatever still runs in the background when it ends,
// each with its process group: go run has a child. The end of a page has let them
// end well before; this is for a test that fails, or is interrupted or killed.
const killServers = `trap 'for leader in $(jobs -p); do kill -KILL -- "-$leader"; done 2>/dev/null; trap - EXIT; exit' EXIT HUP INT PIPE TERM`

// kill kills what is left of the servers, if bash could not.
func (s *session) kill() {
	for _, b := range s.servers {
		if n, err := strconv.Atoi(b.pid); err == nil && n > 1 {
			_ = syscall.Kill(-n, syscall.SIGKILL) // it is gone already, as a rule
		}
	}
}

// ask has bash run a script that ends by printing one line.
func (s *session) ask(script string) string {
	s.t.Helper()
	if _, err := io.WriteString(s.in, script+"\n"); err != nil {
		s.t.Fatal(err)
	}
	if !s.replies.Scan() {
		s.t.Fatalf("bash is gone: %v", s.replies.Err())
	}
	return s.replies.Text()
}

// run runs one command and holds it against what the page shows.
func (s *session) run(c command) {
	s.t.Helper()
	s.count++
	file := filepath.Join(s.dir, strconv.Itoa(s.count))
	if c.server() {
		s.serve(c, file)
		return
	}
	s.ready(c, file)
	deadline := time.Now().Add(shownWithin)
	code, out := s.try(c, file)
	for tick := time.NewTicker(100 * time.Millisecond); c.looks() && !c.matches(out) && time.Now().Before(deadline); <-tick.C {
		code, out = s.try(c, file)
	}
	if !c.matches(out) {
		s.t.Fatalf("%s:%d: %s\nprinted:\n%s\nshown:\n%s", c.page, c.line, c.text, out, strings.Join(c.output, "\n"))
	} else if code != "0" {
		s.t.Fatalf("%s:%d: %s\nexit code %s; it printed:\n%s", c.page, c.line, c.text, code, out)
	}
}

// try runs a command to its end.
func (s *session) try(c command, file string) (code, out string) {
	s.t.Helper()
	code = s.ask(fmt.Sprintf("{ %s\n} </dev/null >%s 2>&1; echo $?", s.ports.in(c.text), file))
	return code, s.read(file)
}

var inBackground = regexp.MustCompile(`&( *\w+=\$!)?$`)

// serve starts a command that runs until it is stopped.
func (s *session) serve(c command, file string) {
	s.t.Helper()
	text := s.ports.in(c.text)
	script := fmt.Sprintf("{ %s\n} </dev/null >%s 2>&1; echo $!", text, file)
	if !inBackground.MatchString(text) {
		script = fmt.Sprintf("exec %s </dev/null >%s 2>&1 & echo $!", text, file)
	}
	s.servers = append(s.servers, background{s.ask(script), strings.HasPrefix(text, "go run ")})
	s.waitFor = append(s.waitFor, s.listens(text))
	s.await(c, "what is shown", readyWithin, func() bool { return c.matches(s.read(file)) }, file)
}

func (s *session) read(file string) string {
	out, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return s.ports.back(obituary.ReplaceAllString(string(out), ""))
}

// obituary is how bash tells that a background command was killed, whenever it
// notices.
var obituary = regexp.MustCompile(`(?m)^bash: line \d+: +\d+ (Killed|Terminated) .*\n`)

var listenFlag = regexp.MustCompile(`--listen[ =](\S+)`)

// listens is the address at which a server will answer.
func (s *session) listens(text string) string {
	if m := listenFlag.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return "127.0.0.1:" + strconv.Itoa(s.ports.first)
}

// ready waits until all servers started so far can serve: what a person does by
// looking at the other terminal.
func (s *session) ready(c command, file string) {
	s.t.Helper()
	for _, addr := range s.waitFor {
		s.await(c, addr+" to be ready", readyWithin, func() bool { return answers(s.t, addr) }, file)
	}
	s.waitFor = nil
}

func answers(t *testing.T, addr string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// await polls a condition until its deadline.
func (s *session) await(c command, what string, within time.Duration, done func() bool, file string) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for tick := time.NewTicker(20 * time.Millisecond); !done(); <-tick.C {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s:%d: %s\nwaited %v for %s; it printed:\n%s\nshown:\n%s",
				c.page, c.line, c.text, within, what, s.read(file), strings.Join(c.output, "\n"))
		}
	}
}

// stop interrupts the servers, as Ctrl-C does, and wants them to end well. One
// that the page itself has ended is gone already.
func (s *session) stop() {
	left := map[background]bool{}
	for _, b := range s.servers {
		n, err := strconv.Atoi(b.pid)
		if err != nil {
			s.t.Errorf("bash gave the pid %q", b.pid)
			continue
		}
		// The shell gave each background command a process group of its own.
		switch err := syscall.Kill(-n, syscall.SIGINT); {
		case err == nil:
			left[b] = true
		case !errors.Is(err, syscall.ESRCH):
			s.t.Errorf("interrupt the server with pid %d: %v", n, err)
		}
	}
	for b := range left {
		if code := s.ask("wait " + b.pid + "; echo $?"); code != "0" && (!b.viaGo || code != "1") {
			s.t.Errorf("a server of the page ended with exit code %s after Ctrl-C", code)
		}
	}
}
