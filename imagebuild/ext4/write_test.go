package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
)

// put writes a whole file.
func put(t testing.TB, f *FS, name string, content []byte) {
	t.Helper()
	if err := tryPut(f, name, content); err != nil {
		t.Fatal(err)
	}
}

func tryPut(f *FS, name string, content []byte) error {
	file, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

// noise is n bytes that look random and depend on seed.
func noise(n int, seed uint32) []byte {
	p := make([]byte, n)
	for i := range p {
		seed = seed*1664525 + 1013904223
		p[i] = byte(seed >> 24)
	}
	return p
}

func TestEverydayEdits(t *testing.T) {
	dir := tree(t)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, dir)
			f := openImage(t, img, false)
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			put(t, f, "/etc/hostname", []byte("tom-nook\n"))
			put(t, f, "etc/new", noise(100000, 1))
			put(t, f, "etc/deep/er/data", noise(1000, 2))
			check(f.Mkdir("etc/dir"))
			check(f.Chmod("etc/dir", 0o750|fs.ModeSetgid))
			check(f.Lchown("etc/short", 1000, 70000))
			check(f.Symlink("short/target", "etc/dir/s"))
			check(f.Symlink(strings.Repeat("long/", 40), "etc/dir/l"))
			check(f.Remove("big/a-file-with-a-name-0007.conf"))
			for i := range 300 {
				put(t, f, fmt.Sprintf("etc/dir/one-of-many-files-%d", i), []byte(fmt.Sprint(i)))
			}
			check(f.Link("etc/new", "etc/newer"))
			check(f.Rename("etc/dir", "dir"))
			check(f.Mknod("null", 0o20666, 0x103))
			check(f.Remove("sparse"))
			check(f.Close())
			fsck(t, img)

			f = openImage(t, img, true)
			for name, want := range map[string][]byte{
				"etc/hostname": []byte("tom-nook\n"), "etc/newer": noise(100000, 1), "etc/deep/er/data": noise(1000, 2),
				"dir/one-of-many-files-255": []byte("255"), "abs": []byte("tom-nook\n"),
			} {
				if got, err := f.ReadFile(name); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
				}
			}
			if fi, err := f.Stat("null"); err != nil || fi.Sys().(*Stat).Rdev != 0x103 {
				t.Errorf("null: %v, %v", fi, err)
			}
		})
	}
}

func TestRewriteInPlace(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	f := openImage(t, img, false)
	data, err := f.ReadFile("etc/deep/er/data")
	if err != nil {
		t.Fatal(err)
	}
	put(t, f, "etc/deep/er/data", data)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	// The times and the checksum of one inode.
	if changed == 0 || changed > 30 {
		t.Errorf("writing the same content again changed %d bytes", changed)
	}
	fsck(t, img)
}

func TestNoSpace(t *testing.T) {
	for _, l := range layouts()[:8] {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, "")
			f := openImage(t, img, false)
			info := f.Info()
			err := tryPut(f, "too-big", make([]byte, int64(info.FreeBlocks+1)*int64(info.BlockSize)))
			if !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "reserved") {
				t.Errorf("a file larger than the file system: %v", err)
			}
			for i := 0; ; i++ {
				if err = f.Symlink(strings.Repeat("x", 200), fmt.Sprintf("link-%d", i)); err != nil {
					break
				}
			}
			if !errors.Is(err, ErrNoSpace) {
				t.Errorf("the last link: %v", err)
			}
			if err := f.Remove("too-big"); err != nil {
				t.Error(err)
			}
			for i := 0; ; i++ {
				if err = tryPut(f, fmt.Sprintf("file-%d", i), nil); err != nil {
					break
				}
			}
			if !errors.Is(err, ErrNoInodes) {
				t.Errorf("the last file: %v", err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
		})
	}
}

// TestFailedWriteKeepsContent overwrites a block and adds one, where there is
// space for the block but not for the extent tree that it makes necessary.
func TestFailedWriteKeepsContent(t *testing.T) {
	img := mkfs(t, layout{"", []string{"-b", "1024", "-O", "^has_journal", "-m", "0"}, "1M", nil}, "")
	f := openImage(t, img, false)
	file, err := f.OpenFile("file", os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	write := func(off, n int, seed uint32) error {
		_, err := file.(*File).WriteAt(noise(n, seed), int64(off))
		return err
	}
	for i := range 4 { // as many extents as the inode has room for
		if err := write(4096*i, 1024, 1); err != nil {
			t.Fatal(err)
		}
	}
	put(t, f, "ballast", make([]byte, (f.Info().FreeBlocks-2)*1024))
	want, err := f.ReadFile("file")
	if err != nil {
		t.Fatal(err)
	}
	if free := f.Info().FreeBlocks; free != 1 {
		t.Fatalf("%d blocks are free", free)
	}
	if err := write(3*4096, 2048, 2); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("write: %v", err)
	}
	got, err := f.ReadFile("file")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("a write that failed changed the content (%v)", err)
	}
	if err := errors.Join(file.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}

