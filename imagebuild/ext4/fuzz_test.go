package ext4

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"testing"
	"time"

	"github.com/diskfs/go-diskfs/backend"
)

// memory is a backend.Storage in memory.
type memory struct {
	*bytes.Reader
	data []byte
}

func newMemory(data []byte) memory { return memory{bytes.NewReader(data), data} }

func (m memory) Sys() (*os.File, error)                  { return nil, backend.ErrNotSuitable }
func (m memory) Stat() (fs.FileInfo, error)              { return nil, backend.ErrNotSuitable }
func (m memory) Close() error                            { return nil }
func (m memory) Path() string                            { return "" }
func (m memory) Writable() (backend.WritableFile, error) { return m, nil }

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m.data)) {
		return 0, io.ErrShortWrite
	}
	return copy(m.data[off:], p), nil
}

// fuzzImages are small file systems without checksums, which would refuse most changes.
func fuzzImages(f *testing.F) [][]byte {
	dir := f.TempDir()
	for name, size := range map[string]int{"file": 3000, "large": 100000, "d/one": 10} {
		if err := os.MkdirAll(path.Dir(path.Join(dir, name)), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path.Join(dir, name), noise(size, 1), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.Symlink("d/one", path.Join(dir, "link")); err != nil {
		f.Fatal(err)
	}
	var images [][]byte
	for _, l := range []layout{
		{"", []string{"-b", "1024", "-N", "256", "-O", "^has_journal,^metadata_csum,^64bit,^resize_inode"}, "1M", nil},
		{"", []string{"-b", "1024", "-N", "256", "-t", "ext2", "-O", "^resize_inode"}, "1M", nil},
		{"", []string{"-b", "1024", "-N", "256", "-I", "256", "-O", "inline_data,^has_journal,^metadata_csum,64bit,^resize_inode"}, "1M", nil},
	} {
		img := mkfs(f, l, dir)
		st, size := storage(f, img)
		if e, err := Open(st, 0, size, Options{Time: testTime()}); err == nil {
			for i := range 60 {
				if err := e.Symlink("x", fmt.Sprintf("d/entry-number-%d-of-a-directory", i)); err != nil {
					f.Fatal(err)
				}
			}
			for i := range 6 { // holes: an extent tree that does not fit the inode
				file, err := e.OpenFile("holes", os.O_RDWR|os.O_CREATE)
				if err != nil {
					f.Fatal(err)
				}
				if _, err := file.(*File).WriteAt([]byte("x"), int64(4096*i)); err != nil {
					f.Fatal(err)
				}
				if err := file.Close(); err != nil {
					f.Fatal(err)
				}
			}
			if err := e.Close(); err != nil {
				f.Fatal(err)
			}
		}
		p, err := os.ReadFile(img)
		if err != nil {
			f.Fatal(err)
		}
		images = append(images, p)
	}
	return images
}

// FuzzOpen changes a few bytes of a small image (records of a 24-bit offset and
// two bytes) and then reads and edits all it can. Nothing may panic, or take
// longer than the size of the image allows.
func FuzzOpen(f *testing.F) {
	images := fuzzImages(f)
	for i, img := range images {
		for n, off := range interesting(img) {
			if n%12 == 0 {
				f.Add(byte(i), []byte{byte(off), byte(off >> 8), byte(off >> 16), 0xFF, byte(n)})
			}
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		img := bytes.Clone(images[int(which)%len(images)])
		for ; len(patch) >= 5; patch = patch[5:] {
			off := (int(patch[0]) | int(patch[1])<<8 | int(patch[2])<<16) % (len(img) - 1)
			img[off], img[off+1] = patch[3], patch[4]
		}
		start := time.Now()
		for _, readOnly := range []bool{true, false} {
			e, err := Open(newMemory(img), 0, int64(len(img)), Options{Time: testTime(), ReadOnly: readOnly})
			if err != nil {
				continue
			}
			names := readAll(e)
			if !readOnly {
				editAll(e, names)
			}
			_ = e.Close() // may well fail, but not panic
		}
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// interesting are the offsets of 16-bit words in the blocks that hold something.
func interesting(img []byte) []int {
	var out []int
	for off := 1024; off < 64<<10; off += 2 {
		if img[off]|img[off+1] != 0 {
			out = append(out, off)
		}
	}
	if len(out) > 600 {
		out = out[:600]
	}
	return out
}

// readAll reads what there is, up to a bound, and returns the names.
func readAll(e *FS) []string {
	names := []string{"."}
	buf := make([]byte, 64<<10)
	for i := 0; i < len(names) && len(names) < 500; i++ {
		entries, err := e.ReadDir(names[i])
		if err != nil {
			if file, err := e.Open(names[i]); err == nil {
				_, _ = io.ReadFull(file, buf)
				if r, ok := file.(io.ReaderAt); ok {
					_, _ = r.ReadAt(buf[:100], 90000)
				}
				_ = file.Close()
			}
			_, _ = e.ReadLink(names[i])
			continue
		}
		for _, d := range entries[:min(len(entries), 200)] {
			_, _ = d.Info()
			names = append(names, path.Join(names[i], d.Name()))
		}
	}
	e.Info()
	return names
}

// editAll tries every operation. All of them may fail.
func editAll(e *FS, names []string) {
	for i, n := range names[:min(len(names), 40)] {
		_ = tryPut(e, n, noise(5000, 1))
		_ = tryPut(e, path.Join(n, "new"), noise(2000, 1))
		_ = e.Mkdir(path.Join(n, "dir"))
		_ = e.Symlink("x", path.Join(n, "another-symbolic-link-with-a-long-name"))
		_ = e.Chmod(n, 0o700)
		_ = e.Lsetxattr(n, "trusted.small", noise(30, 1))
		_ = e.Lsetxattr(n, "trusted.large", noise(500, 1))
		_ = e.Setxattr(n, "system.posix_acl_default", acl1())
		_ = e.Lremovexattr(n, "trusted.small")
		_ = e.Rename(n, names[(i*7+3)%len(names)])
		_ = e.Link(n, path.Join(n, "..", "linked"))
		if file, err := e.OpenFile(n, os.O_RDWR); err == nil {
			_, _ = file.(*File).WriteAt([]byte("patched"), 50000)
			_ = file.(*File).Punch(3000, 20000)
			_, _ = file.(*File).Extents()
			_ = file.(*File).Truncate(100)
			_ = file.Close()
		}
	}
	_ = e.SetUUID([16]byte{1})
	for _, n := range names {
		_ = e.Remove(n)
	}
}
