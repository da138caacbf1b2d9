package fat

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/piimg/piimg/imagebuild/layer"
	"github.com/piimg/piimg/imagebuild/tooltest"
)

// buildTime is what the tests stamp files with; it has an odd second and a fraction.
var buildTime = time.Date(2024, 11, 19, 12, 34, 57, 890_000_000, time.FixedZone("east", 3600))

func execute(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(tooltest.Path(t, name), args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "MTOOLS_SKIP_CHECK=1", "MTOOLSRC=/dev/null", "SOURCE_DATE_EPOCH=1500000001")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// image is a file with a FAT file system, which the tests do not change.
type image struct {
	path string
	size int64

	mu   sync.Mutex
	work string // a copy, which is changed for a moment
}

// copied makes the copy once the image is ready.
func (img *image) copied(t testing.TB) *image {
	img.work = img.path + ".work"
	execute(t, "cp", "--sparse=always", img.path, img.work)
	return img
}

// kind is a way to make file systems.
type kind struct {
	name string
	size int64
	mkfs []string
	bits int
}

// kinds are the boot partitions of Raspberry Pi OS through the years, and what else
// turns up.
var kinds = []kind{
	{"stretch", 42 << 20, []string{"-n", "boot", "-F", "32"}, 32},
	{"buster", 256 << 20, []string{"-n", "boot", "-F", "32"}, 32},
	{"bookworm", 512 << 20, []string{"-n", "bootfs", "-F", "32", "-s", "4"}, 32},
	{"trixie", 512 << 20, []string{"-n", "bootfs", "-F", "32", "-s", "1"}, 32},
	{"fat16", 42 << 20, []string{"-F", "16", "-s", "4", "-n", "boot"}, 16},
	{"one-fat", 40 << 20, []string{"-F", "32", "-s", "1", "-f", "1"}, 32},
	{"fat16-one-fat", 20 << 20, []string{"-F", "16", "-s", "4", "-f", "1", "-r", "64"}, 16},
	{"4k-sectors", 300 << 20, []string{"-F", "32", "-S", "4096", "-s", "1"}, 32},
	{"4k-sectors-fat16", 40 << 20, []string{"-F", "16", "-S", "4096", "-s", "1"}, 16},
	{"tiny-fat16", 2300 << 10, []string{"-F", "16", "-s", "1", "-r", "256"}, 16}, // soon full
}

// newImage makes a file system and fills it with mtools: with files that must stay as they are.
func newImage(t testing.TB, k kind, fill bool) *image {
	t.Helper()
	dir := t.TempDir()
	img := &image{path: filepath.Join(dir, k.name+".img"), size: k.size}
	if err := os.WriteFile(img.path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img.path, k.size); err != nil {
		t.Fatal(err)
	}
	execute(t, "mkfs.fat", append(append([]string{"--invariant"}, k.mkfs...), img.path)...)
	if !fill {
		return img.copied(t)
	}
	files := filepath.Join(dir, "files")
	write := func(name string, size int) {
		p := filepath.Join(files, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, content(size, uint64(len(name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cmdline.txt", 150)
	write("config.txt", 2000)
	write("bcm2710-rpi-3-b-plus.dtb", 30_000)
	write("LICENCE.broadcom", 1594)
	write("EMPTY", 0)
	write("Größe und Übermaß.txt", 77)
	for i := range 60 {
		write(fmt.Sprintf("overlays/a-long-name-of-an-overlay-%03d.dtbo", i), 100+i)
	}
	for _, f := range []string{"cmdline.txt", "config.txt", "bcm2710-rpi-3-b-plus.dtb", "LICENCE.broadcom", "EMPTY", "Größe und Übermaß.txt", "overlays"} {
		execute(t, "mcopy", "-s", "-i", img.path, filepath.Join(files, f), "::")
	}
	execute(t, "mattrib", "-i", img.path, "+h", "+s", "::LICENCE.broadcom")
	execute(t, "mdel", "-i", img.path, "::overlays/a-long-name-of-an-overlay-033.dtbo")
	return img.copied(t)
}

func content(size int, seed uint64) []byte {
	p := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, uint64(size)))
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// open returns a layer over the image.
func (img *image) open(t testing.TB) *layer.Layer {
	t.Helper()
	f, err := os.Open(img.path)
	if err != nil {
		t.Fatal(err)
	}
	l := layer.New(f, img.size)
	t.Cleanup(func() { l.Close(); f.Close() })
	return l
}

// with has use look at the image as the layer, which lies on it, shows it: as a file.
func (img *image) with(t fataler, l *layer.Layer, use func(path string)) {
	t.Helper()
	img.mu.Lock()
	defer img.mu.Unlock()
	f, err := os.OpenFile(img.work, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, e := range l.Extents() {
		old, changed := make([]byte, e.Len), make([]byte, e.Len)
		if _, err := f.ReadAt(old, e.Off); err != nil {
			t.Fatal(err)
		}
		if _, err := l.ReadAt(changed, e.Off); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(changed, e.Off); err != nil {
			t.Fatal(err)
		}
		defer f.WriteAt(old, e.Off)
	}
	use(img.work)
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// fsck fails the test unless fsck.fat finds the file system in order.
func fsck(t fataler, fsckPath, path string) {
	t.Helper()
	out, err := exec.Command(fsckPath, "-n", "-v", path).CombinedOutput()
	if err != nil {
		t.Fatalf("fsck.fat -n: %v\n%s", err, out)
	}
}

// mtools returns what mtools reads: the content of files by path, directories with a slash.
func mtools(t fataler, mcopy, path, dir string) map[string]string {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(mcopy, "-s", "-n", "-Q", "-i", path, "::*", dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MTOOLSRC=/dev/null", "MTOOLS_SKIP_CHECK=1")
	if out, err := cmd.CombinedOutput(); err != nil && !bytes.Contains(out, []byte("No match")) && len(bytes.TrimSpace(out)) > 0 {
		t.Fatalf("mcopy: %v\n%s", err, out)
	}
	return tree(t, os.DirFS(dir))
}

// tree returns all that is in a file system, in the same form.
func tree(t fataler, fsys fs.FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if d.IsDir() {
			out[p+"/"] = ""
			return nil
		}
		b, err := fs.ReadFile(fsys, p)
		out[p] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameTree compares two trees.
func sameTree(t fataler, who string, got, want map[string]string) {
	t.Helper()
	var diff []string
	for p, w := range want {
		if g, ok := got[p]; !ok {
			diff = append(diff, "missing: "+p)
		} else if g != w {
			diff = append(diff, fmt.Sprintf("differs: %s (%d bytes, want %d)", p, len(g), len(w)))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			diff = append(diff, "unexpected: "+p)
		}
	}
	if len(diff) > 0 {
		t.Fatalf("%s:\n%s", who, strings.Join(diff, "\n"))
	}
}

// slots returns the slots of each entry as they are on disk, by path.
func slots(t fataler, f *FS) map[string]string {
	t.Helper()
	out := map[string]string{}
	var walk func(path string, first uint32)
	walk = func(path string, first uint32) {
		d, err := f.loadDir(path, first)
		if err != nil {
			t.Fatal(err)
		}
		if d.label != nil {
			out["label"] = string(d.label.slot[:])
		}
		for _, e := range d.entries {
			p := join(path, e.name)
			out[p] = string(d.raw[e.from*slotSize : (e.at+1)*slotSize])
			if e.isDir() {
				out[p+"/.."] = string(d.raw[:0])
				walk(p, e.cluster(f.layout.bits))
			}
		}
	}
	walk(".", 0)
	return out
}
