package sim

import (
	"flag"
	"os"
	"testing"
)

// flags are the wishes of the command line.
var flags Flags

func TestMain(m *testing.M) {
	flags.Register(flag.CommandLine)
	flag.Parse()
	os.Exit(m.Run())
}

// seeds gives the seeds of a test: n of them, a quarter with -short, or what the
// flags say.
func seeds(n int) []uint64 {
	if testing.Short() {
		n = (n + 3) / 4
	}
	return flags.List(1, n)
}
