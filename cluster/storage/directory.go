package storage

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// directoryMode: a node's data is for its own user only.
const directoryMode os.FileMode = 0o700

// claim makes sure that the directory exists, is ours or empty, and is used by
// nobody else. The caller closes the lock.
func claim(fsys FS, dir string) (*pebble.Lock, error) {
	if err := prepare(fsys, dir); err != nil {
		return nil, err
	}
	lock, err := pebble.LockDirectory(dir, fsys)
	if err != nil {
		return nil, explainLock(fsys, dir, err)
	}
	if err := recognize(fsys, dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// prepare creates the directory if need be.
func prepare(fsys FS, dir string) error {
	info, err := fsys.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := create(fsys, dir); err != nil {
			return explain(fsys, dir, "create the directory", err)
		}
		return nil
	}
	if errors.Is(err, syscall.ENOTDIR) || err == nil && !info.IsDir() {
		return &Error{Kind: NotOurs, Dir: dir, What: "the path is not a directory", Next: nextEmpty}
	}
	if err != nil {
		return explain(fsys, dir, "look at the directory", err)
	}
	return nil
}

// create makes the directory and the parents it lacks, and syncs the entries, so
// that a power loss cannot take away the directory with the store in it.
func create(fsys FS, dir string) error {
	var missing []string
	for d := dir; ; d = fsys.PathDir(d) {
		if _, err := fsys.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, d)
		if fsys.PathDir(d) == d {
			break
		}
	}
	if err := fsys.MkdirAll(dir, directoryMode); err != nil {
		return err
	}
	for _, d := range missing {
		parent, err := fsys.OpenDir(fsys.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

func explainLock(fsys FS, dir string, err error) error {
	inUse := errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held")
	if inUse {
		return &Error{
			Kind: InUse, Dir: dir, What: "another process uses it", Err: err,
			Next: "stop that process, or give this node a directory of its own",
		}
	}
	return explain(fsys, dir, "lock the directory", err)
}

// recognize refuses a directory that is not empty and holds no store, and a store
// that lost its manifest: Pebble would start afresh on top of it.
func recognize(fsys FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return explain(fsys, dir, "list the directory", err)
	}
	found, err := pebble.Peek(dir, fsys)
	if err != nil {
		return explain(fsys, dir, "recognize the store", err)
	}
	if found.Exists {
		return nil
	}
	slices.Sort(names)
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log"):
			return &Error{Kind: Corrupt, Dir: dir, What: "the store is damaged: it has " + name + " but no manifest", Next: nextReplace}
		case !fromBeginning(name):
			return &Error{Kind: NotOurs, Dir: dir, What: "the directory is not empty and holds no store: it has " + name, Next: nextEmpty}
		}
	}
	return nil
}

// fromBeginning reports whether a file may be there before a store exists: the
// lock, what a first start left behind that was cut short, or what file systems
// put into their root.
func fromBeginning(name string) bool {
	if name == "LOCK" || name == "lost+found" {
		return true
	}
	for _, prefix := range []string{"MANIFEST-", "OPTIONS-", "marker.", "temporary."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
