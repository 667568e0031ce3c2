package storage

import (
	"io"
	"math/rand/v2"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is the file system a store lives on.
type FS = vfs.FS

// Memory returns an empty file system in memory. It forgets everything when the
// process ends, and nothing before.
func Memory() FS { return vfs.NewMem() }

// Disk is a disk in memory that can lose its power.
type Disk struct{ mem *vfs.MemFS }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{mem: vfs.NewCrashableMem()} }

// FS returns the disk's file system.
func (d *Disk) FS() FS { return d.mem }

// Crash returns the disk as a power loss at this moment would leave it; d lives on.
// Everything that was synced is there, and of what was not, each block with a
// probability of keepPercent, drawn from rng (which may be nil with 0). Only 0 is
// reproducible: what else reached the disk depends on Pebble's own goroutines.
// The old store must still be closed; it cannot touch the new disk.
func (d *Disk) Crash(keepPercent int, rng *rand.Rand) *Disk {
	return &Disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keepPercent, RNG: rng})}
}

// slowAfter is how long an operation of the disk may take before it is logged.
const slowAfter = 5 * time.Second

// watchedFS returns the machine's own file system, and calls slow about operations
// that take long. The closer ends the watch.
func watchedFS(slow func(vfs.DiskSlowInfo)) (FS, io.Closer) {
	return vfs.WithDiskHealthChecks(vfs.Default, slowAfter, nil, slow)
}
