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
