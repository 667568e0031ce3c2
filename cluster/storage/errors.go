package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// ErrClosed is the error of a write that came when the store was closed, or that
// waited when it was killed.
var ErrClosed = errors.New("the store is closed")

// Kind says what is wrong with a store. The set is closed.
type Kind uint8

// The kinds of Error.
const (
	// Failed is any other failure of the disk.
	Failed Kind = iota
	// InUse: another process has the directory.
	InUse
	// Unreadable: the directory cannot be made, listed or written.
	Unreadable
	// NotOurs: the path holds something that this program did not make.
	NotOurs
	// Corrupt: what was read is not what was written.
	Corrupt
	// TooNew: a newer version of the program wrote the store.
	TooNew
	// DiskFull: there is no space left.
	DiskFull
)

// Error is what Open, OnFatal and Done report: what is wrong, where, and what to
// do about it.
type Error struct {
	Kind Kind
	// Dir is the store's directory.
	Dir string
	// What went wrong, without the directory.
	What string
	// Next is what a person can do.
	Next string
	// Err is the cause; nil if there is none beyond What.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	cause := ""
	if e.Err != nil {
		cause = ": " + e.Err.Error()
	}
	return fmt.Sprintf("store in %s: %s%s; %s", e.Dir, e.What, cause, e.Next)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	nextRestart = "the node must stop: look for disk errors in the kernel log, then start it again; " +
		"nothing that was acknowledged is lost while a majority of its partitions' replicas lives"
	nextReplace = "do not start this node from it: move the directory away and start with an empty one; " +
		"the node then joins as a new one and is given its data by the others"
	nextAccess = "make the directory readable and writable for the user that runs the node, or choose another one"
	nextEmpty  = "choose an empty directory, or one that a node of Ringmaster made"
)

// explain turns a failure into an Error. An Error stays as it is.
func explain(fsys FS, dir, what string, err error) *Error {
	if known, ok := errors.AsType[*Error](err); ok {
		return known
	}
	e := &Error{Kind: Failed, Dir: dir, What: what, Next: nextRestart, Err: err}
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		e.Kind = DiskFull
		e.What = fmt.Sprintf("the disk is full (%s): %s", freeSpace(fsys, dir), what)
		e.Next = "free space on that file system, then start the node again; nothing that was acknowledged is lost"
	case pebble.IsCorruptionError(err):
		e.Kind = Corrupt
		e.What = "the store is damaged: " + what
		e.Next = nextReplace
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		e.Kind = Unreadable
		e.Next = nextAccess
	case strings.Contains(err.Error(), "format major version"):
		e.Kind = TooNew
		e.Next = nextNewer
	}
	return e
}

const nextNewer = "start it with the version of the program that wrote it, or a newer one"

func freeSpace(fsys FS, dir string) string {
	usage, err := fsys.GetDiskUsage(dir)
	if err != nil {
		return "free space unknown"
	}
	const mib = 1 << 20
	return fmt.Sprintf("%d MiB of %d MiB free", usage.AvailBytes/mib, usage.TotalBytes/mib)
}
