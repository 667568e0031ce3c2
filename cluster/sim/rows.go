package sim

import (
	"bytes"

	"github.com/google/btree"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
)

// row is a key and its value; rows are never changed in place.
type row struct{ key, value []byte }

func rowLess(a, b row) bool { return bytes.Compare(a.key, b.key) < 0 }

// rows is an ordered map in memory that remembers how to take back what was not
// synced: the model of a store.
type rows struct {
	tree *btree.BTreeG[row]
	// undo holds, newest last, what unsynced writes have overwritten.
	undo []undo
}

var _ Engine = (*rows)(nil)

// undo says how to take one step of an unsynced write back.
type undo struct {
	// write marks the end of a write.
	write bool
	key   []byte
	old   row
	had   bool
}

func newRows() *rows { return &rows{tree: btree.NewG(32, rowLess)} }

// Get returns a row.
func (r *rows) Get(key []byte) ([]byte, bool, error) { return view{r.tree}.Get(key) }

// Scan visits rows in order.
func (r *rows) Scan(from, to []byte, visit func(key, value []byte) error) error {
	return view{r.tree}.Scan(from, to, visit)
}

// Snapshot returns the rows as they are now.
func (r *rows) Snapshot() replica.Snapshot { return view{r.tree.Clone()} }

// Close does nothing.
func (*rows) Close() error { return nil }

// view is an unchanging view of rows.
type view struct{ tree *btree.BTreeG[row] }

func (v view) Get(key []byte) ([]byte, bool, error) {
	r, found := v.tree.Get(row{key: key})
	if !found {
		return nil, false, nil
	}
	return bytes.Clone(r.value), true, nil
}

func (v view) Scan(from, to []byte, visit func(key, value []byte) error) error {
	var err error
	v.tree.AscendRange(row{key: from}, row{key: to}, func(r row) bool {
		err = visit(r.key, r.value)
		return err == nil
	})
	return err
}

func (view) Close() error { return nil }

// Commit makes writes visible.
func (r *rows) Commit(writes []*replica.Write, sync bool) error {
	for _, w := range writes {
		r.apply(w)
	}
	if sync {
		clear(r.undo)
		r.undo = r.undo[:0]
	}
	return nil
}

func (r *rows) apply(w *replica.Write) {
	for _, op := range w.Ops {
		switch op.Kind {
		case replica.Put:
			old, had := r.tree.ReplaceOrInsert(row{key: op.Key, value: op.Value})
			r.undo = append(r.undo, undo{key: op.Key, old: old, had: had})
		case replica.Delete:
			if old, had := r.tree.Delete(row{key: op.Key}); had {
				r.undo = append(r.undo, undo{key: op.Key, old: old, had: had})
			}
		case replica.DeleteRange:
			r.deleteRange(op.Key, op.Value)
		}
	}
	r.undo = append(r.undo, undo{write: true})
}

func (r *rows) deleteRange(from, to []byte) {
	var gone []row
	r.tree.AscendRange(row{key: from}, row{key: to}, func(found row) bool {
		gone = append(gone, found)
		return true
	})
	for _, g := range gone {
		r.tree.Delete(g)
		r.undo = append(r.undo, undo{key: g.key, old: g, had: true})
	}
}

// Unsynced counts the writes since the last sync.
func (r *rows) Unsynced() int {
	n := 0
	for _, u := range r.undo {
		if u.write {
			n++
		}
	}
	return n
}

// Crash returns a copy without the newest lose writes.
func (r *rows) Crash(lose int) (Engine, error) {
	after := &rows{tree: r.tree.Clone()}
	for i := len(r.undo) - 1; i >= 0 && lose > 0; i-- {
		if u := r.undo[i]; u.write {
			continue
		} else if u.had {
			after.tree.ReplaceOrInsert(u.old)
		} else {
			after.tree.Delete(row{key: u.key})
		}
		if i == 0 || r.undo[i-1].write {
			lose--
		}
	}
	return after, nil
}
