package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/seed-49de4af9/ringmaster/actors/replica"
	"github.com/seed-49de4af9/ringmaster/messages"
)

func TestIdentityLastsAndCountsBoots(t *testing.T) {
	disk := NewDisk()
	s := open(t, Config{FS: disk.FS()})
	first := s.Identity()
	if len(first.GetNodeId()) != 26 || len(first.GetStoreId()) != 26 || first.GetNodeId() == first.GetStoreId() {
		t.Errorf("ids: node %q, store %q; want two different ones of 26 digits", first.GetNodeId(), first.GetStoreId())
	}
	if first.GetBoot() != 1 {
		t.Errorf("boot = %d at the first start, want 1", first.GetBoot())
	}
	if err := s.UpdateIdentity(func(id *messages.Identity) { id.Name, id.ClusterId = "ada", "c1" }); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	s.SubmitIdentity(func(id *messages.Identity) { id.ClusterId += "-c2" }, func(err error) { done <- err })
	s.SubmitIdentity(func(id *messages.Identity) { id.ClusterId += "-c3" }, func(err error) { done <- err }, put("k1", "with"))
	for range 2 {
		if err := await(t, done); err != nil {
			t.Fatal(err)
		}
	}
	s.Identity().NodeId = "changed by a reader"

	again := open(t, Config{FS: disk.Crash(0, nil).FS()}) // every change was synced
	want := &messages.Identity{NodeId: first.GetNodeId(), StoreId: first.GetStoreId(), Boot: 2, Name: "ada", ClusterId: "c1-c2-c3"}
	if diff := cmp.Diff(want, again.Identity(), protocmp.Transform()); diff != "" {
		t.Errorf("identity after a power loss (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"k1=with"}, rows(t, again)); diff != "" {
		t.Errorf("what was written with the identity (-want +got):\n%s", diff)
	}
}

func TestAFailedFirstStartLeavesNothingThatIsNotOurs(t *testing.T) {
	// Power is lost at every file operation of the first start in turn; whatever is
	// left must be taken for an empty directory, or for the store that it is.
	for n := int32(0); ; n++ {
		disk := NewDisk()
		index := errorfs.OnIndex(n)
		s, err := Open(quiet(Config{FS: errorfs.Wrap(disk.FS(), index), Dir: "a/store"}))
		if err == nil {
			_ = s.Close() // it may have met the injected error
		}
		again, err := Open(quiet(Config{FS: disk.Crash(0, nil).FS(), Dir: "a/store"}))
		if err != nil {
			t.Fatalf("after a failure of operation %d: %v", n, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if index.Index.Load() >= 0 { // all operations were allowed
			t.Logf("%d operations", n)
			break
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mustWrite := func(path, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(at("file"), "text")
	mustWrite(at("foreign/notes.txt"), "text")
	mustWrite(at("halved/000012.sst"), "text")
	used := open(t, Config{Dir: at("used")})
	foreign, err := pebble.Open(at("pebble"), &pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(foreign.Set([]byte("k"), nil, pebble.Sync), foreign.Close()); err != nil {
		t.Fatal(err)
	}
	newer := open(t, Config{Dir: at("newer")})
	if err := write(t, newer, true, replica.Op{Key: versionKey(), Value: encodeVersion(FormatVersion + 1)}); err != nil {
		t.Fatal(err)
	}
	anonymous := open(t, Config{Dir: at("anonymous")})
	if err := write(t, anonymous, true, replica.Op{Kind: replica.Delete, Key: identityKey()}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(newer.Close(), anonymous.Close()); err != nil {
		t.Fatal(err)
	}
	failing := func(kind errorfs.OpKind, err error) FS {
		return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind {
				return &os.PathError{Op: "test", Path: op.Path, Err: err}
			}
			return nil
		}))
	}

	for _, test := range []struct {
		name string
		cfg  Config
		kind Kind
		text string
	}{
		{"no directory named", Config{Dir: " "}, Unreadable, "no directory"},
		{"a file", Config{Dir: at("file")}, NotOurs, "not a directory"},
		{"below a file", Config{Dir: at("file/store")}, NotOurs, "not a directory"},
		{"somebody's files", Config{Dir: at("foreign")}, NotOurs, "notes.txt"},
		{"another program's store", Config{Dir: at("pebble")}, NotOurs, "another program"},
		{"manifest lost", Config{Dir: at("halved")}, Corrupt, "no manifest"},
		{"no identity", Config{Dir: at("anonymous")}, Corrupt, "move the directory away"},
		{"used by another process", Config{Dir: at("used")}, InUse, "another process"},
		{"newer format", Config{Dir: at("newer")}, TooNew, "format 2"},
		{"not allowed to create", Config{FS: failing(errorfs.OpMkdirAll, syscall.EACCES)}, Unreadable, "permission denied"},
		{"not allowed to list", Config{FS: failing(errorfs.OpList, syscall.EACCES)}, Unreadable, "permission denied"},
		{"read-only", Config{FS: failing(errorfs.OpLock, syscall.EROFS)}, Unreadable, "read-only"},
		{"full", Config{FS: failing(errorfs.OpFileWrite, syscall.ENOSPC)}, DiskFull, "free space on that file system"},
		{"quota", Config{FS: failing(errorfs.OpCreate, syscall.EDQUOT)}, DiskFull, "free"},
		{"broken", Config{FS: failing(errorfs.OpFileSync, syscall.EIO)}, Failed, "input/output error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := quiet(test.cfg)
			if cfg.Dir == " " {
				cfg.Dir = ""
			}
			fatal := false
			cfg.OnFatal = func(error) { fatal = true }
			s, err := Open(cfg)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Open = %v, %v; want an *Error", s, err)
			}
			text := err.Error()
			if e.Kind != test.kind || !strings.Contains(text, test.text) || !strings.Contains(text, cfg.Dir) || e.Next == "" {
				t.Errorf("Open = kind %d, %q, next %q; want kind %d, and %q and the directory in the text", e.Kind, text, e.Next, test.kind, test.text)
			}
			if fatal {
				t.Errorf("OnFatal was called for an error that Open returned")
			}
			t.Log(text)
		})
	}
	if err := write(t, used, true, put("k", "")); err != nil {
		t.Errorf("the store that another one tried to open: %v", err)
	}
}

func TestDirectoryIsForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "store")
	open(t, Config{Dir: dir})
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("mode %o, want 700", got)
	}
}

