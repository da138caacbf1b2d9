package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestLargeDirectory fills directories until their indexes have two and three
// levels, thins them out, and fills them again.
func TestLargeDirectory(t *testing.T) {
	for _, c := range []struct {
		layout
		entries int
		name    string // with room for the number
		levels  string // between the root and the leaves
	}{
		{layout{"4k", []string{"-b", "4096", "-N", "1000", "-O", "^metadata_csum,^64bit"}, "64M", nil}, 100000, "entry-%07d.conf", "1"},
		{layout{"1k", []string{"-b", "1024", "-N", "1000", "-O", "metadata_csum"}, "64M", nil}, 100000, "%06d", "1"},
		{layout{"1k-large_dir", []string{"-b", "1024", "-N", "1000", "-O", "large_dir,metadata_csum"}, "64M", nil},
			45000, strings.Repeat("long-", 46) + "%d", "2"},
	} {
		t.Run(c.layout.name, func(t *testing.T) {
			t.Parallel()
			img := mkfs(t, c.layout, "")
			f := openImage(t, img, false)
			// As few inodes as can be, of which none has more links than 65000.
			err := errors.Join(f.Mkdir("d"), tryPut(f, "0", []byte("x")), tryPut(f, "1", []byte("x")))
			if err != nil {
				t.Fatal(err)
			}
			name := func(i int) string { return "d/" + fmt.Sprintf(c.name, i) }
			link := func(i int) {
				if err := f.Link(fmt.Sprint(i%2), name(i)); err != nil {
					t.Fatal(err)
				}
			}
			for i := range c.entries {
				link(i)
			}
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			if out := runTool(t, "debugfs", "-R", "htree_dump /d", img); !strings.Contains(out, "Indirect levels: "+c.levels) {
				t.Errorf("the index has not %s levels below the root:\n%.500s", c.levels, out)
			}
			for i := range c.entries {
				if i%3 != 0 {
					if err := f.Remove(name(i)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for i := range c.entries / 10 {
				if i%3 == 1 {
					link(i)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, img)
			f = openImage(t, img, true)
			if list, err := f.ReadDir("d"); err != nil || len(list) != (c.entries+2)/3+c.entries/30 {
				t.Errorf("%d entries, %v", len(list), err)
			}
			for _, i := range []int{0, 3, 9999, 4, c.entries/3*3 - 3} {
				if _, err := f.Lstat(name(i)); err != nil {
					t.Error(err)
				}
			}
			if _, err := f.Lstat(name(2)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a removed entry: %v", err)
			}
			if c.levels == "2" {
				mountAndCompare(t, f, "ro,loop", img, digest(t, f))
			}
		})
	}
}

// bigDirImage makes a file system for n entries.
func bigDirImage(t testing.TB, blockSize string, n int) []byte {
	t.Helper()
	img := mkfs(t, layout{"", []string{"-b", blockSize, "-N", fmt.Sprint(n + n/8 + 1000), "-I", "256",
		"-O", "large_dir,metadata_csum,^has_journal,^resize_inode"}, "700M", nil}, "")
	data, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// BenchmarkDirectory reports what it costs to add, look up and remove one entry
// of directories of three sizes. The entries are files, each with a block of its own.
func BenchmarkDirectory(b *testing.B) {
	for _, blockSize := range []string{"1024", "4096"} {
		for _, n := range []int{1000, 10000, 100000} {
			data := bigDirImage(b, blockSize, n)
			each := func(fn func(i int) error) {
				for i := range n {
					if err := fn(i); err != nil {
						b.Fatal(err)
					}
				}
			}
			name := func(i int) string { return fmt.Sprintf("d/entry-%07d.conf", i) }
			b.Run(fmt.Sprintf("%s-%d", blockSize, n), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					image := bytes.Clone(data)
					f, err := Open(newMemory(image), 0, int64(len(image)), Options{Time: testTime()})
					if err != nil {
						b.Fatal(err)
					}
					if err := f.Mkdir("d"); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
					start := b.Elapsed()
					lap := func(what string) {
						now := b.Elapsed()
						b.ReportMetric(float64((now-start).Nanoseconds())/float64(n), "ns/"+what)
						start = now
					}
					each(func(i int) error { return tryPut(f, name(i), []byte("x")) })
					lap("create")
					each(func(i int) error { _, err := f.Lstat(name(i)); return err })
					lap("lookup")
					each(func(i int) error { return f.Remove(name(i)) })
					lap("remove")
					if err := f.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
