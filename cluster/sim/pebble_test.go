package sim

import (
	"log/slog"
	"testing"
	"time"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/cluster/storage"
)

// pebble is a disk with the real store on a file system in memory that loses what
// was not synced. It is slower than the model, so only some runs use it.
type pebble struct {
	*storage.Engine
	disk     *storage.Disk
	unsynced int
}

var _ Engine = (*pebble)(nil)

func openPebble(disk *storage.Disk) (Engine, error) {
	e, err := storage.OpenEngine(storage.Config{
		Dir: "node", FS: disk.FS(), MemTableBytes: 4 << 20, CacheBytes: 1 << 20,
		// Compactions run when they like, which no seed decides.
		DisableCompactions: true,
		Logger:             slog.New(slog.DiscardHandler),
		Now:                func() time.Time { return time.Unix(0, startOfTime) },
	})
	if err != nil {
		return nil, err
	}
	return &pebble{Engine: e, disk: disk}, nil
}

func newPebble(int) (Engine, error) { return openPebble(storage.NewDisk()) }

func (p *pebble) Commit(writes []*replica.Write, sync bool) error {
	p.unsynced += len(writes)
	if sync {
		p.unsynced = 0
	}
	return p.Engine.Commit(writes, sync)
}

func (p *pebble) Unsynced() int { return p.unsynced }

func (p *pebble) Crash(lose int) (Engine, error) {
	if lose == 0 {
		if err := p.Commit(nil, true); err != nil {
			return nil, err
		}
	}
	return openPebble(p.disk.Crash(0, nil))
}

func TestPebbleKeepsAPrefix(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		testPrefix(t, Config{Seed: seed, Nodes: 1, Engine: newPebble})
	}
}