func TestDamageIsFound(t *testing.T) {
	for _, suffix := range []string{".log", ".sst", "MANIFEST"} {
		t.Run(suffix, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, Config{Dir: dir})
			for range 50 {
				if err := write(t, s, true, put("k1", strings.Repeat("v", 1000))); err != nil {
					t.Fatal(err)
				}
			}
			if suffix == ".sst" {
				if err := s.engine.db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, dir, suffix)
			again, err := Open(quiet(Config{Dir: dir}))
			if err == nil { // a table file is read when it is needed
				_, _, err = again.Get([]byte("k1"))
				if closeErr := again.Close(); again.Err() == nil {
					t.Errorf("the damage did not end the store; Close = %v", closeErr)
				}
			}
			var e *Error
			if !errors.As(err, &e) || e.Kind != Corrupt {
				t.Errorf("got %v, want an *Error that says the store is damaged", err)
			}
			t.Log(err)
		})
	}
}

// damage flips a byte in the middle of the largest file whose name has part.
func damage(t *testing.T, dir, part string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var data []byte
	for _, entry := range entries {
		if !strings.Contains(entry.Name(), part) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > len(data) {
			path, data = filepath.Join(dir, entry.Name()), content
		}
	}
	data[len(bytes.TrimRight(data, "\x00"))/3] ^= 0x55
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
