package ext4

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestImages edits copies of the disk images named in EXT4_TEST_IMAGES
// (separated by the system's list separator), whose second MBR partition is a
// root file system of Debian's kind: it adds and removes entries in its large
// directories, checks the result with e2fsck, and compares every other file.
func TestImages(t *testing.T) {
	images := os.Getenv("EXT4_TEST_IMAGES")
	if images == "" {
		t.Skip("EXT4_TEST_IMAGES names no images")
	}
	for _, img := range filepath.SplitList(images) {
		t.Run(filepath.Base(img), func(t *testing.T) { testImage(t, img) })
	}
}

func testImage(t *testing.T, original string) {
	img := filepath.Join(t.TempDir(), "copy.img")
	runTool(t, "cp", "--sparse=always", original, img)
	st, _ := storage(t, img)
	mbr := make([]byte, 512)
	if _, err := st.ReadAt(mbr, 0); err != nil {
		t.Fatal(err)
	}
	entry := mbr[0x1BE+16:]
	start := int64(binary.LittleEndian.Uint32(entry[8:])) * 512
	size := int64(binary.LittleEndian.Uint32(entry[12:])) * 512
	open := func() *FS {
		f, err := Open(st, start, size, Options{Time: testTime()})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := open()
	before := digest(t, f)
	t.Logf("%d entries; features %v", len(before), f.Info().Features)
	mountAndCompare(t, f, fmt.Sprintf("ro,noload,loop,offset=%d", start), img, before)

	dirs := []string{"etc", "usr/lib", "usr/bin", "var/lib/dpkg/info"}
	for _, d := range dirs {
		if fi, err := f.Stat(d); err != nil {
			t.Fatal(err)
		} else {
			t.Logf("%s: indexed %v", d, fi.Sys().(*Stat).Flags&flagIndex != 0)
		}
	}
	mine := map[string]bool{}
	for _, d := range dirs {
		mine[d] = true
		for i := range 500 {
			name := fmt.Sprintf("%s/piimg-added-%04d.conf", d, i)
			put(t, f, name, noise(i*37%9000, uint32(i)))
			mine[name] = true
		}
		entries, err := f.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			name := d + "/" + e.Name()
			if i%10 == 3 && e.Type().IsRegular() && !strings.Contains(name, "piimg-added") {
				if err := f.Remove(name); err != nil {
					t.Fatal(err)
				}
				mine[name] = true
			}
		}
		for i := range 500 {
			if i%2 == 0 {
				if err := f.Remove(fmt.Sprintf("%s/piimg-added-%04d.conf", d, i)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, fmt.Sprintf("%s?offset=%d", img, start))
	f = open()
	after := digest(t, f)
	for name, want := range before {
		if !mine[name] && after[name] != want {
			t.Errorf("%s changed: %s, was %s", name, after[name], want)
		}
	}
	for name := range after {
		if before[name] == "" && !mine[name] {
			t.Errorf("%s appeared", name)
		}
	}
	mountAndCompare(t, f, fmt.Sprintf("ro,noload,loop,offset=%d", start), img, after)
}

// digest describes every entry of the file system.
func digest(t testing.TB, f *FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := f.Lstat(name)
		if err != nil {
			return err
		}
		s := fi.Sys().(*Stat)
		desc := fmt.Sprintf("%v %d:%d %d, %v", fi.Mode(), s.UID, s.GID, s.Rdev, s.Mtime)
		switch {
		case fi.Mode().IsRegular():
			h := sha256.New()
			file, err := f.Open(name)
			if err != nil {
				return err
			}
			if _, err := io.Copy(h, file); err != nil {
				return err
			}
			file.Close()
			desc += fmt.Sprintf(" %x", h.Sum(nil))
		case fi.Mode().Type() == fs.ModeSymlink:
			target, err := f.ReadLink(name)
			if err != nil {
				return err
			}
			desc += " -> " + target
		}
		out[name] = desc
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mountAndCompare compares what the kernel reads with want, and with what this
// package reads, where the test is root and the kernel can mount the image.
func mountAndCompare(t testing.TB, f *FS, options, img string, want map[string]string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if _, err := exec.LookPath("mount"); err != nil {
		return
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "ext4", "-o", options, img, dir).CombinedOutput(); err != nil {
		t.Logf("the kernel does not mount it: %s", bytes.TrimSpace(out))
		return
	}
	compareMount(t, f, dir, want)
	unmount(t, dir)
}

// unmount tries for a while: a program that another test is just starting may
// still have a file of the mount open.
func unmount(t testing.TB, dir string) {
	t.Helper()
	for try := 0; ; try++ {
		out, err := exec.Command("umount", dir).CombinedOutput()
		if err == nil {
			return
		}
		if try == 100 {
			t.Fatalf("umount: %s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// compareMount compares what the kernel reads with what this package reads.
func compareMount(t testing.TB, f *FS, mount string, want map[string]string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(mount, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(mount, p)
		desc, ok := want[rel]
		if !ok {
			return fmt.Errorf("%q is seen by the kernel only", rel)
		}
		seen++
		fi, err := d.Info()
		if err != nil {
			return err
		}
		ours, err := f.Lstat(rel)
		if err != nil {
			return err
		}
		if fi.Mode() != ours.Mode() || !fi.ModTime().Equal(ours.ModTime()) || !d.IsDir() && fi.Size() != ours.Size() {
			t.Errorf("%q: the kernel sees %v %v %d, we %v %v %d", rel,
				fi.Mode(), fi.ModTime().UTC(), fi.Size(), ours.Mode(), ours.ModTime(), ours.Size())
		}
		switch {
		case fi.Mode().IsRegular():
			file, err := os.Open(p)
			if err != nil {
				return err
			}
			defer file.Close()
			h := sha256.New()
			if _, err := io.Copy(h, file); err != nil {
				return err
			}
			if !strings.HasSuffix(desc, fmt.Sprintf(" %x", h.Sum(nil))) {
				t.Errorf("%q: the kernel reads other content", rel)
			}
		case fi.Mode().Type() == fs.ModeSymlink:
			if target, err := os.Readlink(p); err != nil || !strings.HasSuffix(desc, " -> "+target) {
				t.Errorf("%q: the kernel reads %q, %v, not %s", rel, target, err, desc)
			}
		}
		return nil
	})
	if err == nil && seen != len(want) {
		err = errors.New("the kernel sees fewer entries")
	}
	if err != nil {
		t.Error(err)
	}
}
