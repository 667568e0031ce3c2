package sim

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	mathrand "math/rand/v2"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// streams are the world's sources of chance, one for each subsystem, so that one
// more draw in one of them leaves the others as they were.
type streams struct {
	schedule *mathrand.Rand // which runnable actor is next, how ties are broken
	network  *mathrand.Rand // fates and delays of messages
	disk     *mathrand.Rand // how long a sync takes
	crash    *mathrand.Rand // what survives a power loss, which fault points fire
	faults   *mathrand.Rand // which faults happen, when and to whom
	workload *mathrand.Rand // what clients do
	clocks   *mathrand.Rand // how the nodes' clocks are wrong
	entropy  *mathrand.Rand // stands in for the machine's source of randomness
}

func newStreams(seed uint64) streams {
	return streams{
		schedule: stream(seed, "schedule"),
		network:  stream(seed, "network"),
		disk:     stream(seed, "disk"),
		crash:    stream(seed, "crash"),
		faults:   stream(seed, "faults"),
		workload: stream(seed, "workload"),
		clocks:   stream(seed, "clocks"),
		entropy:  stream(seed, "entropy"),
	}
}

// stream returns the source of chance of one name under a seed.
func stream(seed uint64, name string) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(seed, xxhash.Sum64String(name)))
}

// between draws an integer of [from, to], evenly.
func between[T ~int | ~int64](r *mathrand.Rand, from, to T) T {
	if to <= from {
		return from
	}
	return from + T(r.Int64N(int64(to-from)+1))
}

// chance is true with probability p.
func chance(r *mathrand.Rand, p float64) bool {
	return p > 0 && r.Float64() < p
}

// entropyLock serializes runs of one process: crypto/rand.Reader, from which raft
// draws its election timeouts, belongs to the whole process.
var entropyLock sync.Mutex

// seizeEntropy replaces the process's source of randomness by r until the
// returned function is called.
func seizeEntropy(r *mathrand.Rand) (release func()) {
	entropyLock.Lock()
	before := rand.Reader
	rand.Reader = &entropy{from: r}
	return func() {
		rand.Reader = before
		entropyLock.Unlock()
	}
}

// entropy is an io.Reader over a seeded source. Like the Reader it stands in for
// it may be read by several goroutines.
type entropy struct {
	mu   sync.Mutex
	from *mathrand.Rand
}

var _ io.Reader = (*entropy)(nil)

func (e *entropy) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var word [8]byte
	for i := 0; i < len(p); i += len(word) {
		binary.LittleEndian.PutUint64(word[:], e.from.Uint64())
		copy(p[i:], word[:])
	}
	return len(p), nil
}
