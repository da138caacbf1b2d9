package imagebuild

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"

	"github.com/piimg/piimg/imagebuild/ext4"
)

// buildOne makes one node's image and what is beside it.
func buildOne(t *testing.T) Options {
	t.Helper()
	o := project(t, "stretch")
	o.Only = []string{"blathers"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// problems verifies the folder, and returns what is wrong with it, a line each.
func problems(t *testing.T, o Options) string {
	t.Helper()
	r, err := Verify(t.Context(), o.Out, Options{CacheDir: o.CacheDir})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// Nothing is wrong with what was built; one bit anywhere, in any file, and something is.
func TestVerifyFlippedBits(t *testing.T) {
	o := buildOne(t)
	if p := problems(t, o); p != "" {
		t.Fatalf("of a folder as it was built:\n%s", p)
	}
	entries, err := os.ReadDir(o.Out)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for _, e := range entries {
		path := filepath.Join(o.Out, e.Name())
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		times := 5
		if info.Size() > 1<<20 {
			times = 4
		}
		for range times {
			off, bit := r.Int64N(info.Size()), byte(1)<<r.IntN(8)
			flip(t, path, off, bit)
			if p := problems(t, o); !strings.Contains(p, e.Name()) && e.Name() != "SHA256SUMS" || p == "" {
				t.Errorf("%s: bit %#x of byte %d may be flipped: %s", e.Name(), bit, off, p)
			}
			flip(t, path, off, bit)
		}
	}
	if p := problems(t, o); p != "" {
		t.Fatalf("after all bits were put back:\n%s", p)
	}
}

func flip(t *testing.T, path string, off int64, bit byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= bit
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// Who changes an image and makes all checksums anew is still found out by the edits
// and the file system.
func TestVerifyContent(t *testing.T) {
	o := buildOne(t)
	image := filepath.Join(o.Out, "blathers.img")
	before := fmt.Sprintf("%x", sha256.Sum256(read(t, image)))
	root := open(t, image).parts.root
	st, err := file.OpenFromPath(image, false)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := ext4.Open(st, root.Start, root.Size, ext4.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("etc/hostname"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Chmod("etc/shadow", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := fs.Close(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, image, root.Start+1024+16, 1) // the superblock's count of free inodes
	after := fmt.Sprintf("%x", sha256.Sum256(read(t, image)))
	for _, name := range []string{"manifest.json", "SHA256SUMS"} {
		path := filepath.Join(o.Out, name)
		old := fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(o.Out, "manifest.json"))))
		write(t, path, bytes.ReplaceAll(read(t, path), []byte(before), []byte(after)))
		sums := filepath.Join(o.Out, "SHA256SUMS")
		now := fmt.Sprintf("%x", sha256.Sum256(read(t, filepath.Join(o.Out, "manifest.json"))))
		write(t, sums, bytes.ReplaceAll(read(t, sums), []byte(old), []byte(now)))
	}
	got := problems(t, o)
	for _, want := range []string{
		"blathers.img: write root:/etc/hostname: ", "blathers.img: write root:/etc/shadow: mode is 0644, not 0640",
		"are not those of blathers.img.bmap", "superblock counts",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("nothing is said of %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "sha256") {
		t.Errorf("the checksums were made anew, and are still told wrong:\n%s", got)
	}
}

// A folder that is damaged in any way is told about, and nothing panics.
func TestVerifyDamagedFolders(t *testing.T) {
	o := buildOne(t)
	for _, c := range []struct {
		do   func(dir string) error
		want string
	}{
		{func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS")) }, "SHA256SUMS: it is not there"},
		{func(dir string) error { return os.Remove(filepath.Join(dir, "manifest.json")) }, "manifest.json: it is not there"},
		{func(dir string) error { return os.Remove(filepath.Join(dir, "blathers.img.bmap")) }, "blathers.img.bmap: it is not there"},
		{func(dir string) error { return os.Remove(filepath.Join(dir, "hosts")) }, "hosts: it is not there"},
		{func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, "hosts")), os.Mkdir(filepath.Join(dir, "hosts"), 0o700))
		}, "hosts: it cannot be read"},
		{func(dir string) error { return os.Truncate(filepath.Join(dir, "blathers.img"), 0) }, "blathers.img: it has 0 bytes"},
		{func(dir string) error { return os.Truncate(filepath.Join(dir, "blathers.img"), 9<<20) }, "blathers.img: partition table: "},
		{func(dir string) error { return os.Truncate(filepath.Join(dir, "manifest.json"), 300) }, "manifest.json: not a manifest"},
		{func(dir string) error { return os.Truncate(filepath.Join(dir, "SHA256SUMS"), 100) }, "blathers.img.bmap: SHA256SUMS does not have it"},
		{func(dir string) error {
			sums := filepath.Join(dir, "SHA256SUMS")
			return os.WriteFile(sums, append(read(t, sums), strings.Repeat("0", 64)+"  \x1b[2Jx\n"...), 0o600)
		}, `SHA256SUMS: "\x1b[2Jx" is no name`},
		{func(dir string) error {
			sums := filepath.Join(dir, "SHA256SUMS")
			return os.WriteFile(sums, regexp.MustCompile(`(?m)^.*  known_hosts\n`).ReplaceAll(read(t, sums), nil), 0o600)
		}, "known_hosts: SHA256SUMS does not have it"},
		{func(dir string) error { return os.RemoveAll(filepath.Join(dir, "blathers.img")) }, "blathers.img: it is not there"},
		{func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "blathers.img.xz"), []byte("of another build"), 0o600)
		}, "blathers.img.xz: manifest.json does not have it"},
	} {
		dir := t.TempDir()
		run(t, "cp", "-r", "--reflink=auto", o.Out+"/.", dir)
		if err := c.do(dir); err != nil {
			t.Fatal(err)
		}
		damaged := o
		damaged.Out = dir
		if got := problems(t, damaged); !strings.Contains(got, c.want) {
			t.Errorf("nothing is said of %q:\n%s", c.want, got)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Verify(t.Context(), filepath.Join(o.Out, "hosts"), Options{}); KindOf(err) != KindOutput {
		t.Errorf("of no folder: %v", err)
	}
}
