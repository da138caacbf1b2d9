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
)

// checkTarget is a small image, with a list of what can be damaged in it.
type checkTarget struct {
	img  []byte
	list []structure
}

func checkTargets(f *testing.F) []checkTarget {
	dir := f.TempDir()
	for name, size := range map[string]int{"file": 3000, "large": 100000, "d/one": 10, "d/two": 70} {
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
	var out []checkTarget
	for _, l := range []layout{
		{"csum", []string{"-b", "1024", "-N", "256", "-O", "^has_journal,metadata_csum,64bit,^resize_inode"}, "1M", nil},
		{"uninit_bg", []string{"-b", "1024", "-N", "256", "-g", "256", "-O", "^has_journal,^metadata_csum,uninit_bg,^64bit"}, "1M", nil},
		{"ext2", []string{"-b", "1024", "-N", "256", "-t", "ext2", "-O", "dir_index"}, "1M", nil},
		{"inline", []string{"-b", "1024", "-N", "256", "-I", "256", "-O", "inline_data,^has_journal,metadata_csum,64bit,^resize_inode"}, "1M", nil},
		{"ea_inode", []string{"-b", "1024", "-N", "256", "-O", "ea_inode,large_dir,^has_journal,metadata_csum"}, "1M", nil},
	} {
		img := mkfs(f, l, dir)
		if l.name != "inline" {
			fillSmall(f, img)
		}
		data, err := os.ReadFile(img)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, checkTarget{data, structures(f, openImage(f, img, true))})
	}
	return out
}

// fillSmall adds an indexed directory and a tree of extents that does not fit the inode.
func fillSmall(f *testing.F, img string) {
	e := openImage(f, img, false)
	for i := range 60 {
		if err := e.Symlink("x", fmt.Sprintf("d/entry-number-%d-of-a-directory", i)); err != nil {
			f.Fatal(err)
		}
	}
	file, err := e.OpenFile("holes", os.O_RDWR|os.O_CREATE)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 6 {
		if _, err := file.(*File).WriteAt([]byte("x"), int64(4096*i)); err != nil {
			f.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		f.Fatal(err)
	}
	if err := e.Close(); err != nil {
		f.Fatal(err)
	}
}

// FuzzCheck damages structures of a small image, makes their checksums right
// if a bit says so, and checks it: a record is two bytes for the structure,
// two for the place in it, a width with that bit, and up to four bytes to put
// there. Nothing may panic or take long, and what is clean can be read in full.
func FuzzCheck(f *testing.F) {
	targets := checkTargets(f)
	for i, target := range targets {
		for k := range target.list {
			f.Add(byte(i), []byte{byte(k), byte(k >> 8), byte(k * 4), 0, byte(4 + k%5), byte(k), 0xFF, 0, byte(k)})
		}
	}
	f.Fuzz(func(t *testing.T, which byte, patch []byte) {
		target := targets[int(which)%len(targets)]
		img := bytes.Clone(target.img)
		for ; len(patch) >= 9; patch = patch[9:] {
			s := target.list[(int(patch[0])|int(patch[1])<<8)%len(target.list)]
			off := s.off + int64(int(patch[2])|int(patch[3])<<8)%int64(s.size-3)
			copy(img[off:], patch[5:6+patch[4]&3])
			if patch[4]&4 != 0 {
				s.mend(img)
			}
		}
		start := time.Now()
		r, err := Check(bytes.NewReader(img), 0, int64(len(img)), CheckOptions{Limit: 50})
		if d := time.Since(start); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
		if err != nil || !r.Clean() {
			return
		}
		e, err := Open(newMemory(img), 0, int64(len(img)), Options{ReadOnly: true, Time: testTime()})
		if err == nil {
			err = readStrictly(e)
		}
		if err != nil {
			t.Errorf("it is clean, but cannot be read: %v", err)
		}
	})
}

// readStrictly reads all there is, up to a bound for each file, and returns the first error.
func readStrictly(e *FS) error {
	return fs.WalkDir(e, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Lstat(name)
		if err != nil {
			return err
		}
		attrs, err := e.Llistxattr(name)
		for _, a := range attrs {
			if err == nil {
				_, err = e.Lgetxattr(name, a)
			}
		}
		if err != nil {
			return err
		}
		switch {
		case fi.Mode().Type() == fs.ModeSymlink:
			_, err = e.ReadLink(name)
		case fi.Mode().IsRegular():
			file, err := e.Open(name)
			if err != nil {
				return err
			}
			p := make([]byte, 200000)
			for _, off := range []int64{0, max(0, fi.Size()-int64(len(p)))} {
				if _, err := file.(io.ReaderAt).ReadAt(p, off); err != nil && err != io.EOF {
					return err
				}
			}
			return file.Close()
		}
		return err
	})
}
