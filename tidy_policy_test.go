// Package ringmaster_test holds the tests about the code itself: which room may
// import which, what a dependency is for, what source files look like, and that
// what the documentation shows is true.
package ringmaster_test

// This file is policy, not bookkeeping. When a build goes against it, change the
// build; change the policy only with a reason that convinces a reader.

const module = "github.com/seed-49de4af9/ringmaster"

// A wall says what one room may import of this module. "x/..." is x and all below
// it. A room that is not listed may not exist.
type wall struct {
	room      string
	mayImport []string
}

// Imports run one way: messages <- actors <- cluster <- cmd <- examples. Rooms
// beside each other do not know each other; actors/node and cluster are the
// places where they meet.
var walls = []wall{
	{"messages", nil},

	{"actors", []string{"messages"}},
	{"actors/fault", nil},
	{"actors/loop", nil},
	{"actors/ring", []string{"messages"}},
	{"actors/internal/call", []string{"messages", "actors"}},
	{"actors/supervisor", []string{"messages", "actors", "actors/fault", "actors/internal/call"}},
	{"actors/replica", []string{"messages", "actors", "actors/fault", "actors/loop", "actors/ring", "actors/internal/call"}},
	{"actors/coordinator", []string{"messages", "actors", "actors/fault", "actors/ring", "actors/internal/call"}},
	{"actors/ringowner", []string{"messages", "actors", "actors/fault", "actors/ring", "actors/internal/call"}},
	{"actors/bootstrap", []string{"messages", "actors", "actors/fault", "actors/ring", "actors/internal/call"}},
	{"actors/node", []string{"messages", "actors", "actors/..."}},

	{"cluster/gossip", []string{"messages", "actors/fault"}},
	{"cluster/transport", []string{"messages", "actors", "actors/fault", "actors/replica"}},
	{"cluster/storage", []string{"messages", "actors", "actors/fault", "actors/replica"}},
	{"cluster/api", []string{"messages", "actors", "actors/ring", "actors/node"}},
	{"cluster/sim", []string{"messages", "actors", "actors/..."}},
	{"cluster", []string{"messages", "actors", "actors/...", "cluster/..."}},

	{"cmd", []string{"messages", "actors", "actors/...", "cluster", "cluster/..."}},
	// The program is a list of kinds and a call of cmd.Main.
	{"cmd/ringmaster", []string{"cmd", "examples/..."}},

	{"examples/counter", []string{"actors", "examples/counter/counterpb"}},
	{"examples/counter/counterpb", nil},
	{"examples/register", []string{"actors", "examples/register/registerpb"}},
	{"examples/register/registerpb", nil},
	{"examples/masterslave", []string{"actors", "actors/ring", "cluster", "cluster/api", "examples/register/..."}},
}

// A dependency is a module that this one requires: where it may be imported, and
// why it is worth having. Test files are held to tests where that is set, else to
// rooms.
type dependency struct {
	module string
	rooms  []string
	tests  []string
	why    string
}

