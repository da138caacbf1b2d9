package ext4

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// cutReads fails every read but the first so many.
type cutReads struct {
	io.ReaderAt
	left int
}

var errCut = errors.New("the storage cannot be read")

func (c *cutReads) ReadAt(p []byte, off int64) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	c.left--
	return c.ReaderAt.ReadAt(p, off)
}

// failOnce fails the first read.
type failOnce struct {
	io.ReaderAt
	failed bool
}

func (f *failOnce) ReadAt(p []byte, off int64) (int, error) {
	if !f.failed {
		f.failed = true
		return 0, errCut
	}
	return f.ReaderAt.ReadAt(p, off)
}

// TestRollback lets each operation fail at every read that it makes. Nothing is
// changed then, on the storage or in memory: done once more, it does what it
// would have done at first.
func TestRollback(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-N", "512", "-O", "metadata_csum,^has_journal"}, "3M", nil}, tree(t))
	f := openImage(t, img, false)
	deepFile(t, f, "deep", 400)
	if err := errors.Join(f.Setxattr("etc/empty", "user.b", noise(500, 4)), f.Close()); err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	with := func(f *FS, name string, flag int, do func(*File) error) error {
		e, err := f.OpenFile(name, flag)
		if err != nil {
			return err
		}
		return errors.Join(do(e.(*File)), e.Close())
	}
	for name, op := range map[string]func(f *FS) error{
		"mkdir":      func(f *FS) error { return f.Mkdir("big/x") },
		"symlink":    func(f *FS) error { return f.Symlink("abc", "big/x") },
		"link":       func(f *FS) error { return f.Link("etc/hostname", "big/x") },
		"rename":     func(f *FS) error { return f.Rename("big/a-file-with-a-name-0007.conf", "etc/y") },
		"rename dir": func(f *FS) error { return f.Rename("etc/deep", "big/deep") },
		"replace":    func(f *FS) error { return f.Rename("sparse", "deep") },
		"remove":     func(f *FS) error { return f.Remove("deep") },
		"chmod":      func(f *FS) error { return f.Chmod("etc/empty", 0o644) },
		"set":        func(f *FS) error { return f.Setxattr("etc/hostname", "user.a", noise(600, 3)) },
		"unset":      func(f *FS) error { return f.Removexattr("etc/empty", "user.b") },
		"label":      func(f *FS) error { return f.SetLabel("hello") },
		"uuid":       func(f *FS) error { return f.SetUUID([16]byte{1, 2, 3}) },
		"create":     func(f *FS) error { return with(f, "big/x", os.O_RDWR|os.O_CREATE, func(*File) error { return nil }) },
		"truncate":   func(f *FS) error { return with(f, "deep", os.O_RDWR, func(e *File) error { return e.Truncate(5000) }) },
		"punch": func(f *FS) error {
			return with(f, "deep", os.O_RDWR, func(e *File) error { return e.Punch(10240, 70000) })
		},
	} {
		done, failures := []byte(nil), 0
		for reads := -1; ; reads++ { // at first, all of them
			data := bytes.Clone(base)
			f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
			if err != nil {
				t.Fatal(err)
			}
			clear(f.cache)
			whole := f.storage
			f.storage = &cutReads{whole, reads}
			err = op(f)
			f.storage = whole
			if err != nil {
				failures++
				if err := f.Sync(); err != nil || !bytes.Equal(data, base) || len(f.open) > 0 {
					t.Errorf("%s, after %d reads: something was changed (%v)", name, reads, err)
				}
				if err := op(f); err != nil {
					t.Errorf("%s, after %d reads, once more: %v", name, reads, err)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if done == nil {
				done = data
			}
			if !bytes.Equal(data, done) {
				t.Errorf("%s, after %d reads: the outcome is another", name, reads)
			}
			if err == nil && reads >= 0 {
				break
			}
		}
		if failures == 0 {
			t.Errorf("%s read nothing", name)
		}
		checkBytes(t, name, done)
	}
}

// TestFailedClose lets the Close of a file fail that was truncated as it was
// opened: what it does not need any more is freed with the file system's.
func TestFailedClose(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-N", "512", "-O", "metadata_csum,^has_journal"}, "3M", nil}, "")
	f := openImage(t, img, false)
	deepFile(t, f, "deep", 400)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = openImage(t, img, false)
	e, err := f.OpenFile("deep", os.O_RDWR|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	clear(f.cache)
	whole := f.storage
	f.storage = &failOnce{ReaderAt: whole}
	if err := e.Close(); !errors.Is(err, errCut) {
		t.Fatalf("%v, want %v", err, errCut)
	}
	if err := f.Sync(); err != nil || len(f.open) > 0 {
		t.Fatalf("%v, %d files are open", err, len(f.open))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}

func checkBytes(t *testing.T, what string, data []byte) {
	t.Helper()
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := fsckOutput(t, img); err != nil {
		t.Errorf("%s: %v\n%s", what, err, out)
	}
}
