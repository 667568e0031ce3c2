package sim

import (
	"flag"
	"strings"
)

// Flags are the command line's wishes for the runs of a test binary; see Register.
type Flags struct {
	// Seeds is how many seeds each test runs; 0 leaves it to the test.
	Seeds int
	// First, if not 0, is where the seeds begin.
	First uint64
	// Seed, if not 0, is the only seed to run.
	Seed uint64
	// Plant names defects to switch on, separated by commas.
	Plant string
	// Dir receives reports of failed runs.
	Dir string
}

// Register adds the flags -sim.seeds, -sim.first, -sim.seed, -sim.plant and -sim.dir to a
// flag set.
func (f *Flags) Register(set *flag.FlagSet) {
	set.IntVar(&f.Seeds, "sim.seeds", 0, "number of seeds that each simulation runs; 0: its own choice")
	set.Uint64Var(&f.First, "sim.first", 0, "the first of the seeds; 0: its own choice")
	set.Uint64Var(&f.Seed, "sim.seed", 0, "the one seed to run; repeats a failure")
	set.StringVar(&f.Plant, "sim.plant", "", "defects to switch on, separated by commas")
	set.StringVar(&f.Dir, "sim.dir", "", "directory for the reports of failed runs")
}

// Apply puts the wishes into a Config.
func (f *Flags) Apply(cfg Config) Config {
	if f.Seed != 0 {
		cfg.Seed = f.Seed
	}
	if f.Plant != "" {
		cfg.Plant = strings.Split(f.Plant, ",")
	}
	if f.Dir != "" {
		cfg.Dir = f.Dir
	}
	return cfg
}

// List gives the seeds to run: n of them from first on, unless the flags say
// otherwise.
func (f *Flags) List(first uint64, n int) []uint64 {
	if f.Seed != 0 {
		return []uint64{f.Seed}
	}
	if f.Seeds > 0 {
		n = f.Seeds
	}
	if f.First > 0 {
		first = f.First
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = first + uint64(i)
	}
	return seeds
}
