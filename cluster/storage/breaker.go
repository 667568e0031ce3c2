package storage

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// breaker cuts a store off from its disk at the first failure, as a power loss
// would: from then on nothing changes on the disk any more.
//
// Pebble would rather end the process than go on after a failed write, and where
// it does go on it tries again. Neither will do: the node wants to say what
// happened, and a second try of a failed fsync proves nothing. So Pebble is not
// told. The breaker records the failure, which ends all acknowledgements, and
// answers this and every later change with success: writes to open files go
// nowhere, new files go to memory. The store that Pebble then maintains is a
// dream, but it can be read and closed without blocking or panicking.
//
// While Pebble is being opened, errors pass through: it can deal with them then.
type breaker struct {
	vfs.FS
	failure *failure
	// after takes the files that are made after the failure.
	after *vfs.MemFS
}

func newBreaker(inner FS, f *failure) *breaker {
	return &breaker{FS: inner, failure: f, after: vfs.NewMem()}
}

// cut reports whether the disk is out of reach.
func (b *breaker) cut() bool { return b.failure.armed.Load() && b.failure.err() != nil }

// change runs a change of the disk and says whether to believe its error: not if
// the breaker is cut, by this failure or an earlier one.
func (b *breaker) change(what, name string, run func() error) error {
	if b.cut() {
		return nil
	}
	err := run()
	if err == nil || !b.failure.armed.Load() {
		return err
	}
	_ = b.failure.fail(what+" "+name, err)
	return nil
}

// make runs a change that yields a file, which is in memory if the breaker is cut.
func (b *breaker) make(name string, run func() (vfs.File, error)) (vfs.File, error) {
	var f vfs.File
	err := b.change("create", name, func() (err error) {
		f, err = run()
		return err
	})
	if err != nil {
		return nil, err
	}
	if f != nil {
		return &breakerFile{File: f, breaker: b, name: name}, nil
	}
	if err := b.after.MkdirAll(b.after.PathDir(name), directoryMode); err != nil {
		return nil, err
	}
	return b.after.Create(name, vfs.WriteCategoryUnspecified)
}

// Create implements vfs.FS.
func (b *breaker) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return b.make(name, func() (vfs.File, error) { return b.FS.Create(name, category) })
}

// ReuseForWrite implements vfs.FS.
func (b *breaker) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return b.make(newname, func() (vfs.File, error) { return b.FS.ReuseForWrite(oldname, newname, category) })
}

// Link implements vfs.FS.
func (b *breaker) Link(oldname, newname string) error {
	return b.change("link", newname, func() error { return b.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (b *breaker) Rename(oldname, newname string) error {
	return b.change("rename", oldname, func() error { return b.FS.Rename(oldname, newname) })
}

// MkdirAll implements vfs.FS.
func (b *breaker) MkdirAll(dir string, mode os.FileMode) error {
	return b.change("create", dir, func() error { return b.FS.MkdirAll(dir, mode) })
}

// Remove implements vfs.FS. It may fail without consequence: what is removed is not
// needed any more.
func (b *breaker) Remove(name string) error {
	if b.cut() {
		return nil
	}
	return b.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (b *breaker) RemoveAll(name string) error {
	if b.cut() {
		return nil
	}
	return b.FS.RemoveAll(name)
}

// Open implements vfs.FS.
func (b *breaker) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if b.cut() {
		if f, err := b.after.Open(name, opts...); err == nil {
			return f, nil
		}
	}
	return b.FS.Open(name, opts...)
}

// OpenReadWrite implements vfs.FS.
func (b *breaker) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return b.make(name, func() (vfs.File, error) { return b.FS.OpenReadWrite(name, category, opts...) })
}

// OpenDir implements vfs.FS.
func (b *breaker) OpenDir(name string) (vfs.File, error) {
	f, err := b.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &breakerFile{File: f, breaker: b, name: name}, nil
}

// Stat implements vfs.FS.
func (b *breaker) Stat(name string) (vfs.FileInfo, error) {
	if b.cut() {
		if info, err := b.after.Stat(name); err == nil {
			return info, nil
		}
	}
	return b.FS.Stat(name)
}

// Unwrap implements vfs.FS.
func (b *breaker) Unwrap() vfs.FS { return b.FS }

// breakerFile is a file that was opened for writing before the disk was cut off.
type breakerFile struct {
	vfs.File
	breaker *breaker
	name    string
}

// change is breaker.change, but that Pebble learns of a table file it could not
// finish: it must not read it, and begins another one, in memory.
func (f *breakerFile) change(what string, run func() error) error {
	if !strings.HasSuffix(f.name, ".sst") {
		return f.breaker.change(what, f.name, run)
	}
	if f.breaker.cut() {
		return f.breaker.failure.err()
	}
	err := run()
	if err != nil && f.breaker.failure.armed.Load() {
		_ = f.breaker.failure.fail(what+" "+f.name, err)
	}
	return err
}

// Write implements vfs.File.
func (f *breakerFile) Write(p []byte) (n int, err error) {
	n = len(p)
	err = f.change("write to", func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// WriteAt implements vfs.File.
func (f *breakerFile) WriteAt(p []byte, offset int64) (n int, err error) {
	n = len(p)
	err = f.change("write to", func() (err error) {
		n, err = f.File.WriteAt(p, offset)
		return err
	})
	if err == nil {
		n = len(p)
	}
	return n, err
}

// Preallocate implements vfs.File. It may fail without consequence.
func (f *breakerFile) Preallocate(offset, length int64) error {
	if f.breaker.cut() {
		return nil
	}
	return f.File.Preallocate(offset, length)
}

// Sync implements vfs.File.
func (f *breakerFile) Sync() error { return f.change("sync", f.File.Sync) }

// SyncData implements vfs.File.
func (f *breakerFile) SyncData() error { return f.change("sync", f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *breakerFile) SyncTo(length int64) (full bool, err error) {
	err = f.change("sync", func() (err error) {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close implements vfs.File.
func (f *breakerFile) Close() error {
	err := f.File.Close()
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	return f.change("close", func() error { return err })
}
