package ext4

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestReadsWhatMkfsWrote(t *testing.T) {
	dir := tree(t)
	for _, l := range layouts() {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, l, dir)
			f := openImage(t, img, true)
			compareTree(t, f, dir)
		})
	}
}

func TestInlineData(t *testing.T) {
	dir := tree(t)
	img := mkfs(t, layout{"", []string{"-O", "inline_data"}, "24M", nil}, dir)
	compareTree(t, openImage(t, img, true), dir)

	st, size := storage(t, img)
	var unsupported *UnsupportedError
	if _, err := Open(st, 0, size, Options{}); !errors.As(err, &unsupported) || unsupported.Features[0] != "inline_data" {
		t.Errorf("Open for writing: %v, want an UnsupportedError that names inline_data", err)
	}
}

func TestFSTest(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"a/b/c", "d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"a/one", "a/b/two", "a/b/c/three"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b/two", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	f := openImage(t, mkfs(t, layouts()[0], dir), true)
	if err := fstest.TestFS(f, "a/one", "a/b/two", "a/b/c/three", "a/link", "d"); err != nil {
		t.Error(err)
	}
}

// compareTree compares all that is in the file system with the folder that it was made from.
func compareTree(t *testing.T, f *FS, dir string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		seen++
		rel, _ := filepath.Rel(dir, p)
		rel = filepath.ToSlash(rel)
		want, err := d.Info()
		if err != nil {
			return err
		}
		got, err := f.Lstat(rel)
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		if rel != "." && got.Mode() != want.Mode() {
			t.Errorf("%s: mode %v, want %v", rel, got.Mode(), want.Mode())
		}
		switch {
		case d.IsDir():
			entries, err := os.ReadDir(p)
			if err != nil {
				return err
			}
			have, err := f.ReadDir(rel)
			if err != nil {
				t.Errorf("%v", err)
				return nil
			}
			names := map[string]fs.FileMode{}
			for _, e := range have {
				names[e.Name()] = e.Type()
			}
			if rel == "." {
				delete(names, "lost+found")
			}
			for _, e := range entries {
				if names[e.Name()] != e.Type() {
					t.Errorf("%s/%s: type %v, want %v", rel, e.Name(), names[e.Name()], e.Type())
				}
				delete(names, e.Name())
			}
			if len(names) > 0 {
				t.Errorf("%s: unexpected entries %v", rel, names)
			}
		case d.Type() == fs.ModeSymlink:
			w, _ := os.Readlink(p)
			if g, err := f.ReadLink(rel); err != nil || g != w {
				t.Errorf("%s -> %q, %v, want %q", rel, g, err, w)
			}
		default:
			w, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if g, err := f.ReadFile(rel); err != nil || !bytes.Equal(g, w) {
				t.Errorf("%s: %d bytes, %v, want %d", rel, len(g), err, len(w))
			}
			if !got.ModTime().Equal(want.ModTime()) && !got.ModTime().Equal(want.ModTime().Truncate(1e9)) {
				t.Errorf("%s: time %v, want %v", rel, got.ModTime(), want.ModTime())
			}
		}
		return nil
	})
	if err != nil || seen < 3 {
		t.Fatalf("walked %d: %v", seen, err)
	}
}

func TestSymlinks(t *testing.T) {
	f := openImage(t, mkfs(t, layouts()[1], tree(t)), true)
	for name, want := range map[string]string{
		"abs": "raspberrypi\n", "long": "raspberrypi\n", "etc/short/../../hostname": "",
	} {
		got, err := f.ReadFile(name)
		if want == "" {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: %v, want an invalid path", name, err)
			}
		} else if string(got) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	if fi, err := f.Stat("etc/climb"); err != nil || fi.Size() != 480000 {
		t.Errorf("etc/climb: %v, %v", fi, err)
	}
	if _, err := f.Stat("loop"); !errors.Is(err, errLoop) {
		t.Errorf("loop: %v", err)
	}
	if _, err := f.Stat("dangling"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dangling: %v", err)
	}
	if _, err := f.Stat("etc/hostname/x"); !errors.Is(err, errNotDir) {
		t.Errorf("below a file: %v", err)
	}
	if fi, err := f.Lstat("dangling"); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		t.Errorf("dangling: %v, %v", fi, err)
	}
}

// TestPaths asks for files by names of all kinds.
func TestPaths(t *testing.T) {
	f := openImage(t, mkfs(t, layouts()[1], tree(t)), false)
	for target, link := range map[string]string{
		"etc/": "slash", "etc/hostname/": "no-dir", "/": "top", "..": "above", "etc/./../etc//deep": "winding", "b": "a", "a": "b",
		"etc/hostname/..": "through-file", "nothing/..": "through-nothing",
	} {
		if err := f.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]error{
		".": nil, "etc/hostname": nil, "slash/hostname": nil, "top/top/top/etc": nil, "above/etc/hostname": nil, "winding/er/data": nil,
		"slash": nil, "no-dir": errNotDir, "through-file": errNotDir, "through-nothing": fs.ErrNotExist, "a": errLoop, "a/x": errLoop,
		"etc/hostname/x": errNotDir, "etc/nothing": fs.ErrNotExist, "nothing/x": fs.ErrNotExist, "etc/": fs.ErrInvalid, "/etc": fs.ErrInvalid,
		"": fs.ErrInvalid, "etc/../etc": fs.ErrInvalid, "./etc": fs.ErrInvalid, "etc//hostname": fs.ErrInvalid, "a\x00b": fs.ErrInvalid,
		strings.Repeat("n", 256): errNameTooLong, strings.Repeat("top/", 40) + "etc": nil, strings.Repeat("top/", 41) + "etc": errLoop,
	} {
		if _, err := f.Stat(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	// What changes something also takes a leading slash.
	if err := errors.Join(f.Mkdir("/etc/new"), f.Rename("/slash", "/etc/new/slash"), f.Remove("/etc/new/slash"), f.Remove("etc/new")); err != nil {
		t.Error(err)
	}
	for _, err := range []error{f.Mkdir("/"), f.Remove("/"), f.Rename("/", "x"), f.Rename("etc", "/"), f.Mkdir("etc/new/"), f.Mkdir("../x")} {
		if err == nil {
			t.Error("an operation that must fail was done")
		}
	}
}

// TestBigalloc reads what has clusters of several blocks. With blocks of 1 KiB
// its groups begin with the boot sector.
func TestBigalloc(t *testing.T) {
	dir := tree(t)
	for _, size := range []string{"1024", "4096"} {
		img := mkfs(t, layout{"", []string{"-b", size, "-O", "bigalloc"}, "64M", nil}, dir)
		st, n := storage(t, img)
		var u *UnsupportedError
		if _, err := Open(st, 0, n, Options{}); !errors.As(err, &u) || u.Features[0] != "bigalloc" {
			t.Errorf("open for writing: %v", err)
		}
		f := openImage(t, img, true)
		compareTree(t, f, dir)
	}
}