// One dependency, one room: what a module does can then be replaced, or its
// upgrade judged, by reading one folder.
var dependencies = []dependency{
	{
		"google.golang.org/protobuf",
		[]string{"..."},
		nil,
		"what is said between nodes, kept on disk and held as state: one format that tolerates fields it does not know",
	},
	{
		"github.com/asynkron/protoactor-go",
		[]string{"actors/...", "cluster", "cluster/transport", "cluster/sim"},
		nil,
		"actors, mailboxes and supervision; only its actor package, under engine rooms",
	},
	{
		"go.etcd.io/raft/v3",
		[]string{"actors/replica"},
		[]string{"actors/replica", "cluster/storage", "cluster/sim", "cluster/transport"},
		"consensus is stepped here, not written here",
	},
	{
		"github.com/cespare/xxhash/v2",
		[]string{"actors/...", "cluster/..."},
		nil,
		"one fast hash with fixed results, for keys on the ring and digests of requests",
	},
	{
		"github.com/google/btree",
		[]string{"actors/replica", "cluster/sim"},
		nil,
		"ordered rows in memory: of a partition between commit and the next write to disk, and of the simulated disk",
	},
	{
		"github.com/cockroachdb/pebble/v2",
		[]string{"cluster/storage"},
		[]string{"cluster/storage", "cluster/sim", "cluster"},
		"logs and rows on disk, with a disk for tests that forgets what was not synced",
	},
	{
		"github.com/hashicorp/memberlist",
		[]string{"cluster/gossip"},
		nil,
		"SWIM membership: finds nodes and notices that they are gone",
	},
	{
		"connectrpc.com/connect",
		[]string{"cluster/api", "cmd", "cluster"},
		nil,
		"gRPC, gRPC-Web and plain HTTP with JSON from one handler on one port",
	},
	{
		"connectrpc.com/grpchealth",
		[]string{"cluster/api"},
		nil,
		"the health service that gRPC clients and load balancers ask",
	},
	{
		"connectrpc.com/grpcreflect",
		[]string{"cluster/api"},
		nil,
		"reflection, so that gRPC tools need no proto files",
	},
	{
		"github.com/prometheus/client_golang",
		[]string{"cluster", "cluster/...", "cmd"},
		nil,
		"the metrics format that everything scrapes; protoactor links it anyway",
	},
	{
		"github.com/prometheus/client_model",
		[]string{"cluster/...", "cmd"},
		nil,
		"what client_golang's metrics are read back as, for status pages and tests",
	},
	{
		"github.com/spf13/cobra",
		[]string{"cmd"},
		nil,
		"commands, flags, help and shell completion",
	},
	{
		"github.com/spf13/pflag",
		[]string{"cmd"},
		nil,
		"cobra's flags, walked to give each its environment variable",
	},
	{
		"github.com/HdrHistogram/hdrhistogram-go",
		[]string{"cmd", "cluster/..."},
		nil,
		"latency percentiles of bench without keeping every sample",
	},
	{
		"github.com/anishathalye/porcupine",
		[]string{"cluster/sim"},
		nil,
		"decides whether a history is linearizable",
	},
	{
		"github.com/google/go-cmp",
		[]string{},
		[]string{"..."},
		"differences between values, in tests",
	},
	{
		"pgregory.net/rapid",
		[]string{},
		[]string{"..."},
		"properties checked on drawn inputs, in tests",
	},
	{
		"github.com/rogpeppe/go-internal",
		[]string{},
		[]string{"", "cmd"},
		"testscript: runs command lines of tests and of the documentation",
	},
	{
		"go.uber.org/goleak",
		[]string{},
		[]string{"cluster", "cluster/...", "cmd"},
		"no goroutine outlives what it served, in tests of rooms with real sockets",
	},
	{
		"github.com/cockroachdb/datadriven",
		[]string{},
		[]string{"actors/..."},
		"protocol scenarios as text",
	},
}

// A forbidden import is one that nothing here may have, tests included.
var forbiddenImports = []struct{ path, why string }{
	{"math/rand", "math/rand/v2 is seeded explicitly and needs no lock"},
	{"io/ioutil", "deprecated: os and io have it all"},
	{"log", "log/slog, with the logger one was given"},
	{"github.com/stretchr/testify", "got and want with if, or go-cmp"},
	{"github.com/gogo/protobuf", "unmaintained: google.golang.org/protobuf"},
	{"github.com/asynkron/protoactor-go/remote", "one malformed message ends the process: cluster/transport is our own link"},
	{"github.com/asynkron/protoactor-go/cluster", "this module is the cluster"},
}

