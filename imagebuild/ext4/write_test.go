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