func TestTruncatedFileShowsNoOldContent(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	f := openImage(t, img, false)
	put(t, f, "file", bytes.Repeat([]byte("old!"), 10000))
	file, err := f.OpenFile("file", os.O_RDWR|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(30001, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadFile("file")
	want := append(make([]byte, 30001), 'x')
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v; old content shows: %v", len(got), err, bytes.Contains(got, []byte("old")))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}

// TestFailedOperationChangesNothing lets operations fail half-way and looks for traces.
func TestFailedOperationChangesNothing(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	runTool(t, "debugfs", "-w", "-R", "freei <30>", img) // a file's inode: its entry leads to one that is marked free
	f := openImage(t, img, false)
	entries, err := f.ReadDir("big")
	if err != nil {
		t.Fatal(err)
	}
	broken := ""
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && fi.Sys().(*Stat).Ino == 30 {
			broken = "big/" + e.Name()
		}
	}
	if broken == "" {
		t.Fatal("inode 30 is not in big")
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	var c *CorruptError
	if err := f.Remove(broken); !errors.As(err, &c) || c.Inode != 30 {
		t.Errorf("remove: %v, want a CorruptError of inode 30", err)
	}
	info := f.Info()
	for _, op := range []error{
		f.Mkdir("etc"), f.Remove("etc"), f.Remove("nothing"), f.Rename("etc", "etc/deep/etc"), f.Symlink(strings.Repeat("x", 5000), "s"),
		f.Mkdir("etc/hostname/x"), f.Mkdir(strings.Repeat("n", 256)), f.Link("etc", "link"), f.Chmod("dangling", 0o600), f.Remove("."),
		f.Mkdir("../x"), f.Mknod("x", 0o50000, 0), f.SetLabel("a label that is too long"),
		f.Symlink("a\x00b", "s"),
	} {
		if op == nil {
			t.Error("an operation that must fail was done")
		}
	}
	if now := f.Info(); now.FreeBlocks != info.FreeBlocks || now.FreeInodes != info.FreeInodes {
		t.Errorf("free: %d blocks, %d inodes; before: %d, %d", now.FreeBlocks, now.FreeInodes, info.FreeBlocks, info.FreeInodes)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(img); err != nil || !bytes.Equal(before, after) {
		t.Errorf("failed operations changed the image (%v)", err)
	}
}

func TestSameEditsSameBytes(t *testing.T) {
	img := mkfs(t, layouts()[2], tree(t))
	original, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	var first []byte
	for range 2 {
		data := bytes.Clone(original)
		f, err := Open(newMemory(data), 0, int64(len(data)), Options{Time: testTime()})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			put(t, f, fmt.Sprintf("big/new-%d", i), noise(i*50, 1))
			if err := f.Remove(fmt.Sprintf("big/a-file-with-a-name-%04d.conf", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		} else if !bytes.Equal(first, data) {
			t.Error("the same edits gave other bytes")
		}
	}
}

func TestHandles(t *testing.T) {
	img := mkfs(t, layouts()[1], tree(t))
	f := openImage(t, img, false)
	a, err := f.OpenFile("etc/hostname", os.O_RDWR|os.O_APPEND)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.OpenFile("/etc/hostname", os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(b); string(got) != "raspberrypi\nmore" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, errNotWritable) {
		t.Errorf("write to a file opened for reading: %v", err)
	}
	if err := f.Remove("etc/hostname"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, errRemoved) {
		t.Errorf("write to a removed file: %v", err)
	}
	if _, err := f.OpenFile("etc/empty", os.O_CREATE|os.O_EXCL|os.O_RDWR); !errors.Is(err, fs.ErrExist) {
		t.Errorf("O_EXCL: %v", err)
	}
	if _, err := f.OpenFile("etc", os.O_RDWR); !errors.Is(err, errIsDir) {
		t.Errorf("a directory for writing: %v", err)
	}
	// O_EXCL says something of files that are created only.
	if e, err := f.OpenFile("long", os.O_RDWR|os.O_EXCL); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to what was removed: %v, %v", e, err)
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	if err := a.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	c, err := f.OpenFile("dangling", os.O_CREATE|os.O_RDWR)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("through a symlink whose directory is not there: %v, %v", c, err)
	}
	put(t, f, "abs", []byte("through the link\n"))
	if got, err := f.ReadFile("etc/hostname"); string(got) != "through the link\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// Left open: closing the file system frees what is behind the end.
	d, err := f.OpenFile("etc/deep/er/data", os.O_RDWR|os.O_TRUNC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("short")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.SetLabel("sixteen bytes!!!"), f.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("."); !errors.Is(err, errClosed) {
		t.Errorf("stat on a closed file system: %v", err)
	}
	fsck(t, img)
	if l := openImage(t, img, true).Label(); l != "sixteen bytes!!!" {
		t.Errorf("label %q", l)
	}
}

func TestTimes(t *testing.T) {
	for _, l := range []layout{layouts()[1], {"128", []string{"-t", "ext2", "-I", "128"}, "16M", nil}} {
		f := openImage(t, mkfs(t, l, tree(t)), false)
		ns := f.Info().InodeSize > 128
		early, late := time.Unix(-1<<31, 0), time.Unix(1<<34-1<<31-1, 0)
		if !ns {
			late = time.Unix(1<<31-1, 0)
		}
		for given, want := range map[time.Time]time.Time{
			time.Date(1850, 1, 1, 1, 1, 1, 1, time.UTC): early, time.Date(3000, 1, 1, 1, 1, 1, 1, time.UTC): late, late: late,
		} {
			if err := f.Chtimes("etc", given, given, given); err != nil {
				t.Fatal(err)
			}
			fi, err := f.Stat("etc")
			if err != nil {
				t.Fatal(err)
			}
			if s := fi.Sys().(*Stat); !s.Mtime.Equal(want) || !s.Atime.Equal(want) || ns && !s.Crtime.Equal(want) {
				t.Errorf("%s: %v became %+v, want %v", l.name, given, s, want.UTC())
			}
		}
		for _, want := range []time.Time{
			time.Unix(0, 0), time.Unix(1<<31-1, 999999999), time.Unix(1<<31, 1), time.Unix(1<<33, 5), time.Unix(-5, 7), time.Unix(-1<<31, 0),
		} {
			if err := f.Lchtimes("abs", time.Time{}, want, want); err != nil {
				t.Fatal(err)
			}
			fi, err := f.Lstat("abs")
			if err != nil {
				t.Fatal(err)
			}
			if !ns {
				want = time.Unix(min(want.Unix(), 1<<31-1), 0)
			}
			if s := fi.Sys().(*Stat); !s.Mtime.Equal(want) || !s.Atime.Equal(want) || !s.Ctime.Equal(testTime()) && ns {
				t.Errorf("%s: %v, %v, want %v", l.name, s.Mtime, s.Atime, want.UTC())
			}
		}
	}
}

// TestErrorsNameBothPaths checks that one sees which of two paths is meant.
func TestErrorsNameBothPaths(t *testing.T) {
	f := openImage(t, mkfs(t, layouts()[0], tree(t)), false)
	for _, err := range []error{f.Rename("etc", "no/where"), f.Link("etc/hostname", "no/where")} {
		var le *os.LinkError
		if !errors.As(err, &le) || le.New != "no/where" || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

// TestReadFileOfNoFile reads what has no content to read.
func TestReadFileOfNoFile(t *testing.T) {
	f := openImage(t, mkfs(t, layouts()[0], tree(t)), false)
	if err := f.Mknod("pipe", modeFIFO|0o600, 0); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc", "pipe"} {
		var pe *fs.PathError
		if data, err := f.ReadFile(name); !errors.As(err, &pe) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestHandleOfAFileThatWasTakenBack opens a new file in an operation that then
// fails: the next file with its inode number is another one.
func TestHandleOfAFileThatWasTakenBack(t *testing.T) {
	img := mkfs(t, layouts()[0], tree(t))
	f := openImage(t, img, false)
	fails := errors.New("too late")
	err := f.update(func() error {
		at, err := f.walk("new", true)
		if err != nil {
			return err
		}
		in, err := f.create(at, modeRegular|0o644, nil)
		if err != nil {
			return err
		}
		if _, err := f.handle(in, "new", os.O_RDWR); err != nil {
			return err
		}
		return fails
	})
	if !errors.Is(err, fails) {
		t.Fatal(err)
	}
	if err := errors.Join(f.Mkdir("newer"), f.Mkdir("newer/sub"), f.Chown("newer", 1, 2), f.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, img)
}