// A chain is what must not be reached even through others: from is a room, never
// a module or package.
var forbiddenChains = []struct {
	from, never, why string
}{
	{"actors", "github.com/asynkron/protoactor-go", "who writes a behavior neither sees nor builds the engine's actors"},
	{"actors", "go.etcd.io/raft/v3", "who writes a behavior does not build consensus"},
	{"actors", "net", "a behavior has no network, so that it runs the same in a test, a simulation and a cluster"},
	{"messages", "net", "what is said does not know how it travels"},
	{"actors/ring", "github.com/asynkron/protoactor-go", "placement is a pure function, to be tested and reasoned about alone"},
	{"actors/ring", "net", "placement is a pure function"},
	{"actors/loop", "github.com/asynkron/protoactor-go", "the loop serves any mailbox; protoactor's interface is two methods"},
	{"actors/node", "github.com/cockroachdb/pebble/v2", "the engine knows a disk as a port; the simulator brings another"},
	{"actors/node", "github.com/hashicorp/memberlist", "gossip is a hint that is brought to the engine"},
	{"actors/node", module + "/cluster/storage", "the adapter imports the port, never the reverse"},
	{"cluster/sim", "github.com/hashicorp/memberlist", "memberlist draws from global randomness: the simulator has a model of gossip"},
	{"cluster/storage", "github.com/asynkron/protoactor-go/remote", "see forbidden imports"},
	{"cluster/api", "github.com/cockroachdb/pebble/v2", "an API that could reach the disk would one day go around the masters"},
	{"examples/counter", "github.com/asynkron/protoactor-go", "user code never sees protoactor"},
}

// Under actors/ work runs in mailboxes and the world comes in as interfaces: that
// one rule makes a whole cluster run in one goroutine on virtual time. Tests are
// free of it.
var (
	worldPackages = []struct{ path, why string }{
		{"net", "sockets belong to cluster/transport"},
		{"os", "files and processes belong to cluster/storage and cmd"},
		{"io/fs", "files belong to cluster/storage"},
		{"syscall", "the machine belongs to cluster"},
		{"runtime", "goroutines and the collector belong to the world"},
		{"crypto/rand", "randomness is injected, so that one seed gives one run"},
		{"math/rand", "randomness is injected, so that one seed gives one run"},
	}
	worldCalls = map[string]string{
		"time.Now":       "time comes as a tick or from the injected clock",
		"time.Since":     "time comes as a tick or from the injected clock",
		"time.Until":     "time comes as a tick or from the injected clock",
		"time.Sleep":     "a mailbox that waits stops every actor of the node",
		"time.After":     "a timer fires on a goroutine of its own",
		"time.AfterFunc": "a timer fires on a goroutine of its own",
		"time.NewTimer":  "a timer fires on a goroutine of its own",
		"time.NewTicker": "a timer fires on a goroutine of its own",
		"time.Tick":      "a timer fires on a goroutine of its own",
	}
)

// Sizes that keep a file readable from top to bottom and a function on a screen
// or a little more. Lint warns earlier.
const (
	fileLinesMax     = 600
	functionLinesMax = 100
)

// Words that no file of the project holds, with what to write instead. Matched as
// whole words, without regard to case.
var forbiddenWords = map[string]string{
	"TODO":        "do it, or write an issue",
	"FIXME":       "fix it, or write an issue",
	"XXX":         "say what is the matter",
	"HACK":        "say why it is as it is",
	"behaviour":   "behavior",
	"behaviours":  "behaviors",
	"colour":      "color",
	"initialise":  "initialize",
	"initialised": "initialized",
	"serialise":   "serialize",
	"serialised":  "serialized",
	"recognise":   "recognize",
	"recognised":  "recognized",
	"synchronise": "synchronize",
	"neighbour":   "neighbor",
	"neighbours":  "neighbors",
	"utilize":     "use",
	"leverage":    "use",
	"seamless":    "say what happens",
	"seamlessly":  "say what happens",
	"blazing":     "give the figure",
	"blazingly":   "give the figure",
}

// An exception is one place where a check does not hold, and why. One that is no
// longer needed fails the test.
type exception struct {
	check, place, why string
}

var exceptions = []exception{
	{"forbidden", "cluster/gossip", "memberlist is configured with a log.Logger; ours writes to slog"},
	{"world", "actors/replica/activation.go", "runtime/debug names the line of a handler that panicked"},
	{"sleep", "cluster/transport/bench_test.go", "a sender that floods a link gives way for microseconds; nothing is waited for"},
	{"sleep", "cluster/pacer_test.go", "virtual time: the sleep is the work whose pace is measured"},
	{"sleep", "cluster/pacer.go", "the pace of a loaded loop: fractions of a millisecond, so that more work meets in a pass"},
	{"word", "tidy_policy_test.go", "this file names the words"},
	{"word", "tidy_source_test.go", "this file tests the check with the words"},
}
