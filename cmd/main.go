package cmd

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/seed-49de4af9/ringmaster/actors"
)

// gcPercent lets the heap grow to five times what is alive before it is collected.
// A node keeps little alive and makes much garbage; Go's own 100 costs a tenth of
// the processor under load, this one a few hundredths.
const gcPercent = 400

// Main runs the command line with the process's arguments, and ends the process.
// It makes the garbage collector lazier than Go's default, unless GOGC is set.
func Main(behaviors ...*actors.Behavior) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		stop(signalError{<-signals})
		// Who asks twice does not want to wait.
		os.Exit(signalError{<-signals}.exitCode()) //nolint:forbidigo // the second signal ends the process, wherever it is
	}()
	code := Run(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, behaviors...)
	os.Exit(code) //nolint:forbidigo // this is the main of programs
}

// signalError is why a context ended that a signal ended.
type signalError struct{ os.Signal }

func (s signalError) Error() string { return "stopped by " + s.String() }

func (s signalError) exitCode() int {
	if n, ok := s.Signal.(syscall.Signal); ok {
		return exitSignal + int(n)
	}
	return ExitFailed
}

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs one command line and returns its exit code. Servers run until ctx ends.
func Run(ctx context.Context, args []string, streams Streams, behaviors ...*actors.Behavior) int {
	app := &app{behaviors: behaviors, streams: streams, getenv: os.LookupEnv}
	root := app.root()
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	ran, err := root.ExecuteContextC(ctx)
	return app.report(ctx, ran, err)
}
