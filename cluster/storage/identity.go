package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

// FormatVersion is the version of the store's layout that this program writes, and
// the newest it reads.
const FormatVersion = 1

// The node's own rows.
const (
	prefixNode  = 0x01
	rowVersion  = 'v'
	rowIdentity = 'i'
	// prefixEnd is above every row of a store.
	prefixEnd = 0xff
)

// magic opens the version row, so that another program's Pebble is not taken for
// ours.
const magic = "ringmaster store\x00"

func versionKey() []byte  { return []byte{prefixNode, rowVersion} }
func identityKey() []byte { return []byte{prefixNode, rowIdentity} }

func encodeVersion(version uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte(magic), version)
}

func decodeVersion(row []byte) (uint32, error) {
	if len(row) != len(magic)+4 || string(row[:len(magic)]) != magic {
		return 0, errors.New("the version row is not one of Ringmaster's")
	}
	return binary.BigEndian.Uint32(row[len(magic):]), nil
}

func encodeIdentity(id *messages.Identity) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(id)
}

func decodeIdentity(row []byte) (*messages.Identity, error) {
	id := &messages.Identity{}
	if err := proto.Unmarshal(row, id); err != nil {
		return nil, fmt.Errorf("the identity row is damaged: %w", err)
	}
	if id.GetNodeId() == "" || id.GetStoreId() == "" {
		return nil, errors.New("the identity row names no node")
	}
	return id, nil
}

// identity is who the node is. Updates are made on top of one another in the
// order they are submitted, and show once they are durable.
type identity struct {
	mu sync.Mutex
	// latest has every update that was submitted, durable those that were synced.
	latest, durable *messages.Identity
}

func (i *identity) get() *messages.Identity {
	i.mu.Lock()
	defer i.mu.Unlock()
	return proto.CloneOf(i.durable)
}

// change makes the write of an update and hands it to submit, which must not
// block, before another update can be made.
func (i *identity) change(update func(*messages.Identity), submit func(*replica.Write, *messages.Identity)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	next := proto.CloneOf(i.latest)
	update(next)
	row, err := encodeIdentity(next)
	if err != nil {
		return err
	}
	i.latest = next
	submit(&replica.Write{Sync: true, Ops: []replica.Op{{Key: identityKey(), Value: row}}}, next)
	return nil
}

func (i *identity) set(id *messages.Identity) {
	i.mu.Lock()
	i.durable = id
	i.mu.Unlock()
}

// UpdateIdentity changes who the node is, and returns when the change is durable.
func (e *Engine) UpdateIdentity(update func(*messages.Identity)) error {
	var write *replica.Write
	var next *messages.Identity
	if err := e.identity.change(update, func(w *replica.Write, id *messages.Identity) { write, next = w, id }); err != nil {
		return err
	}
	if err := e.Commit([]*replica.Write{write}, true); err != nil {
		return err
	}
	e.identity.set(next)
	return nil
}

// boot reads who the node is, or decides it on the first start, and counts the
// start.
func (e *Engine) boot() error {
	row, found, err := e.Get(versionKey())
	if err != nil {
		return err
	}
	var id *messages.Identity
	if found {
		id, err = e.known(row)
	} else {
		id, err = e.unknown()
	}
	if err != nil {
		return err
	}
	id.Boot++
	value, err := encodeIdentity(id)
	if err != nil {
		return err
	}
	e.identity.latest, e.identity.durable = id, id
	err = e.Commit([]*replica.Write{{Ops: []replica.Op{
		{Key: versionKey(), Value: encodeVersion(FormatVersion)},
		{Key: identityKey(), Value: value},
	}}}, true)
	if err != nil || found {
		return err
	}
	// Pebble begins a new store's first log in its oldest format, in which damage
	// looks like the end of the log: acknowledged writes behind it would vanish
	// without an error. A flush begins a log in the newest format.
	return e.db.Flush()
}

// known checks a store that has a version row, and reads its identity.
func (e *Engine) known(versionRow []byte) (*messages.Identity, error) {
	version, err := decodeVersion(versionRow)
	if err != nil {
		return nil, &Error{Kind: NotOurs, Dir: e.cfg.Dir, What: "the directory holds the store of another program", Next: nextEmpty, Err: err}
	}
	if version > FormatVersion {
		return nil, &Error{
			Kind: TooNew, Dir: e.cfg.Dir, Next: nextNewer,
			What: fmt.Sprintf("it has format %d, and this program knows formats up to %d", version, FormatVersion),
		}
	}
	row, found, err := e.Get(identityKey())
	if err != nil {
		return nil, err
	}
	if !found {
		err = errors.New("the identity row is missing")
	}
	var id *messages.Identity
	if err == nil {
		id, err = decodeIdentity(row)
	}
	if err != nil {
		return nil, &Error{Kind: Corrupt, Dir: e.cfg.Dir, What: "the store is damaged", Next: nextReplace, Err: err}
	}
	return id, nil
}

// unknown makes the identity of a store that has no version row; it must be empty.
func (e *Engine) unknown() (*messages.Identity, error) {
	full := errors.New("not empty")
	err := e.Scan(nil, []byte{prefixEnd}, func(_, _ []byte) error { return full })
	if errors.Is(err, full) {
		return nil, &Error{Kind: NotOurs, Dir: e.cfg.Dir, What: "the directory holds the store of another program", Next: nextEmpty}
	}
	if err != nil {
		return nil, err
	}
	node, err := newID(e.cfg.Now().UnixMilli(), e.cfg.Random)
	if err != nil {
		return nil, err
	}
	store, err := newID(e.cfg.Now().UnixMilli(), e.cfg.Random)
	if err != nil {
		return nil, err
	}
	return &messages.Identity{NodeId: node, StoreId: store}, nil
}

// newID returns an id in the form of a ULID: 48 bits of time in milliseconds and
// 80 random bits, as 26 digits of Crockford's base 32. Ids sort by age.
func newID(millis int64, random io.Reader) (string, error) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(millis)<<16)
	if _, err := io.ReadFull(random, b[6:]); err != nil {
		return "", fmt.Errorf("draw a node id: %w", err)
	}
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var text [26]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(text[:]), nil
}
