package sim

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/messages"
)

// The first bytes of the rows that are compared; see the layout of actors/replica.
const (
	prefixReplica = 0x02
	prefixRows    = 0x04
	rowReplica    = 'r'
	rowApplied    = 'a'
	// prefixSize is the prefix byte and the partition's number.
	prefixSize = 9
)

// copyOf is what one disk holds of one partition.
type copyOf struct {
	exists  bool
	applied uint64
	turns   uint64
	rows    int
	digest  *xxhash.Digest
}

// copies reads what a disk holds, by partition.
func copies(e Engine) (map[uint64]*copyOf, error) {
	found := map[uint64]*copyOf{}
	err := e.Scan([]byte{prefixReplica}, []byte{prefixRows + 1}, func(key, value []byte) error {
		if len(key) < prefixSize || key[0] != prefixReplica && key[0] != prefixRows {
			return nil
		}
		p := binary.BigEndian.Uint64(key[1:prefixSize])
		c := found[p]
		if c == nil {
			c = &copyOf{digest: xxhash.New()}
			found[p] = c
		}
		return c.add(key, value)
	})
	return found, err
}

// add takes one row into account.
func (c *copyOf) add(key, value []byte) error {
	if key[0] == prefixRows {
		c.rows++
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(key)))
		_, _ = c.digest.Write(size[:])
		_, _ = c.digest.Write(key)
		_, _ = c.digest.Write(value)
		return nil
	}
	switch key[prefixSize] {
	case rowReplica:
		c.exists = true
	case rowApplied:
		applied := &messages.AppliedRow{}
		if err := proto.Unmarshal(value, applied); err != nil {
			return err
		}
		c.applied, c.turns = applied.GetIndex(), applied.GetTurns()
	}
	return nil
}

// compareReplicas demands that at rest all copies of a partition have applied the
// same entries, and that they then hold the same rows.
func (w *World) compareReplicas() {
	first := map[uint64]*copyOf{}
	where := map[uint64]int{}
	for _, h := range w.hosts {
		held, err := copies(h.disk.engine)
		if err != nil {
			w.violate("rows on disk are sound", "node %d: %v", h.index, err)
			return
		}
		for p := range uint64(w.cfg.Partitions + 1) {
			c := held[p]
			if c == nil || !c.exists {
				continue
			}
			other := first[p]
			if other == nil {
				first[p], where[p] = c, h.index
				continue
			}
			if c.applied != other.applied || c.turns != other.turns {
				w.violate("replicas are equal at rest", "partition %d: node %d applied %d entries and %d turns, node %d %d and %d",
					p, where[p], other.applied, other.turns, h.index, c.applied, c.turns)
			} else if c.digest.Sum64() != other.digest.Sum64() {
				w.violate("replicas are equal at rest", "partition %d: nodes %d and %d applied entry %d; their rows differ (%d and %d)",
					p, where[p], h.index, c.applied, other.rows, c.rows)
			}
		}
	}
}
