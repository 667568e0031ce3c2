package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-49de4af9/ringmaster/cmd"
	"github.com/seed-49de4af9/ringmaster/examples/counter"
	"github.com/seed-49de4af9/ringmaster/examples/register"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ringmaster": func() { cmd.Main(counter.Behavior(), register.Behavior()) },
	})
}

// The scripts are sessions at a terminal. UPDATE_SCRIPTS=1 writes what the program
// prints into those that compare whole outputs.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			port, err := freeBlock(t.Context())
			if err != nil {
				return err
			}
			e.Setenv("PORT", strconv.Itoa(port))
			e.Setenv("SECOND", strconv.Itoa(port+100))
			e.Setenv("ADDR", "127.0.0.1:"+strconv.Itoa(port))
			for i := range 9 {
				e.Setenv("PORT"+strconv.Itoa(i), strconv.Itoa(port+i))
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     exits,
			"ready":     ready,
			"terminate": terminate,
		},
	})
}

// blockPorts is how many ports a script may use.
const blockPorts = 32

// freeBlock finds ports in a row that nobody uses.
func freeBlock(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	for range 100 {
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		first := l.Addr().(*net.TCPAddr).Port
		l.Close()
		free := first+blockPorts < 65535
		for p := first; free && p < first+blockPorts; p++ {
			if l, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(p)); err == nil {
				l.Close()
			} else {
				free = false
			}
		}
		if free {
			return first, nil
		}
	}
	return 0, errors.New("no free block of ports")
}

// exits runs a command that must end with an exit code: exits CODE COMMAND...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// ready waits until the nodes at the given addresses can serve.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: ready ADDR...")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, addr := range args {
		for !answers(ctx, addr) {
			select {
			case <-tick.C:
			case <-ctx.Done():
				ts.Fatalf("%s is not ready", addr)
			}
		}
	}
}

// terminate sends SIGTERM to the last command in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	running := ts.BackgroundCmds()
	if neg || len(args) > 0 || len(running) == 0 {
		ts.Fatalf("usage: terminate, with a command in the background")
	}
	ts.Check(running[len(running)-1].Process.Signal(syscall.SIGTERM))
}

func answers(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
