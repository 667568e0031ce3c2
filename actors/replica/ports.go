package replica

// Store is the port to a node's disk: an ordered map of byte strings with one
// queue of writes. cluster/storage implements it on Pebble, cluster/sim on a
// disk that crashes.
//
// Writes take effect in the order of Submit, each one whole or not at all. What
// survives a power loss is always a prefix of that order that reaches at least
// to the last Sync write whose Done was called.
type Store interface {
	// Get returns the value at key as of the writes whose Done was called. The
	// value is the caller's to keep.
	Get(key []byte) (value []byte, found bool, err error)
	// Scan visits the rows with from <= key < to in order until visit returns
	// an error, which it returns. Key and value are valid during visit only.
	// The rows are of one moment, whatever is written meanwhile.
	Scan(from, to []byte, visit func(key, value []byte) error) error
	// Snapshot returns an unchanging view of the rows; close it soon.
	Snapshot() Snapshot
	// Submit queues a write and returns at once. It may be called from any
	// goroutine; calls from one goroutine keep their order.
	Submit(w *Write)
}

// Snapshot is an unchanging view of a Store.
type Snapshot interface {
	Get(key []byte) (value []byte, found bool, err error)
	// Scan is Store's Scan.
	Scan(from, to []byte, visit func(key, value []byte) error) error
	Close() error
}

// Write is one atomic change of the store. The store owns it and the bytes it
// refers to from Submit on.
type Write struct {
	Ops []Op
	// Sync asks for durability before Done.
	Sync bool
	// Done is called once, in the order of the writes: with nil when the write
	// is visible to Get and Scan and, if Sync, durable together with every
	// earlier one; with an error when it is not. After an error the store
	// accepts nothing more: the node must stop. Done must not block. May be nil.
	Done func(error)
}

// OpKind is what one Op does.
type OpKind uint8

// The kinds of Op.
const (
	// Put sets Key to Value.
	Put OpKind = iota
	// Delete removes Key.
	Delete
	// DeleteRange removes every row with Key <= k < Value.
	DeleteRange
)

// Op is one step of a Write; the steps are applied in order.
type Op struct {
	Kind  OpKind
	Key   []byte
	Value []byte
}
